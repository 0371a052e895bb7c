use std::io;
use std::path::{Path, PathBuf};

use klayer_linalg::text::printable;

/// What can go wrong while data are found, fetched, verified or parsed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder is not there.
    #[error("{}: not found", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// A folder was expected.
    #[error("{}: not a directory", path.display())]
    NotADirectory {
        /// What is there instead.
        path: PathBuf,
    },
    /// What is there is not a dataset in any form that can be loaded.
    #[error("{}: no {kind} found: it is {}; expected {expected}", path.display(), printable(found))]
    Unrecognized {
        /// The folder or file.
        path: PathBuf,
        /// The name of the dataset.
        kind: &'static str,
        /// What is there.
        found: String,
        /// What can be loaded.
        expected: String,
    },
    /// A file of the Python version that does not hold a batch of images.
    #[error("{}: not a batch of CIFAR-10: {}", path.display(), printable(reason))]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A regular file was expected.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// What is there instead.
        path: PathBuf,
    },
    /// The system refused to read or write: no permission, a full disk, a failing device.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file, or an entry of an archive, is too short or too long.
    #[error("{}: {found} bytes where {expected} are expected", path.display())]
    Size {
        /// The file or entry.
        path: PathBuf,
        /// Its size, were it right.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// A file has the right size and the wrong content.
    #[error("{}: wrong {algorithm}: expected {expected}, found {found}", path.display())]
    Checksum {
        /// The file or entry.
        path: PathBuf,
        /// `"SHA-256"` or `"md5"`.
        algorithm: &'static str,
        /// The sum in hexadecimal, were the content right.
        expected: String,
        /// The sum in hexadecimal.
        found: String,
    },
    /// A file ends in the middle of a record.
    #[error("{}: the record at byte {offset} has {found} of {expected} bytes", path.display())]
    PartialRecord {
        /// The file.
        path: PathBuf,
        /// Where the record begins, in bytes from the start of the file.
        offset: u64,
        /// Bytes of a whole record.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// A label names no class.
    #[error("{}: label {label} at byte {offset} is not one of {classes} classes", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Where the label is, in bytes from the start of the file.
        offset: u64,
        /// The label.
        label: u8,
        /// How many classes there are; labels count from 0.
        classes: u8,
    },
    /// An archive is cut short, or holds what it must not hold.
    #[error("{}: {}", printable(entry.display()), printable(reason))]
    Archive {
        /// The entry at which this was noticed, or the folder that the archive should hold.
        entry: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The server could not be reached, or gave something else than the archive.
    #[error("{url}: {reason}")]
    Download {
        /// What was asked for.
        url: String,
        /// What happened, at the last try.
        reason: String,
    },
    /// There is no folder with the data, and downloads are disabled.
    #[error("{}: not found, and downloads are disabled", path.display())]
    Offline {
        /// Where the download would have put them.
        path: PathBuf,
    },
    /// [`Progress::cancelled`](crate::Progress::cancelled) said so.
    #[error("cancelled")]
    Cancelled,
    /// Batches of no images, of more than there are, or out of more than can be counted in 32 bits.
    #[error("batches of {batch} cannot be drawn from {len} images")]
    Batch {
        /// Images per batch.
        batch: usize,
        /// Images to draw from.
        len: usize,
    },
    /// A mean and a deviation of features that cannot normalize images.
    #[error("{0}")]
    Normalization(String),
}

impl Error {
    /// The error of an operation on `path`.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::NotADirectory => Self::NotADirectory { path },
            _ => Self::Io { path, error },
        }
    }
}
