use std::error::Error as StdError;
use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anstyle::AnsiColor;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use klayer_dataset::Progress;

use crate::Interrupt;

/// Seconds between lines of progress where standard error is no terminal.
const SECONDS_BETWEEN_LINES: u64 = 30;

/// How much is told on standard error, beside warnings and errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Nothing.
    Quiet,
    /// How far things are.
    #[default]
    Normal,
    /// Each step of it, and what is decided on the way.
    Verbose,
}

/// Standard error: bars where it is a terminal, a few plain lines where it is not.
#[derive(Debug)]
pub struct Terminal {
    bars: MultiProgress,
    verbosity: Verbosity,
    interactive: bool,
    last_line: Mutex<Option<Instant>>,
}

/// Ends a program with one sentence on standard error and a status that says that it failed.
pub fn fail(error: &dyn StdError) -> ExitCode {
    complain(AnsiColor::Red, "error", &error.to_string());
    ExitCode::FAILURE
}

/// Writes a line that begins with `word` in bold colour, where standard error is a terminal that wants colours.
fn complain(color: AnsiColor, word: &str, line: &str) {
    let style = color.on_default().bold();
    tell(&format!("{style}{word}:{style:#} {line}"));
}

/// Writes a line. Where it cannot be written, there is nobody to tell that: the work goes on.
fn tell(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

impl Terminal {
    /// Standard error as it is.
    pub fn new(verbosity: Verbosity) -> Self {
        let interactive = verbosity > Verbosity::Quiet && stderr().is_terminal();
        Self { bars: MultiProgress::new(), verbosity, interactive, last_line: Mutex::new(None) }
    }

    /// Whether bars are shown.
    pub fn interactive(&self) -> bool {
        self.interactive
    }

    /// Writes a line that was asked for, above the bars if there are any.
    pub fn line(&self, line: &str) {
        self.bars.suspend(|| tell(line));
    }

    /// Writes a warning.
    pub fn warn(&self, warning: &str) {
        self.bars.suspend(|| complain(AnsiColor::Yellow, "warning", warning));
    }

    /// Writes a line about what goes on where there are no bars.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if !self.interactive {
            self.remark(line);
        }
    }

    /// Writes a line about what was found, above the bars if there are any.
    pub fn remark(&self, line: impl FnOnce() -> String) {
        if self.verbosity > Verbosity::Quiet {
            self.line(&line());
        }
    }

    /// Writes a line for those who want to know all.
    pub fn detail(&self, line: impl FnOnce() -> String) {
        if self.verbosity == Verbosity::Verbose {
            self.line(&line());
        }
    }

    /// Writes a line unless one was written within the last half minute: for progress where there are no bars. Each of
    /// them where all is told.
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

    /// A new bar of `length` below the others; `template` is indicatif's. Hidden where there are no bars.
    ///
    /// # Panics
    /// If the template is not valid.
    pub fn bar(&self, length: u64, template: &str) -> ProgressBar {
        let bar = if self.interactive { ProgressBar::new(length) } else { ProgressBar::hidden() };
        bar.set_length(length);
        bar.set_style(ProgressStyle::with_template(template).expect("templates are constants").progress_chars("━╸ "));
        if self.interactive { self.bars.add(bar) } else { bar }
    }

    /// Shows the fetching, checking and generating of images.
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
        self.terminal.warn(&format!("{error}; trying again in {} s", wait.as_secs()));
    }

    fn unpacking(&self, entry: &Path) {
        self.terminal.now_and_then(|| format!("unpacking {}", entry.display()));
    }

    fn cancelled(&self) -> bool {
        self.interrupt.requested()
    }
}
