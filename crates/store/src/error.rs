use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use klayer_linalg::text::printable;

/// Message for a missing folder above a file to read or write.
pub(crate) const NO_FOLDER: &str = "no such directory";
/// Message for a file in place of a folder.
const NOT_A_FOLDER: &str = "not a directory";

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// An invalid record.
    #[error("{}: invalid record at line {line}, column {column}: {}", path.display(), printable(reason))]
    Record {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is invalid.
        reason: String,
    },
    /// A record is stored under the name of another.
    #[error("{}: contains the record of {name}.json; rename or delete it", path.display())]
    OtherRecord {
        /// The file.
        path: PathBuf,
        /// The key of the record in it.
        name: String,
    },
    /// A job has no record yet.
    #[error("{}: record not found: the run has not finished yet", path.display())]
    Missing {
        /// Path of the missing record.
        path: PathBuf,
    },
    /// A value that cannot be represented in JSON.
    #[error("cannot write a record as JSON: {0}")]
    Json(serde_json::Error),
}

impl Error {
    /// Converts the system's error about the file at `path`; names the topmost folder above it that is missing or not a
    /// folder, if there is one.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::not_a_folder(path.ancestors().skip(1))
                .unwrap_or_else(|| match missing_folder(&path) {
                    Some(path) => Self::File { path, error: std::io::Error::new(ErrorKind::NotFound, NO_FOLDER) },
                    None => Self::File { path, error },
                }),
            _ => Self::File { path, error },
        }
    }

    /// The error for the first of these folders that exists but is not a folder, if there is one.
    pub(crate) fn not_a_folder<'a>(mut folders: impl Iterator<Item = &'a Path>) -> Option<Self> {
        let path = folders.find(|path| path.exists() && !path.is_dir())?.into();
        Some(Self::File { path, error: std::io::Error::new(ErrorKind::NotADirectory, NOT_A_FOLDER) })
    }
}

/// The topmost missing folder above `path`.
fn missing_folder(path: &Path) -> Option<PathBuf> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    path.ancestors().skip(1).filter(missing).last().map(PathBuf::from)
}
