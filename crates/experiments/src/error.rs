/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A run fails: its settings, network, dataset, threads or checkpoints.
    #[error(transparent)]
    Train(klayer_train::Error),
    /// A record or another file of a store that cannot be read or written.
    #[error(transparent)]
    Store(#[from] klayer_store::Error),
    /// A gradient is infinite or NaN.
    #[error("the gradient of {parameter} in layer {layer} is not finite")]
    Gradient {
        /// "W", "b", "gamma" or "beta".
        parameter: &'static str,
        /// Layer, from 1.
        layer: usize,
    },
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// The setting `name` is `value`, which is invalid.
    pub(crate) fn setting(name: &'static str, value: impl ToString, needed: impl Into<String>) -> Self {
        Self::Train(klayer_train::Error::Setting { name, value: value.to_string(), needed: needed.into() })
    }
}

/// A cancelled run, or a file that cannot be read or written, is the same error wherever it occurs.
impl From<klayer_train::Error> for Error {
    fn from(error: klayer_train::Error) -> Self {
        match error {
            klayer_train::Error::Cancelled => Self::Cancelled,
            klayer_train::Error::Store(error) => Self::Store(error),
            error => Self::Train(error),
        }
    }
}

impl From<klayer_nn::Error> for Error {
    fn from(error: klayer_nn::Error) -> Self {
        Self::Train(error.into())
    }
}

impl From<klayer_optim::Error> for Error {
    fn from(error: klayer_optim::Error) -> Self {
        Self::Train(error.into())
    }
}

impl From<klayer_linalg::Error> for Error {
    fn from(error: klayer_linalg::Error) -> Self {
        Self::Train(error.into())
    }
}
