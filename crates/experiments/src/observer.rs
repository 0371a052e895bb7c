//! Progress reports and cancellation of long computations.

use crate::metrics::Metrics;

/// Data of an update step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Completed update steps, including this one.
    pub step: u64,
    /// Mini-batch loss in training mode, before the update.
    pub loss: f64,
    /// Learning rate.
    pub rate: f64,
}

/// Observes one training run or gradient check. Every method has an empty default.
pub trait Observer: Sync {
    /// `done` update steps are completed, or parameters checked. A resumed run first reports the step that it resumes
    /// from.
    fn progressed(&self, done: u64) {
        let _ = done;
    }

    /// The run is resumed from a checkpoint, after these points of its curve.
    fn resumed(&self, before: &[Metrics]) {
        let _ = before;
    }

    /// An update step is completed. Called for every step, before [`Observer::progressed`].
    fn stepped(&self, step: &Step) {
        let _ = step;
    }

    /// The run has been evaluated.
    fn evaluated(&self, metrics: &Metrics) {
        let _ = metrics;
    }

    /// A problem occurred that does not change the result, such as a damaged checkpoint.
    fn warned(&self, warning: &str) {
        let _ = warning;
    }

    /// Whether to cancel the run. Called at every update step.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Ignores all events and never cancels.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Observes a set of runs, several of which may run at the same time.
pub trait RunsObserver: Sync {
    /// Run `index` starts; `work` is the final count of [`Observer::progressed`]. The observer is dropped when the
    /// run ends.
    fn started(&self, index: usize, work: u64) -> Box<dyn Observer + '_>;

    /// The record of run `index` was found: it was computed earlier or by another process.
    fn found(&self, index: usize, work: u64) {
        let _ = (index, work);
    }

    /// The remaining `left` runs are all held by other processes, one of them by `owner`. Called every few seconds.
    fn waiting(&self, left: usize, owner: &str) {
        let _ = (left, owner);
    }

    /// Whether to cancel while waiting for other processes.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Ignores all events.
impl RunsObserver for Silent {
    fn started(&self, _: usize, _: u64) -> Box<dyn Observer + '_> {
        Box::new(Silent)
    }
}
