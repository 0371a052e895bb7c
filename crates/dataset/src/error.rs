use std::io;
use std::path::{Path, PathBuf};

use klayer_linalg::text::printable;

use crate::{Format, Shape};

/// Errors of finding, downloading, verifying and parsing datasets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder does not exist.
    #[error("{}: not found", path.display())]
    Missing {
        /// The missing path.
        path: PathBuf,
    },
    /// The path is not a folder.
    #[error("{}: not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The path holds no dataset in a supported form.
    #[error("{}: no {kind} dataset: found {}; expected {expected}", path.display(), printable(found))]
    Unrecognized {
        /// The folder or file.
        path: PathBuf,
        /// Name of the dataset.
        kind: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A file of the Python version does not hold a valid batch of images.
    #[error("{}: not a valid batch of CIFAR images: {}", path.display(), printable(reason))]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is invalid.
        reason: String,
    },
    /// The path is not a regular file.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// An operation of the system failed: permission denied, disk full, device failure.
    #[error("{}: {error}", path.display())]
    Io {
        /// The path that was read or written.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file or an archive entry has the wrong size.
    #[error("{}: wrong size: expected {expected} bytes, found {found}", path.display())]
    Size {
        /// The file or entry.
        path: PathBuf,
        /// Expected size in bytes.
        expected: u64,
        /// Actual size in bytes.
        found: u64,
    },
    /// A file is longer than any valid one.
    #[error("{}: longer than {most} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Maximum size in bytes.
        most: u64,
    },
    /// A file has the wrong checksum.
    #[error("{}: wrong {algorithm}: expected {expected}, found {found}", path.display())]
    Checksum {
        /// The file or entry.
        path: PathBuf,
        /// `"SHA-256"` or `"MD5"`.
        algorithm: &'static str,
        /// Expected checksum in hexadecimal.
        expected: String,
        /// Actual checksum in hexadecimal.
        found: String,
    },
    /// A file ends in the middle of a record.
    #[error("{}: the record at byte {offset} is truncated: expected {expected} bytes, found {found}", path.display())]
    PartialRecord {
        /// The file.
        path: PathBuf,
        /// Byte offset of the record in the file.
        offset: u64,
        /// Bytes of a complete record.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A label is out of range.
    #[error("{}: invalid label {label} at byte {offset}: must be below {classes}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Byte offset of the label in the file.
        offset: u64,
        /// The label.
        label: u8,
        /// Number of classes; labels count from 0.
        classes: u8,
    },
    /// An archive is truncated or has unexpected entries.
    #[error("{}: {}", printable(entry.display()), printable(reason))]
    Archive {
        /// The entry where the error was found, or the folder expected in the archive.
        entry: PathBuf,
        /// What is invalid.
        reason: String,
    },
    /// The download failed: the server is unreachable or sent something other than the archive.
    #[error("{url}: {reason}")]
    Download {
        /// The requested URL.
        url: String,
        /// The error of the last attempt.
        reason: String,
    },
    /// CIFAR-10 was not found and could not be downloaded: no network, a wrong answer, or a disk that cannot be written.
    #[error("CIFAR-10 was not found, and cannot be downloaded from {url}: {reason}")]
    Unavailable {
        /// The URL of the archive.
        url: String,
        /// Why the download failed.
        reason: String,
    },
    /// The dataset was not found, and downloads are disabled.
    #[error("{}: not found, and downloads are disabled", path.display())]
    Offline {
        /// Where the download would have been stored.
        path: PathBuf,
    },
    /// [`Progress::cancelled`](crate::Progress::cancelled) returned true.
    #[error("cancelled")]
    Cancelled,
    /// A batch size of 0 or above the number of images, or more images than 32 bits can index.
    #[error("cannot draw batches of {batch} from {len} images")]
    Batch {
        /// Images per batch.
        batch: usize,
        /// Number of images to draw from.
        len: usize,
    },
    /// Images cannot be shifted that far: their mirrored edges have fewer pixels.
    #[error("cannot shift images of {shape} by {shift} pixels: must be less than their height and width")]
    Shift {
        /// Pixels to shift by.
        shift: usize,
        /// Shape of the images.
        shape: Shape,
    },
    /// A file is not valid IDX.
    #[error("{}: byte {offset}: {}", path.display(), printable(reason))]
    Idx {
        /// The file.
        path: PathBuf,
        /// Byte offset of the error in the file, in the decompressed file of a `.gz`.
        offset: u64,
        /// What is invalid.
        reason: String,
    },
    /// A folder does not hold a valid dataset.
    #[error("{}: {}", path.display(), printable(reason))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is invalid.
        reason: String,
    },
    /// A picture cannot be read.
    #[error("{}: {}", path.display(), printable(reason))]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is invalid.
        reason: String,
    },
    /// Arrays that are not a valid dataset.
    #[error("{}", printable(_0))]
    Arrays(String),
    /// Too many validation images.
    #[error("cannot use {images} training images for validation: must be at most {most}, to leave images for training")]
    Validation {
        /// Number of validation images.
        images: usize,
        /// The largest possible number.
        most: usize,
    },
    /// The dataset has validation images of its own.
    #[error("{}: holds the validation images, so {images} others cannot be chosen", folder.display())]
    ValidationGiven {
        /// Their folder.
        folder: PathBuf,
        /// Number of validation images to take from the training images.
        images: usize,
    },
    /// A dataset of this format has no usual place, so its folder must be given.
    #[error("datasets of the format {format} have no default place")]
    NoFolder {
        /// The format.
        format: Format,
    },
    /// An invalid normalization.
    #[error("{0}")]
    Normalization(String),
}

impl Error {
    /// An I/O error for `path`.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::NotADirectory => Self::NotADirectory { path },
            _ => Self::Io { path, error },
        }
    }
}
