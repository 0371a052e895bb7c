use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use klayer_linalg::text::printable;

use crate::files::NO_FOLDER;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An invalid setting.
    #[error("{name} is {value}, but {needed}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The requirement.
        needed: String,
    },
    /// An invalid network, label or mini-batch.
    #[error(transparent)]
    Network(#[from] klayer_nn::Error),
    /// An invalid learning rate or lambda.
    #[error(transparent)]
    Optimizer(#[from] klayer_optim::Error),
    /// A dataset that cannot be loaded or shuffled.
    #[error(transparent)]
    Dataset(#[from] klayer_dataset::Error),
    /// Threads could not be started.
    #[error(transparent)]
    Threads(#[from] klayer_linalg::Error),
    /// A gradient is infinite or NaN.
    #[error("the gradient of {parameter} in layer {layer} is not finite")]
    Gradient {
        /// "W", "b", "gamma" or "beta".
        parameter: &'static str,
        /// Layer, from 1.
        layer: usize,
    },
    /// A network's outputs are infinite or NaN.
    #[error("the network's outputs are not finite")]
    Outputs,
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
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
    /// A checkpoint belongs to another run.
    #[error("{}: checkpoint of another run: {}", path.display(), printable(difference))]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// How the runs differ.
        difference: String,
    },
    /// A checkpoint of this run was computed with different arithmetic, so that results would not be reproducible.
    #[error(
        "{}: checkpoint computed with different arithmetic: {}; resume it where it was written",
        path.display(),
        printable(difference)
    )]
    OtherArithmetic {
        /// The file.
        path: PathBuf,
        /// How the machines or builds differ.
        difference: String,
    },
    /// A run has no record yet.
    #[error("{}: record not found: the run has not finished yet", path.display())]
    Missing {
        /// Path of the missing record.
        path: PathBuf,
    },
    /// An invalid or unsupported model file or checkpoint.
    #[error("{}: {error}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is invalid, and where.
        error: klayer_nn::Error,
    },
    /// A value that cannot be represented in JSON.
    #[error("cannot write a record as JSON: {0}")]
    Json(serde_json::Error),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| match missing_folder(&path).filter(|_| error.kind() == ErrorKind::NotFound) {
            Some(path) => Self::File { path, error: std::io::Error::new(ErrorKind::NotFound, NO_FOLDER) },
            None => Self::File { path, error },
        }
    }
}

/// The topmost missing folder above `path`.
fn missing_folder(path: &Path) -> Option<PathBuf> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    path.ancestors().skip(1).filter(missing).last().map(PathBuf::from)
}
