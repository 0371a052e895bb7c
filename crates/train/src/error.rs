use std::path::{Path, PathBuf};

use klayer_linalg::text::printable;

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
    /// A network's outputs are infinite or NaN.
    #[error("the network's outputs are not finite")]
    Outputs,
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A file that cannot be read or written.
    #[error(transparent)]
    Store(#[from] klayer_store::Error),
    /// A checkpoint belongs to another run.
    #[error("{}: checkpoint of another run: {}", path.display(), printable(difference))]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// How the runs differ.
        difference: String,
    },
    /// An invalid or unsupported model file or checkpoint.
    #[error("{}: {error}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is invalid, and where.
        error: klayer_nn::Error,
    },
}

impl Error {
    /// The error for setting `name`, which is `value`, but must be as `needed`.
    pub(crate) fn setting(name: &'static str, value: impl ToString, needed: &str) -> Self {
        Self::Setting { name, value: value.to_string(), needed: needed.to_owned() }
    }

    /// Converts the system's error about the file at `path`.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let error = klayer_store::Error::file(path);
        move |system| Self::Store(error(system))
    }

    /// Converts the error of the model or checkpoint at `path`.
    pub(crate) fn model(path: &Path) -> impl FnOnce(klayer_nn::Error) -> Self {
        move |error| Self::Model { path: path.into(), error }
    }
}
