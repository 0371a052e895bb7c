//! `cargo xtask`: the development tasks of this repository. `cargo xtask report` regenerates the report,
//! `cargo xtask bench` measures the speed of training, and `cargo xtask data` downloads CIFAR-10.

#![forbid(unsafe_code)]

mod assemble;
mod bench;
mod beyond;
mod chapter;
mod ci;
mod data;
mod error;
mod findings;
mod measurements;
mod paper;
mod publish;
mod render;
mod report;
mod results;
mod root;
mod study;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use klayer_cli::{Interrupt, fail};

use crate::error::Error;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, about = "Development tasks of this repository", arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Regenerate every table and figure of the report
    Report(report::ReportArgs),
    /// Measure the speed of training against the processor's peak
    Bench(bench::BenchArgs),
    /// Download and verify CIFAR-10
    Data(data::FetchArgs),
    /// Run the heavy checks: faults, Slurm, browsers, other runtimes, fuzz targets
    Ci(ci::CiArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let interrupt = match Interrupt::on_signal() {
        Ok(interrupt) => interrupt,
        Err(error) => return fail(&Error::Signal(error)),
    };
    let result = match args.task {
        Task::Report(args) => args.run(&interrupt),
        Task::Bench(args) => args.run(&interrupt),
        Task::Data(args) => args.run(&interrupt),
        Task::Ci(args) => args.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.interrupted() => {
            fail(&error);
            interrupt.status()
        }
        Err(error) => fail(&error),
    }
}
