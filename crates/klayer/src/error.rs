use std::path::PathBuf;

use klayer_train::Checkpoints;

/// Errors that make a command fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Experiment(#[from] klayer_experiments::Error),
    #[error(transparent)]
    Dataset(klayer_dataset::Error),
    #[error("{0}; pass the folder of CIFAR-10 with --data, or use generated images with --synthetic")]
    NoImages(klayer_dataset::Error),
    #[error("{0}; pass its path with --data")]
    NoPath(klayer_dataset::Error),
    #[error(transparent)]
    Watch(#[from] klayer_cli::WatchError),
    #[error("cannot install a handler for Ctrl-C: {0}")]
    Signal(std::io::Error),
    #[error("stopped; {}", match checkpoint {
        Some(checkpoint) => {
            format!("run the same command with --resume to continue from {}", checkpoint.path().display())
        }
        None => "no checkpoint was written".to_owned(),
    })]
    Stopped { checkpoint: Option<Checkpoints<'static>> },
    #[error("stopped; progress is saved in {}: run the same command again to continue", store.display())]
    SearchStopped { store: PathBuf },
    #[error("{}: found a checkpoint of a stopped run; --resume continues from it, --restart discards it", path.display())]
    CheckpointThere { path: PathBuf },
    #[error("{0}; use the options of its run; --restart discards this checkpoint and starts again from step 0")]
    Checkpoint(klayer_train::Error),
    #[error("{} of {trials} trials have not finished: {}", missing.len(), missing.join(", "))]
    Unfinished { missing: Vec<String>, trials: usize },
    #[error("{}: no such store", path.display())]
    NoStore { path: PathBuf },
    #[error("{}: {error}", path.display())]
    Path { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Slurm(String),
    #[error(
        "stopped waiting; job array {id} is still queued or running: cancel it with scancel {id}, or print the table \
        when it has finished with {collect}"
    )]
    Waiting { id: String, collect: String },
    #[error("the training diverged at step {step}, at learning rate {rate}: {}", match metrics {
        Some(metrics) => format!("no model was written; its metrics are in {}", metrics.display()),
        None => "nothing was written".to_owned(),
    })]
    Diverged { step: u64, rate: f64, metrics: Option<PathBuf> },
    #[error(
        "the model and the dataset do not match: the model was trained on {model}, but the images are {images}{hint}"
    )]
    OtherDataset { model: String, images: String, hint: &'static str },
    #[error("{switch} applies only to pictures, but the dataset is {dataset}")]
    PicturesAlone { switch: &'static str, dataset: String },
    #[error("the dataset has no {part} images{hint}")]
    NoPart {
        part: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    #[error("a search needs validation images: --validation must be at least 1")]
    NoValidation,
    #[error("{failed} of {of} inputs could not be read")]
    Pictures { failed: usize, of: usize },
    #[error("{}: no pictures found", path.display())]
    NoPictures { path: PathBuf },
    #[error("the gradients differ: the largest relative error is {largest:.1e}, above the tolerance of {tolerance:e}")]
    GradientsDiffer { largest: f64, tolerance: f64 },
    #[error("{}: {error}", path.display())]
    Export { path: PathBuf, error: klayer_export::Error },
    #[error("{}: cannot infer the format from the name: use {}, or set --format", path.display(), crate::export::ENDINGS)]
    NoFormat { path: PathBuf },
    #[error("{switch} requires the ONNX format: a safetensors file stores the network as it was trained")]
    OnnxAlone { switch: &'static str },
    #[error("{}: the network ({network}) does not match the training settings in the same file", path.display())]
    OtherSettings { path: PathBuf, network: String },
    #[error("{}: the same path is used twice", path.display())]
    NamedTwice { path: PathBuf },
    #[error("{switch} is not valid UTF-8, so it cannot be written to a settings file")]
    NoText { switch: String },
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
}

impl From<klayer_train::Error> for Error {
    fn from(error: klayer_train::Error) -> Self {
        Self::Experiment(error.into())
    }
}

impl From<klayer_store::Error> for Error {
    fn from(error: klayer_store::Error) -> Self {
        Self::Experiment(error.into())
    }
}

impl From<klayer_dataset::Error> for Error {
    fn from(error: klayer_dataset::Error) -> Self {
        use klayer_dataset::Error::{NoFolder, Offline, Unavailable};
        match error {
            Offline { .. } | Unavailable { .. } => Self::NoImages(error),
            NoFolder { .. } => Self::NoPath(error),
            error => Self::Dataset(error),
        }
    }
}

impl Error {
    /// Whether the user has stopped the command.
    pub(crate) fn interrupted(&self) -> bool {
        matches!(
            self,
            Self::Experiment(klayer_experiments::Error::Cancelled)
                | Self::Dataset(klayer_dataset::Error::Cancelled)
                | Self::Stopped { .. }
                | Self::SearchStopped { .. }
                | Self::Waiting { .. }
        )
    }
}
