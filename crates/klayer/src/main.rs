//! The `klayer` command: trains, evaluates, inspects and exports fully connected networks with batch norm on images.
//! Each subcommand has its own module.

#![forbid(unsafe_code)]

mod completions;
mod config;
mod data;
mod dataset_args;
mod error;
mod evaluate;
mod export;
mod gradcheck;
mod import;
mod inspect;
mod lr_range;
mod outputs;
mod picture;
mod predict;
mod recipe;
mod run_args;
mod search;
mod slurm;
mod train;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use error::Error;
use klayer_cli::{Interrupt, Terminal, Verbosity, fail};

#[derive(Debug, Parser)]
#[command(
    name = "klayer",
    version,
    about = "Train and use K-layer fully connected networks with batch norm on images",
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
    let matches = config::matches(Args::command());
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(settings) = config::printed(Args::command(), &matches) {
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
        Command::Completions(args) => args.run(Args::command()),
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
