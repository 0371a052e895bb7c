use std::path::PathBuf;

/// Why a task fails or stops early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Experiment(klayer_experiments::Error),
    #[error("stopped; finished runs and checkpoints are kept: run the same command again to resume")]
    Interrupted,
    #[error("stopped; the partial download is kept: run the same command again to resume")]
    Stopped,
    #[error("stopped; nothing was written")]
    BenchStopped,
    #[error("{group} {value}: a run diverged before its last step, so its speed cannot be measured")]
    BenchDiverged { group: &'static str, value: usize },
    #[error(transparent)]
    Dataset(klayer_dataset::Error),
    #[error("{0}; pass the folder of CIFAR-10 with --data, or use generated images with --synthetic")]
    NoImages(klayer_dataset::Error),
    #[error("data/paper.toml: {0}")]
    Paper(toml::de::Error),
    #[error("data/beyond.toml, or a recipe: {0}")]
    Beyond(toml::de::Error),
    #[error("data/beyond.toml, or a recipe: {0}")]
    Options(clap::Error),
    #[error("cannot render the report: {0}")]
    Render(crate::render::Error),
    #[error("cannot serialize the results as JSON: {0}")]
    Json(serde_json::Error),
    #[error("cannot install the Ctrl-C handler: {0}")]
    Signal(std::io::Error),
    #[error("{}: {error}", path.display())]
    Folder { path: PathBuf, error: std::io::Error },
    #[error("{}: there is no report to check; run the same command without --check first", path.display())]
    NoReport { path: PathBuf },
    #[error("{}: contains another report; choose another folder with --out", path.display())]
    OtherReport { path: PathBuf },
    #[error("--check checks the whole chapter; use --beyond without a part")]
    CheckedPart,
    #[error("{} of {files} files would change: {}", changed.len(), changed.join(", "))]
    Changed { files: usize, changed: Vec<String> },
    #[error(transparent)]
    Watch(#[from] klayer_cli::WatchError),
    #[error("the check of {name} failed: {reason}")]
    Check { name: &'static str, reason: String },
    #[error("standard output: {0}")]
    Output(std::io::Error),
}

impl Error {
    /// Whether the user stopped the task.
    pub(crate) fn interrupted(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Stopped | Self::BenchStopped)
    }

    /// The error of a measurement, which keeps nothing if it is stopped.
    pub(crate) fn of_bench(self) -> Self {
        if matches!(self, Self::Interrupted) { Self::BenchStopped } else { self }
    }
}

impl From<klayer_experiments::Error> for Error {
    fn from(error: klayer_experiments::Error) -> Self {
        match error {
            klayer_experiments::Error::Cancelled => Self::Interrupted,
            klayer_experiments::Error::Train(klayer_train::Error::Dataset(error)) => error.into(),
            error => Self::Experiment(error),
        }
    }
}

impl From<klayer_train::Error> for Error {
    fn from(error: klayer_train::Error) -> Self {
        klayer_experiments::Error::from(error).into()
    }
}

impl From<klayer_store::Error> for Error {
    fn from(error: klayer_store::Error) -> Self {
        Self::Experiment(error.into())
    }
}

impl From<klayer_dataset::Error> for Error {
    fn from(error: klayer_dataset::Error) -> Self {
        use klayer_dataset::Error::{Cancelled, Offline, Unavailable};
        match error {
            Cancelled => Self::Interrupted,
            Offline { .. } | Unavailable { .. } => Self::NoImages(error),
            error => Self::Dataset(error),
        }
    }
}
