//! The `klayer` command: trains fully connected networks with batch norm on CIFAR-10, and uses, looks into and exports
//! them. Each of its commands is a file.

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
    about = "Trains K-layer fully connected networks with batch norm on CIFAR-10",
    arg_required_else_help = true,
    after_help = "Example:\n  klayer train --out model.klayer && klayer predict model.klayer cat.png\n\n\
        Status: 0 if all is well; 1 if not, with one sentence on standard error; 2 for a command that is none;\n\
        130 and 143 after Ctrl-C and SIGTERM."
)]
struct Args {
    /// Tell nothing on standard error but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Tell more on standard error: where the images come from, and each validation
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train one network and tell how it does
    Train(train::TrainArgs),
    /// Search for lambda: train many networks, on any number of processes and machines that share a folder
    Search(search::SearchArgs),
    /// Evaluate a trained network: loss, accuracy and confusion matrix
    Evaluate(evaluate::EvaluateArgs),
    /// Tell what pictures of any size and format show
    Predict(predict::PredictArgs),
    /// Look into a trained network: its layers, its weights, its dead units and its mistakes
    Inspect(inspect::InspectArgs),
    /// Find learning rates to train at: the range test of Smith (2017)
    LrRange(lr_range::LrRangeArgs),
    /// Check the gradients of a network against centred differences
    Gradcheck(gradcheck::GradcheckArgs),
    /// Tell which images there are
    Data(data::DataInfoArgs),
    /// Print what lets a shell complete these commands
    Completions(completions::CompletionsArgs),
    /// Write a trained network in a format of others: safetensors or ONNX
    Export(export::ExportArgs),
    /// Make a model file of a safetensors file that was exported
    Import(import::ImportArgs),
}

/// Everything that ends a command before its end.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Experiment(#[from] klayer_experiments::Error),
    #[error(transparent)]
    Dataset(klayer_dataset::Error),
    #[error("{0}; name its folder with --data, or use generated images with --synthetic")]
    NoImages(klayer_dataset::Error),
    #[error(transparent)]
    Watch(#[from] klayer_cli::WatchError),
    #[error("Ctrl-C cannot be handled: {0}")]
    Signal(std::io::Error),
    #[error("stopped; {}", match checkpoint {
        Some(checkpoint) => format!("the same command with --resume goes on from {}", checkpoint.path().display()),
        None => "nothing was kept to go on from".to_owned(),
    })]
    Stopped { checkpoint: Option<Checkpoints<'static>> },
    #[error("stopped; what was made is kept in {}, and the same command goes on from there", store.display())]
    SearchStopped { store: PathBuf },
    #[error("{}: there is a checkpoint of a stopped run; --resume continues from it, --restart discards it", path.display())]
    CheckpointThere { path: PathBuf },
    #[error("{0}; --restart discards this checkpoint and starts again from step 0")]
    DamagedCheckpoint(klayer_experiments::Error),
    #[error("{} of {trials} trials have not finished: {}", missing.len(), missing.join(", "))]
    Unfinished { missing: Vec<String>, trials: usize },
    #[error("{}: there is no such store", path.display())]
    NoStore { path: PathBuf },
    #[error("{}: {error}", path.display())]
    Path { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Slurm(String),
    #[error("no longer waiting, but the job array {id} goes on: scancel {id} ends it, and {collect} makes the table")]
    Waiting { id: String, collect: String },
    #[error("the training diverged at step {step}, at the learning rate {rate}: {}", match metrics {
        Some(metrics) => format!("no network was written, and its metrics are in {}", metrics.display()),
        None => "nothing was written".to_owned(),
    })]
    Diverged { step: u64, rate: f64, metrics: Option<PathBuf> },
    #[error("the model is of {model} and the images are of {images}: they do not belong together")]
    OtherDataset { model: String, images: String },
    #[error("{failed} of {of} could not be read")]
    Pictures { failed: usize, of: usize },
    #[error("{}: there is no picture in it", path.display())]
    NoPictures { path: PathBuf },
    #[error("the gradients differ: the largest relative error is {largest:.1e}, above the tolerance of {tolerance:e}")]
    GradientsDiffer { largest: f64, tolerance: f64 },
    #[error("{}: {error}", path.display())]
    Export { path: PathBuf, error: klayer_export::Error },
    #[error("{}: its name tells no format: it must end in {}, or --format name one", path.display(), export::ENDINGS)]
    NoFormat { path: PathBuf },
    #[error("{switch} is for ONNX alone: a safetensors file holds the network as it was trained")]
    OnnxAlone { switch: &'static str },
    #[error("{}: its network, {network}, is not the one that its settings train", path.display())]
    OtherSettings { path: PathBuf, network: String },
    #[error("{}: it is named twice, and what is read or written there would be lost", path.display())]
    NamedTwice { path: PathBuf },
    #[error("{switch} is no text, which a settings file holds alone")]
    NoText { switch: String },
    #[error("standard output: {0}")]
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
    /// Refuses settings with which the command cannot run, as it does itself before it begins.
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

/// The status of a command; a failure is told. Whoever reads the output of a command may stop before its end.
fn status(result: &Result<(), Error>) -> ExitCode {
    match result {
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(error),
        Ok(()) => ExitCode::SUCCESS,
    }
}
