use std::error::Error as StdError;
use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anstyle::AnsiColor;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use klayer_dataset::{Progress, Skipped};

use crate::Interrupt;

/// Seconds between progress lines if standard error is not a terminal.
const SECONDS_BETWEEN_LINES: u64 = 30;

/// Amount of output on standard error besides warnings and errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// No output.
    Quiet,
    /// Progress.
    #[default]
    Normal,
    /// Progress with all details.
    Verbose,
}

/// Output on standard error: progress bars on a terminal, occasional plain lines otherwise.
#[derive(Debug)]
pub struct Terminal {
    bars: MultiProgress,
    verbosity: Verbosity,
    interactive: bool,
    last_line: Mutex<Option<Instant>>,
}

/// Prints an error to standard error and returns a failing exit status.
pub fn fail(error: &dyn StdError) -> ExitCode {
    complain(AnsiColor::Red, "error", &error.to_string());
    ExitCode::FAILURE
}

/// Prints a line that starts with `word`, in color on a terminal that supports it.
fn complain(color: AnsiColor, word: &str, line: &str) {
    let style = color.on_default().bold();
    print_line(&format!("{style}{word}:{style:#} {line}"));
}

/// Prints a line to standard error. Write errors are ignored, so that they do not stop the work.
fn print_line(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

impl Terminal {
    /// Creates the output for the current standard error.
    pub fn new(verbosity: Verbosity) -> Self {
        let interactive = verbosity > Verbosity::Quiet && stderr().is_terminal();
        Self { bars: MultiProgress::new(), verbosity, interactive, last_line: Mutex::new(None) }
    }

    /// Whether progress bars are shown.
    pub fn interactive(&self) -> bool {
        self.interactive
    }

    /// Prints a line above the bars, whatever the verbosity.
    pub fn line(&self, line: &str) {
        self.bars.suspend(|| print_line(line));
    }

    /// Prints a warning.
    pub fn warn(&self, warning: &str) {
        self.bars.suspend(|| complain(AnsiColor::Yellow, "warning", warning));
    }

    /// Prints a progress line, unless bars are shown.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if !self.interactive {
            self.remark(line);
        }
    }

    /// Prints a line above the bars, unless quiet.
    pub fn remark(&self, line: impl FnOnce() -> String) {
        if self.verbosity > Verbosity::Quiet {
            self.line(&line());
        }
    }

    /// Prints a line if verbose.
    pub fn detail(&self, line: impl FnOnce() -> String) {
        if self.verbosity == Verbosity::Verbose {
            self.line(&line());
        }
    }

    /// Prints a progress line, at most once every 30 seconds and only if no bars are shown; if verbose, always.
    pub fn now_and_then(&self, line: impl FnOnce() -> String) {
        match self.verbosity {
            Verbosity::Quiet => return,
            Verbosity::Verbose => return self.line(&line()),
            Verbosity::Normal if self.interactive => return,
            Verbosity::Normal => {}
        }
        let mut last = self.last_line.lock().expect("writing a line does not panic");
        if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(SECONDS_BETWEEN_LINES)) {
            *last = Some(Instant::now());
            self.line(&line());
        }
    }

    /// Adds a bar of `length` with an indicatif `template` below the others. It is hidden if no bars are shown.
    ///
    /// # Panics
    /// If the template is not valid.
    pub fn bar(&self, length: u64, template: &str) -> ProgressBar {
        let bar = if self.interactive { ProgressBar::new(length) } else { ProgressBar::hidden() };
        bar.set_length(length);
        bar.set_style(ProgressStyle::with_template(template).expect("templates are constants").progress_chars("━╸ "));
        if self.interactive { self.bars.add(bar) } else { bar }
    }

    /// Shows the progress of loading the images.
    pub(crate) fn data_progress<'a>(&'a self, interrupt: &'a Interrupt) -> impl Progress + 'a {
        DataProgress { terminal: self, interrupt, bar: Mutex::new(None) }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new(Verbosity::Normal)
    }
}

struct DataProgress<'a> {
    terminal: &'a Terminal,
    interrupt: &'a Interrupt,
    bar: Mutex<Option<ProgressBar>>,
}

impl DataProgress<'_> {
    fn show(&self, done: u64, total: u64, template: &str) {
        let mut bar = self.bar.lock().expect("drawing a bar does not panic");
        let bar = bar.get_or_insert_with(|| self.terminal.bar(total, template));
        bar.set_length(total);
        bar.set_position(done);
    }
}

impl Drop for DataProgress<'_> {
    fn drop(&mut self) {
        if let Ok(Some(bar)) = self.bar.get_mut() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for DataProgress<'_> {
    fn downloading(&self, received: u64, total: u64) {
        self.show(received, total, "downloading CIFAR-10 {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        self.terminal.now_and_then(|| format!("downloading CIFAR-10: {received} of {total} bytes"));
    }

    fn retrying(&self, error: &klayer_dataset::Error, wait: Duration) {
        self.terminal.warn(&format!("{error}; retrying in {} s", wait.as_secs()));
    }

    fn unpacking(&self, entry: &Path) {
        self.terminal.now_and_then(|| format!("unpacking {}", entry.display()));
    }

    fn decoding(&self, images: usize, total: usize) {
        self.show(images as u64, total as u64, "reading pictures {bar:30} {pos}/{len} {per_sec} {eta}");
        self.terminal.now_and_then(|| format!("reading pictures: {images} of {total}"));
    }

    fn skipping(&self, file: &Skipped) {
        self.terminal.warn(&format!("{file}; skipped"));
    }

    fn cancelled(&self) -> bool {
        self.interrupt.requested()
    }
}
