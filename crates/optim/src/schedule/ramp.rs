use super::Schedule;
use crate::Error;

/// An increasing learning rate, for the learning-rate range test (Smith 2017, section 3.3).
///
/// ```
/// use klayer_optim::{Growth, Ramp, Schedule};
///
/// let linear = Ramp::new(0.0, 0.5, 101, Growth::Linear)?;
/// assert_eq!([0, 50, 100, 200].map(|step| linear.rate(step)), [0.0, 0.25, 0.5, 0.5]);
/// let exponential = Ramp::new(0.01, 1.0, 3, Growth::Exponential)?;
/// assert!((exponential.rate(1) - 0.1).abs() < 1e-12);
/// # Ok::<(), klayer_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    eta_min: f64,
    eta_max: f64,
    steps: u64,
    growth: Growth,
}

/// How the rate of a [`Ramp`] increases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Growth {
    /// By the same amount every step.
    Linear,
    /// By the same factor every step.
    Exponential,
}

impl Ramp {
    /// Creates a schedule that rises from `eta_min` at step 0 to `eta_max` at step `steps - 1`, and stays there.
    ///
    /// # Errors
    /// [`Error::Ramp`] unless 0 <= eta_min < eta_max < infinity, and 0 < eta_min for exponential growth;
    /// [`Error::RampSteps`] for fewer than two steps.
    pub fn new(eta_min: f64, eta_max: f64, steps: u64, growth: Growth) -> Result<Self, Error> {
        let positive = eta_min > 0.0 || (eta_min == 0.0 && growth == Growth::Linear);
        if !(positive && eta_min < eta_max && eta_max.is_finite()) {
            return Err(Error::Ramp { eta_min, eta_max });
        }
        if steps < 2 {
            return Err(Error::RampSteps { steps });
        }
        Ok(Self { eta_min, eta_max, steps, growth })
    }

    /// Number of update steps, including those at the smallest and the largest rate.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

impl Schedule for Ramp {
    fn rate(&self, step: u64) -> f64 {
        let last = self.steps - 1;
        if step >= last {
            return self.eta_max;
        }
        let part = step as f64 / last as f64;
        match self.growth {
            Growth::Linear => self.eta_min + part * (self.eta_max - self.eta_min),
            Growth::Exponential => self.eta_min * libm::pow(self.eta_max / self.eta_min, part),
        }
    }
}
