//! The environment of a run.

use std::fs;
use std::thread;

use klayer_linalg::kernels_on;
use serde::{Deserialize, Serialize};

/// Program, processor and system of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of klayer.
    pub version: String,
    /// Processor name as reported by the system, or the architecture.
    pub processor: String,
    /// Cores available to the program.
    pub cores: usize,
    /// Number of threads the run is meant for. Always 1 for runs in a store, whatever number computed them.
    pub threads: usize,
    /// Operating system and architecture.
    pub system: String,
    /// Whether products ran on klayer's kernels; otherwise (`KLAYER_NO_KERNELS`) on faer, which rounds differently.
    #[serde(default = "kernels_on")]
    pub kernels: bool,
}

impl Environment {
    /// The environment of this process, for a run with `threads` threads.
    pub fn here(threads: usize) -> Self {
        let architecture = std::env::consts::ARCH;
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            processor: processor().unwrap_or_else(|| architecture.to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            threads,
            system: format!("{} {architecture}", std::env::consts::OS),
            kernels: kernels_on(),
        }
    }
}

/// The processor name on Linux; `None` elsewhere.
fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
