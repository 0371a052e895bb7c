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

/// What happens in a training run or a gradient check.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// This many update steps are completed, or parameters checked. A resumed run first reports the step that it
    /// resumes from.
    Progressed(u64),
    /// The run is resumed from a checkpoint, after these points of its curve.
    Resumed(&'a [Metrics]),
    /// An update step is completed. Reported for every step, before [`Event::Progressed`].
    Stepped(Step),
    /// The run has been evaluated.
    Evaluated(&'a Metrics),
    /// A problem occurred that does not change the result, such as a damaged checkpoint.
    Warned(&'a str),
}

/// Observes one training run or gradient check. Both methods have a default that does nothing.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use klayer_train::{Event, Observer};
///
/// /// Counts update steps, and cancels the run after a thousand.
/// struct Thousand(AtomicU64);
///
/// impl Observer for Thousand {
///     fn on(&self, event: &Event<'_>) {
///         if let Event::Progressed(done) = event {
///             self.0.store(*done, Ordering::Relaxed);
///         }
///     }
///
///     fn cancelled(&self) -> bool {
///         self.0.load(Ordering::Relaxed) >= 1000
///     }
/// }
/// ```
pub trait Observer: Sync {
    /// Called at every event.
    fn on(&self, event: &Event<'_>) {
        let _ = event;
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
