//! `cargo xtask ci`: the checks that take longest. `.ci/run` runs them after `cargo test`.

use std::process::Command;
use std::time::Instant;

use clap::Args;

use crate::error::Error;
use crate::root::root;

/// The heavy checks, by name, with the command that runs them in the checkout.
const CHECKS: [(&str, &[&str]); 5] = [
    (
        "faults, Slurm, browsers and the bench",
        &["cargo", "test", "--package", "klayer-tests", "--locked", "--", "--ignored", "--skip", "the_table_of_faults"],
    ),
    ("event files in TensorBoard", &["tests/interop/tensorboard.sh"]),
    ("exported networks in onnxruntime and PyTorch", &["tests/interop/run.sh"]),
    (
        "fuzz targets",
        &[
            "cargo",
            "check",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--all-targets",
            "--locked",
            "--target-dir",
            "target",
        ],
    ),
    (
        "fuzz seeds",
        &["cargo", "test", "--manifest-path", "fuzz/Cargo.toml", "--lib", "--locked", "--target-dir", "target"],
    ),
];

/// The options of `cargo xtask ci`.
#[derive(Debug, Args)]
pub(crate) struct CiArgs {
    /// List the checks and their commands, and run none
    #[arg(long)]
    list: bool,
}

impl CiArgs {
    #[expect(clippy::print_stdout, reason = "the output of the checks goes to the same place")]
    pub(crate) fn run(self) -> Result<(), Error> {
        for (name, words) in CHECKS {
            println!("== {name}: {}", words.join(" "));
            if self.list {
                continue;
            }
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).current_dir(root());
            // What Cargo sets for this task would have the build scripts of others run again.
            for (name, _) in std::env::vars_os() {
                if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
                    command.env_remove(name);
                }
            }
            let start = Instant::now();
            match command.status() {
                Ok(status) if status.success() => println!("{name}: {:.0} s", start.elapsed().as_secs_f64()),
                Ok(status) => return Err(Error::Check { name, reason: status.to_string() }),
                Err(error) => return Err(Error::Check { name, reason: error.to_string() }),
            }
        }
        Ok(())
    }
}
