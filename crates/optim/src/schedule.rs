//! Learning-rate schedules.

use crate::Error;

mod constant;
mod cosine;
mod cyclical;
mod ramp;

pub use constant::Constant;
pub use cosine::Cosine;
pub use cyclical::Cyclical;
pub use ramp::{Growth, Ramp};

/// A learning-rate schedule.
pub trait Schedule {
    /// Returns the learning rate of update step `step`, counted from 0.
    fn rate(&self, step: u64) -> f64;

    /// Number of update steps after which the rates repeat, if they do.
    fn period(&self) -> Option<u64> {
        None
    }
}

/// Returns `rate` if it is a learning rate.
fn checked_rate(rate: f64) -> Result<f64, Error> {
    if rate.is_finite() && rate >= 0.0 { Ok(rate) } else { Err(Error::Rate { rate }) }
}
