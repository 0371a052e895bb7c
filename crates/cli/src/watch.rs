use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use klayer_experiments::{Metrics, Step};

use crate::Terminal;
use crate::live::{Live, LiveRun};
use crate::tensorboard::TensorBoardRun;

/// The switches that say where runs can be watched, beside the bars.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Watching")]
pub struct WatchArgs {
    /// Show loss, accuracy and rate as they come, on a page for this machine alone; its address is printed, and PORT is
    /// a free one unless it is given
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    watch: Option<u16>,
    /// Write event files for TensorBoard to this folder; of several runs, each has a folder within
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
}

/// Runs cannot be watched where they should be.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The page cannot be served.
    #[error("no page can be served on 127.0.0.1:{port}: {source}")]
    Port {
        /// The port that was asked for.
        port: u16,
        /// The reason.
        source: io::Error,
    },
    /// The folder of the event files cannot be made.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// Where runs are watched. They can be watched until it is dropped.
#[derive(Debug, Default)]
pub struct Watchers {
    live: Option<Live>,
    tensorboard: Option<PathBuf>,
}

/// Watches one run, until it is dropped.
#[derive(Debug)]
pub struct Watcher<'a> {
    terminal: &'a Terminal,
    live: Option<LiveRun<'a>>,
    tensorboard: Option<TensorBoardRun>,
    /// Whether the event file could not be written; it is not tried again.
    failed: AtomicBool,
}

impl WatchArgs {
    /// Begins what the switches say, for a program that `title` names, and tells where that is.
    ///
    /// # Errors
    /// [`WatchError`] if the port is taken or the folder cannot be made.
    pub fn open(&self, title: &str, terminal: &Terminal) -> Result<Watchers, WatchError> {
        if let Some(path) = &self.tensorboard {
            fs::create_dir_all(path).map_err(|source| WatchError::Folder { path: path.clone(), source })?;
        }
        let live = self.watch.map(|port| Live::open(port, title).map_err(|source| WatchError::Port { port, source }));
        let live = live.transpose()?;
        if let Some(live) = &live {
            terminal.line(&format!("watch it at http://{}/", live.address()));
        }
        Ok(Watchers { live, tensorboard: self.tensorboard.clone() })
    }
}

impl Watchers {
    /// What follows belongs together: `runs` runs under the heading `title`.
    pub fn section(&self, title: &str, runs: usize) {
        if let Some(live) = &self.live {
            live.section(title, runs);
        }
    }

    /// Watches a run of `steps` update steps, of a section if it is not the only one.
    pub fn run<'a>(&'a self, section: Option<&str>, name: &str, steps: u64, terminal: &'a Terminal) -> Watcher<'a> {
        let folder = |folder: &PathBuf| match section {
            Some(section) => folder.join(file_name(section)).join(file_name(name)),
            None => folder.clone(),
        };
        Watcher {
            terminal,
            live: self.live.as_ref().map(|live| live.run(name, steps)),
            tensorboard: self.tensorboard.as_ref().map(|path| TensorBoardRun::new(folder(path))),
            failed: AtomicBool::new(false),
        }
    }
}

/// `name` with a dash for what has no place in the name of a folder.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '-' }).collect()
}

/// As the methods of [`Observer`](klayer_experiments::Observer).
impl Watcher<'_> {
    /// The run goes on after these points.
    pub fn resumed(&self, before: &[Metrics]) {
        if let Some(live) = &self.live {
            live.resumed(before);
        }
    }

    /// An update step has been made.
    pub fn stepped(&self, step: &Step) {
        if let Some(live) = &self.live {
            live.stepped(step);
        }
        if let Some(tensorboard) = &self.tensorboard {
            tensorboard.stepped(step);
        }
    }

    /// The run has been evaluated.
    pub fn evaluated(&self, metrics: &Metrics) {
        if let Some(live) = &self.live {
            live.evaluated(metrics);
        }
        let Some(tensorboard) = self.tensorboard.as_ref().filter(|_| !self.failed.load(Ordering::Relaxed)) else {
            return;
        };
        if let Err(error) = tensorboard.evaluated(metrics) {
            self.failed.store(true, Ordering::Relaxed);
            self.terminal.warn(&format!("no more events for TensorBoard can be written: {error}"));
        }
    }
}
