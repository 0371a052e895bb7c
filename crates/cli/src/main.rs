//! The `klayer` command: trains, evaluates, inspects and exports fully connected networks with batch norm on CIFAR-10.
//! Each subcommand has its own module.

#![forbid(unsafe_code)]

mod completions;
mod config;
mod data;
mod evaluate;
mod export;
mod gradcheck;
mod import;
mod inspect;
mod lr_range;
mod outputs;
mod picture;
mod predict;
mod run_args;
mod search;
mod slurm;
mod train;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{FromArgMatches, Parser, Subcommand};
use klayer_cli::{Interrupt, Terminal, Verbosity, fail};
use klayer_experiments::Checkpoints;

#[derive(Debug, Parser)]
#[command(
    name = "klayer",
    version,
    about = "Train and use K-layer fully connected networks with batch norm on CIFAR-10",
    arg_required_else_help = true,
    after_help = "Example:\n  klayer train --out model.klayer && klayer predict model.klayer cat.png\n\n\
        Exit status: 0 on success, 1 on errors (printed to standard error), 2 for usage errors,\n\
        130 after Ctrl-C, 143 after SIGTERM."
)]
struct Args {
    /// Print only warnings and errors
    #[arg(short, long, global = true, display_order = 900, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more details, such as the source of the images and each validation
    #[arg(short, long, global = true, display_order = 901)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network
    Train(train::TrainArgs),
    /// Search for the best lambda
    ///
    /// Trains a network for each of several random values of lambda. Any number of processes and machines that share a
    /// folder can work on one search.
    Search(search::SearchArgs),
    /// Print loss, accuracy and confusion matrix of a trained network
    Evaluate(evaluate::EvaluateArgs),
    /// Classify pictures
    Predict(predict::PredictArgs),
    /// Show the layers, weights, dead units and mistakes of a trained network
    Inspect(inspect::InspectArgs),
    /// Find good learning rates with a range test (Smith, 2017)
    LrRange(lr_range::LrRangeArgs),
    /// Compare the gradients of a network with central differences
    Gradcheck(gradcheck::GradcheckArgs),
    /// Show statistics of the dataset
    Data(data::DataInfoArgs),
    /// Print a shell completion script
    Completions(completions::CompletionsArgs),
    /// Export a trained network to safetensors or ONNX
    Export(export::ExportArgs),
    /// Import an exported safetensors file as a model file
    Import(import::ImportArgs),
}

/// Errors that make a command fail.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Experiment(#[from] klayer_experiments::Error),
    #[error(transparent)]
    Dataset(klayer_dataset::Error),
    #[error("{0}; pass the CIFAR-10 folder with --data, or use generated images with --synthetic")]
    NoImages(klayer_dataset::Error),
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
    #[error("{0}; --restart discards this checkpoint and starts again from step 0")]
    DamagedCheckpoint(klayer_experiments::Error),
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
    #[error("the model and the dataset do not match: the model was trained on {model}, but the images are {images}")]
    OtherDataset { model: String, images: String },
    #[error("{failed} of {of} inputs could not be read")]
    Pictures { failed: usize, of: usize },
    #[error("{}: no pictures found", path.display())]
    NoPictures { path: PathBuf },
    #[error("{}: the network has {inputs} inputs, which are no square picture", model.display())]
    NoPictureShape { inputs: usize, model: PathBuf },
    #[error("the gradients differ: the largest relative error is {largest:.1e}, above the tolerance of {tolerance:e}")]
    GradientsDiffer { largest: f64, tolerance: f64 },
    #[error("{}: {error}", path.display())]
    Export { path: PathBuf, error: klayer_export::Error },
    #[error("{}: cannot infer the format from the name: use {}, or set --format", path.display(), export::ENDINGS)]
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

impl From<klayer_dataset::Error> for Error {
    fn from(error: klayer_dataset::Error) -> Self {
        use klayer_dataset::Error::{Download, Offline};
        if matches!(error, Download { .. } | Offline { .. }) { Self::NoImages(error) } else { Self::Dataset(error) }
    }
}

impl Error {
    /// Whether the user has stopped the command.
    fn interrupted(&self) -> bool {
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

impl Command {
    /// Validates the settings, as the command itself does before it starts.
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Train(args) => args.check().map(drop),
            Self::Search(args) => args.check().map(drop),
            Self::LrRange(args) => args.check().map(drop),
            Self::Gradcheck(args) => args.check().map(drop),
            _ => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    let matches = config::matches();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(settings) = config::printed(&matches) {
        let settings = args.command.check().and(settings);
        let written = settings.and_then(|settings| io::stdout().write_all(settings.as_bytes()).map_err(Error::Output));
        return status(&written);
    }
    let interrupt = match Interrupt::on_signal() {
        Ok(interrupt) => interrupt,
        Err(error) => return fail(&Error::Signal(error)),
    };
    let terminal = Terminal::new(match (args.quiet, args.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    });
    let result = match args.command {
        Command::Train(args) => args.run(&terminal, &interrupt),
        Command::Search(args) => args.run(&terminal, &interrupt),
        Command::Evaluate(args) => args.run(&terminal, &interrupt),
        Command::Predict(args) => args.run(&terminal, &interrupt),
        Command::Inspect(args) => args.run(&terminal, &interrupt),
        Command::LrRange(args) => args.run(&terminal, &interrupt),
        Command::Gradcheck(args) => args.run(&terminal, &interrupt),
        Command::Data(args) => args.run(&terminal, &interrupt),
        Command::Completions(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Import(args) => args.run(),
    };
    match result {
        Err(error) if error.interrupted() => {
            fail(&error);
            interrupt.status()
        }
        result => status(&result),
    }
}

/// Prints an error, if any, and returns the exit status. A closed pipe on standard output is not an error.
fn status(result: &Result<(), Error>) -> ExitCode {
    match result {
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(error),
        Ok(()) => ExitCode::SUCCESS,
    }
}
