use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::ProgressBar;
use klayer_experiments::{Metrics, Observer, Step};

use crate::live::{Live, LiveRun};
use crate::tensorboard::TensorBoardRun;
use crate::{Interrupt, Terminal};

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
#[non_exhaustive]
pub enum WatchError {
    /// The page cannot be served.
    #[error("no page can be served on 127.0.0.1:{port}: {error}")]
    Port {
        /// The port that was asked for.
        port: u16,
        /// The reason.
        error: io::Error,
    },
    /// The folder of the event files cannot be made.
    #[error("{}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
}

/// Where runs are watched. They can be watched until it is dropped.
#[derive(Debug, Default)]
pub struct Watchers {
    live: Option<Live>,
    tensorboard: Option<PathBuf>,
}

/// Shows one run, or one gradient check, until it is dropped: on a bar, in lines where there is none, and wherever its
/// [`Watchers`] are. It stops the run when the user wants that.
#[derive(Debug)]
pub struct Watch<'a> {
    terminal: &'a Terminal,
    interrupt: &'a Interrupt,
    /// What its lines begin with, if it is one of several.
    name: Option<&'a str>,
    bar: ProgressBar,
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
            fs::create_dir_all(path).map_err(|error| WatchError::Folder { path: path.clone(), error })?;
        }
        let live = self.watch.map(|port| Live::open(port, title).map_err(|error| WatchError::Port { port, error }));
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

    /// Watches a run of `steps` update steps, or as many parameters, of a section if it is not the only one. The template
    /// of its bar is indicatif's.
    ///
    /// # Panics
    /// If the template is not valid.
    pub fn run<'a>(
        &'a self,
        section: Option<&str>,
        name: &'a str,
        (steps, template): (u64, &str),
        terminal: &'a Terminal,
        interrupt: &'a Interrupt,
    ) -> Watch<'a> {
        let folder = |folder: &PathBuf| match section {
            Some(section) => folder.join(file_name(section)).join(file_name(name)),
            None => folder.clone(),
        };
        let bar = terminal.bar(steps, template);
        bar.set_prefix(name.to_owned());
        Watch {
            terminal,
            interrupt,
            name: section.map(|_| name),
            bar,
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

impl Watch<'_> {
    /// The template of the bar of a run that is the only one.
    pub const STEPS: &'static str = "{bar:40} {pos}/{len} steps  {per_sec}  {eta} left  {msg}";
}

impl Observer for Watch<'_> {
    fn progressed(&self, done: u64) {
        self.bar.set_position(done);
    }

    fn resumed(&self, before: &[Metrics]) {
        if let Some(live) = &self.live {
            live.resumed(before);
        }
    }

    fn stepped(&self, step: &Step) {
        if let Some(live) = &self.live {
            live.stepped(step);
        }
        if let Some(tensorboard) = &self.tensorboard {
            tensorboard.stepped(step);
        }
    }

    fn evaluated(&self, metrics: &Metrics) {
        if let Some(live) = &self.live {
            live.evaluated(metrics);
        }
        if let Some(tensorboard) = self.tensorboard.as_ref().filter(|_| !self.failed.load(Ordering::Relaxed))
            && let Err(error) = tensorboard.evaluated(metrics)
        {
            self.failed.store(true, Ordering::Relaxed);
            self.terminal.warn(&format!("no more events for TensorBoard can be written: {error}"));
        }
        let step = metrics.point.step;
        let accuracy = format!("validation {:.2}%", 100.0 * metrics.point.validation_accuracy);
        self.terminal.now_and_then(|| match self.name {
            Some(name) => format!("{name}: step {step}, {accuracy}"),
            None => format!("step {step}: {accuracy}"),
        });
        self.bar.set_message(accuracy);
    }

    fn warned(&self, warning: &str) {
        match self.name {
            Some(name) => self.terminal.warn(&format!("{name}: {warning}")),
            None => self.terminal.warn(warning),
        }
    }

    fn cancelled(&self) -> bool {
        self.interrupt.requested()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
