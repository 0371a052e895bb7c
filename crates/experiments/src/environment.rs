//! Where a run was made.

use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::arithmetic::Arithmetic;

/// Program, processor and system of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of klayer.
    pub version: String,
    /// Name of the processor, as the system tells it, or its architecture.
    pub processor: String,
    /// Cores that the program may use.
    pub cores: usize,
    /// Threads that the run is meant for. For one of a store, that is one, on however many it was made.
    pub threads: usize,
    /// Operating system and architecture.
    pub system: String,
    /// What decides the last bits of its results; nothing in a record that does not tell.
    #[serde(default)]
    pub arithmetic: Option<Arithmetic>,
}

impl Environment {
    /// This program on this machine, for a run of `threads` threads.
    pub fn here(threads: usize) -> Self {
        let architecture = std::env::consts::ARCH;
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            processor: processor().unwrap_or_else(|| architecture.to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            threads,
            system: format!("{} {architecture}", std::env::consts::OS),
            arithmetic: Some(Arithmetic::here()),
        }
    }
}

/// What Linux calls this start of the machine.
pub(crate) fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|boot| boot.trim().to_owned())
}

/// The name that Linux gives the processor; elsewhere there is no file to read it from.
fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
