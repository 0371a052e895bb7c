//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

use crate::Error;

/// A learning-rate schedule.
pub trait Schedule {
    /// Returns the learning rate of update step `step`, counted from 0.
    fn rate(&self, step: u64) -> f64;
}

/// The triangular cyclical learning rate of Smith (2017): rises linearly from eta_min to eta_max in n_s update steps,
/// falls back in n_s steps, and repeats.
///
/// ```
/// use klayer_optim::{Cyclical, Schedule};
///
/// let schedule = Cyclical::new(0.0, 0.1, 50)?;
/// assert_eq!(schedule.rate(0), 0.0);
/// assert_eq!(schedule.rate(50), 0.1);
/// assert_eq!(schedule.rate(75), schedule.rate(25));
/// assert_eq!(schedule.rate(100), 0.0);
/// # Ok::<(), klayer_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Cyclical {
    eta_min: f64,
    eta_max: f64,
    half_cycle: u64,
}

#[derive(Serialize, Deserialize)]
struct Unchecked {
    eta_min: f64,
    eta_max: f64,
    n_s: u64,
}

impl Cyclical {
    /// Creates a schedule between `eta_min` and `eta_max` with a half cycle of `n_s` update steps.
    ///
    /// # Errors
    /// [`Error::Rates`] unless 0 <= eta_min <= eta_max < infinity, [`Error::NoSteps`] for n_s = 0.
    pub fn new(eta_min: f64, eta_max: f64, n_s: u64) -> Result<Self, Error> {
        if !(0.0 <= eta_min && eta_min <= eta_max && eta_max.is_finite()) {
            return Err(Error::Rates { eta_min, eta_max });
        }
        if n_s == 0 {
            return Err(Error::NoSteps);
        }
        Ok(Self { eta_min, eta_max, half_cycle: n_s })
    }

    /// Number of update steps in a cycle, 2 n_s.
    pub fn cycle(&self) -> u64 {
        self.half_cycle.saturating_mul(2)
    }

    /// The smallest rate.
    pub fn eta_min(&self) -> f64 {
        self.eta_min
    }

    /// The largest rate.
    pub fn eta_max(&self) -> f64 {
        self.eta_max
    }

    /// Number of update steps in a half cycle, from the smallest rate to the largest.
    pub fn n_s(&self) -> u64 {
        self.half_cycle
    }
}

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
            Growth::Exponential => self.eta_min * (self.eta_max / self.eta_min).powf(part),
        }
    }
}

impl Schedule for Cyclical {
    fn rate(&self, step: u64) -> f64 {
        let position = step % self.cycle();
        let from_minimum = position.min(self.cycle() - position);
        let from_maximum = self.half_cycle - from_minimum;
        let part = |steps: u64| (self.eta_max - self.eta_min) * (steps as f64 / self.half_cycle as f64);
        // Computed from the nearer end, so that both ends are exact and rounding never exceeds them.
        if from_minimum < from_maximum { self.eta_min + part(from_minimum) } else { self.eta_max - part(from_maximum) }
    }
}

impl TryFrom<Unchecked> for Cyclical {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self, Error> {
        Self::new(unchecked.eta_min, unchecked.eta_max, unchecked.n_s)
    }
}

impl From<Cyclical> for Unchecked {
    fn from(cyclical: Cyclical) -> Self {
        Self { eta_min: cyclical.eta_min, eta_max: cyclical.eta_max, n_s: cyclical.half_cycle }
    }
}
