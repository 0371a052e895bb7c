use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use klayer_linalg::text::printable;

use crate::files::NO_FOLDER;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that makes no training run.
    #[error("{name} is {value}, but {needed}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it must be.
        needed: String,
    },
    /// A network, a label or a mini-batch that cannot be.
    #[error(transparent)]
    Network(#[from] klayer_nn::Error),
    /// A learning rate or a lambda that cannot be.
    #[error(transparent)]
    Optimizer(#[from] klayer_optim::Error),
    /// Images that cannot be read or shuffled.
    #[error(transparent)]
    Dataset(#[from] klayer_dataset::Error),
    /// Threads that the system does not grant.
    #[error(transparent)]
    Threads(#[from] klayer_linalg::Error),
    /// A gradient that is infinite or not a number.
    #[error("the gradient of {parameter} in layer {layer} is not a number")]
    Gradient {
        /// "W", "b", "gamma" or "beta".
        parameter: &'static str,
        /// The layer, from 1.
        layer: usize,
    },
    /// A network that puts out no numbers.
    #[error("the outputs of the network are not finite numbers: its parameters are of no use")]
    Outputs,
    /// The run was asked to stop before its end.
    #[error("stopped before its end")]
    Cancelled,
    /// A file that cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A record that does not hold what it should.
    #[error("{}: not a record of this program, at line {line}, column {column}: {}", path.display(), printable(reason))]
    Record {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// A record under the name of another.
    #[error("{}: the record of another run, which belongs into {name}.json; rename or delete it", path.display())]
    OtherRecord {
        /// Which file.
        path: PathBuf,
        /// The key of the record.
        name: String,
    },
    /// A checkpoint of another run than the one that is to go on.
    #[error("{}: a checkpoint of another run: {}", path.display(), printable(difference))]
    OtherRun {
        /// Which file.
        path: PathBuf,
        /// In what the runs differ.
        difference: String,
    },
    /// A checkpoint of the same run, made where sums end in other bits.
    #[error(
        "{}: a checkpoint of other arithmetic: {}; go on where it was written, or delete it",
        path.display(),
        printable(difference)
    )]
    OtherArithmetic {
        /// Which file.
        path: PathBuf,
        /// In what the machines or the builds differ.
        difference: String,
    },
    /// A run that has not been made yet.
    #[error("{}: there is no such record: its run has not been made", path.display())]
    Missing {
        /// Where its record would be.
        path: PathBuf,
    },
    /// A model file or a checkpoint that cannot be used.
    #[error("{}: {error}", path.display())]
    Model {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        error: klayer_nn::Error,
    },
    /// A number or text that cannot be written as JSON.
    #[error("a record cannot be written as JSON: {0}")]
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

/// The outermost of the folders above `path` that does not exist.
fn missing_folder(path: &Path) -> Option<PathBuf> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    path.ancestors().skip(1).filter(missing).last().map(PathBuf::from)
}
