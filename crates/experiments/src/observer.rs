//! How a long computation tells of its progress, and is told to stop.

use crate::metrics::Metrics;

/// What an update step tells of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Update steps made, with this one.
    pub step: u64,
    /// The loss of its mini-batch, in training mode, before the update.
    pub loss: f64,
    /// Its learning rate.
    pub rate: f64,
}

/// Watches one training run or gradient check. Every method does nothing unless it is overridden.
pub trait Observer: Sync {
    /// `done` update steps have been made, or parameters been checked. A run that goes on from a checkpoint tells where
    /// it begins.
    fn progressed(&self, done: u64) {
        let _ = done;
    }

    /// The run goes on from a checkpoint, after these points of its curve.
    fn resumed(&self, before: &[Metrics]) {
        let _ = before;
    }

    /// An update step has been made. Called at every one, before [`Observer::progressed`].
    fn stepped(&self, step: &Step) {
        let _ = step;
    }

    /// The run has been evaluated.
    fn evaluated(&self, metrics: &Metrics) {
        let _ = metrics;
    }

    /// Something went wrong that does not change the result, such as a damaged checkpoint.
    fn warned(&self, warning: &str) {
        let _ = warning;
    }

    /// Whether the run shall stop at once. Asked at every update step.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing and stops nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Watches a set of runs, of which several may be under way at the same time.
pub trait RunsObserver: Sync {
    /// Run `index` starts; `work` is how far [`Observer::progressed`] will count. The observer is dropped at its end.
    fn started(&self, index: usize, work: u64) -> Box<dyn Observer + '_>;

    /// Run `index` was found finished, made earlier or by another process.
    fn found(&self, index: usize, work: u64) {
        let _ = (index, work);
    }

    /// All the runs that are left are under way elsewhere: `left`, of which one at `owner`. Told every few seconds.
    fn waiting(&self, left: usize, owner: &str) {
        let _ = (left, owner);
    }

    /// Whether to stop while there is nothing to do but wait.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches no run of a set.
impl RunsObserver for Silent {
    fn started(&self, _: usize, _: u64) -> Box<dyn Observer + '_> {
        Box::new(Silent)
    }
}
