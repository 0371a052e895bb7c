//! Progress bars for sets of runs: an overall bar and one for each active run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;

use klayer_experiments::RunsObserver;
use klayer_train::{Event, Observer};

use crate::{Interrupt, Terminal, Watch, Watchers};

/// Overall progress of a report or a search.
pub struct Progress<'a> {
    terminal: &'a Terminal,
    interrupt: &'a Interrupt,
    watchers: &'a Watchers,
    whole: ProgressBar,
}

/// A set of named runs.
pub struct Section<'a> {
    progress: &'a Progress<'a>,
    title: String,
    names: Vec<String>,
    /// Weight of a unit of a run's work in the overall bar.
    weight: f64,
    made: AtomicBool,
}

/// An active run.
struct Run<'a> {
    section: &'a Section<'a>,
    watch: Watch<'a>,
    done: AtomicU64,
}

impl<'a> Progress<'a> {
    /// Creates the overall bar for `work` update steps or the equivalent time.
    pub fn new(terminal: &'a Terminal, interrupt: &'a Interrupt, watchers: &'a Watchers, work: u64) -> Self {
        let whole = terminal.bar(work, "{msg:24} {bar:30} {percent:>3}%  {elapsed} so far, {eta} left");
        whole.enable_steady_tick(Duration::from_millis(500));
        Self { terminal, interrupt, watchers, whole }
    }

    /// Starts a section with the named runs; a unit of their work takes as long as `weight` update steps.
    pub fn section(&'a self, title: &str, names: Vec<String>, weight: f64) -> Section<'a> {
        self.whole.set_message(title.to_owned());
        self.watchers.section(title, names.len());
        self.terminal.note(|| format!("{title}: {} runs", names.len()));
        Section { progress: self, title: title.to_owned(), names, weight, made: AtomicBool::new(false) }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.whole.finish_and_clear();
    }
}

impl Section<'_> {
    /// Whether any run was started, not only loaded from the store.
    pub fn made(&self) -> bool {
        self.made.load(Ordering::Relaxed)
    }

    fn advance(&self, work: u64) {
        self.progress.whole.inc((work as f64 * self.weight) as u64);
    }
}

impl RunsObserver for Section<'_> {
    fn started(&self, index: usize, work: u64) -> Box<dyn Observer + '_> {
        self.made.store(true, Ordering::Relaxed);
        let Progress { terminal, interrupt, watchers, .. } = self.progress;
        let bar = (work, "  {prefix:22} {bar:30} {percent:>3}%  {per_sec:>14}  {msg}");
        let watch = watchers.run(Some(&self.title), &self.names[index], bar, terminal, interrupt);
        Box::new(Run { section: self, watch, done: AtomicU64::new(0) })
    }

    fn found(&self, _: usize, work: u64) {
        self.advance(work);
    }

    fn waiting(&self, left: usize, owner: &str) {
        self.progress.whole.set_message(format!("waiting for {left} elsewhere"));
        self.progress
            .terminal
            .now_and_then(|| format!("waiting for {left} runs of other processes, one of them at {owner}"));
    }

    fn cancelled(&self) -> bool {
        self.progress.interrupt.requested()
    }
}

impl Observer for Run<'_> {
    fn on(&self, event: &Event<'_>) {
        if let &Event::Progressed(done) = event {
            let before = self.done.swap(done, Ordering::Relaxed);
            self.section.advance(done - before);
        }
        self.watch.on(event);
    }

    fn cancelled(&self) -> bool {
        self.watch.cancelled()
    }
}
