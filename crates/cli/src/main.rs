//! The `klayer` command: trains fully connected networks with batch norm on CIFAR-10, and evaluates them.

mod evaluate;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use klayer_cli::{Interrupt, fail};

#[derive(Debug, Parser)]
#[command(
    name = "klayer",
    version,
    about = "Trains K-layer fully connected networks with batch norm on CIFAR-10",
    arg_required_else_help = true
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train one network and tell how it does
    Train(train::TrainArgs),
    /// Evaluate a trained network: loss, accuracy and confusion matrix
    Evaluate(evaluate::EvaluateArgs),
}

/// Everything that ends a command before its end.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Experiment(#[from] klayer_experiments::Error),
    #[error(transparent)]
    Dataset(#[from] klayer_dataset::Error),
    #[error("Ctrl-C cannot be handled: {0}")]
    Signal(#[from] ctrlc::Error),
    #[error("the training diverged at step {step}, at the learning rate {rate}: nothing was written")]
    Diverged { step: u64, rate: f64 },
    #[error("the model is of {model} and the images are of {images}: they do not belong together")]
    OtherDataset { model: String, images: String },
    #[error("standard output: {0}")]
    Output(std::io::Error),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = Interrupt::on_signal().map_err(Error::from).and_then(|interrupt| match args.command {
        Command::Train(args) => args.run(&interrupt),
        Command::Evaluate(args) => args.run(&interrupt),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(
            error @ (Error::Experiment(klayer_experiments::Error::Cancelled)
            | Error::Dataset(klayer_dataset::Error::Cancelled)),
        ) => {
            fail(&error);
            Interrupt::status()
        }
        Err(error) => fail(&error),
    }
}
