use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::ProgressBar;
use klayer_train::{Event, Metrics, Observer};

use crate::live::{Live, LiveRun};
use crate::tensorboard::TensorBoardRun;
use crate::{Interrupt, Terminal};

/// Options for watching runs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Monitoring")]
pub struct WatchArgs {
    /// Serve a live page with loss, accuracy and learning rate
    ///
    /// The page is served on 127.0.0.1, on a free port unless PORT is given. Its address is printed.
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    watch: Option<u16>,
    /// Write TensorBoard event files to this folder
    ///
    /// With several runs, each has its own subfolder.
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
}

/// Errors of [`WatchArgs::open`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The live page cannot be served.
    #[error("cannot serve the live page on 127.0.0.1:{port}: {error}")]
    Port {
        /// The requested port.
        port: u16,
        /// The reason.
        error: io::Error,
    },
    /// The folder of the event files cannot be created.
    #[error(transparent)]
    Folder(klayer_store::Error),
}

/// Destinations of live data about runs; they stay available until this is dropped.
#[derive(Debug, Default)]
pub struct Watchers {
    live: Option<Live>,
    tensorboard: Option<PathBuf>,
}

/// Shows one run or gradient check until dropped: on a bar or in plain lines, and in its [`Watchers`]. Stops the run
/// when the user interrupts.
#[derive(Debug)]
pub struct Watch<'a> {
    terminal: &'a Terminal,
    interrupt: &'a Interrupt,
    /// Prefix of its lines, if it is one of several runs.
    name: Option<&'a str>,
    bar: ProgressBar,
    live: Option<LiveRun<'a>>,
    tensorboard: Option<TensorBoardRun>,
    /// Whether writing the event file has failed; it is not retried.
    failed: AtomicBool,
}

impl WatchArgs {
    /// Starts the watchers that the options enable, for a program called `title`, and prints the page's address.
    ///
    /// # Errors
    /// [`WatchError`] if the port is in use or the folder cannot be created.
    pub fn open(&self, title: &str, terminal: &Terminal) -> Result<Watchers, WatchError> {
        if let Some(path) = &self.tensorboard {
            klayer_store::files::create_folder(path).map_err(WatchError::Folder)?;
        }
        let live = self.watch.map(|port| Live::open(port, title).map_err(|error| WatchError::Port { port, error }));
        let live = live.transpose()?;
        if let Some(live) = &live {
            terminal.line(&format!("live page: http://{}/", live.address()));
        }
        Ok(Watchers { live, tensorboard: self.tensorboard.clone() })
    }
}

impl Watchers {
    /// Starts a section of `runs` runs with the heading `title`.
    pub fn section(&self, title: &str, runs: usize) {
        if let Some(live) = &self.live {
            live.section(title, runs);
        }
    }

    /// Watches a run of `steps` update steps (or parameters), in a section unless it is the only one. The bar's template
    /// is in indicatif's syntax.
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

/// `name` with characters that are unsuitable for a folder name replaced by dashes.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '-' }).collect()
}

impl Watch<'_> {
    /// Template of the bar of a single run.
    pub const STEPS: &'static str = "{bar:40} {pos}/{len} steps  {per_sec}  {eta} left  {msg}";
}

impl Watch<'_> {
    /// Shows a point of the curve.
    fn show(&self, metrics: &Metrics) {
        let step = metrics.point.step;
        let accuracy = match metrics.point.validation_accuracy {
            Some(accuracy) => format!("validation {:.2}%", 100.0 * accuracy),
            None => format!("loss {:.3}", metrics.batch_loss),
        };
        self.terminal.now_and_then(|| match self.name {
            Some(name) => format!("{name}: step {step}, {accuracy}"),
            None => format!("step {step}: {accuracy}"),
        });
        self.bar.set_message(accuracy);
    }

    fn warn(&self, warning: &str) {
        match self.name {
            Some(name) => self.terminal.warn(&format!("{name}: {warning}")),
            None => self.terminal.warn(warning),
        }
    }
}

impl Observer for Watch<'_> {
    fn on(&self, event: &Event<'_>) {
        if let Some(live) = &self.live {
            live.on(event);
        }
        if let Some(tensorboard) = self.tensorboard.as_ref().filter(|_| !self.failed.load(Ordering::Relaxed))
            && let Err(error) = tensorboard.on(event)
        {
            self.failed.store(true, Ordering::Relaxed);
            self.terminal.warn(&format!("cannot write TensorBoard events, disabling them: {error}"));
        }
        match *event {
            Event::Progressed(done) => {
                let resumed = self.bar.position() == 0 && done > 1;
                self.bar.set_position(done);
                if resumed {
                    // The speed is that of the steps from here on.
                    self.bar.tick();
                    self.bar.reset_eta();
                }
            }
            Event::Evaluated(metrics) => self.show(metrics),
            Event::Warned(warning) => self.warn(warning),
            _ => {}
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
