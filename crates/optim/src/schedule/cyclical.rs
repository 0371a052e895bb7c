use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::Error;

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

impl Schedule for Cyclical {
    fn rate(&self, step: u64) -> f64 {
        let position = step % self.cycle();
        let from_minimum = position.min(self.cycle() - position);
        let from_maximum = self.half_cycle - from_minimum;
        let part = |steps: u64| (self.eta_max - self.eta_min) * (steps as f64 / self.half_cycle as f64);
        // Computed from the nearer end, so that both ends are exact and rounding never exceeds them.
        if from_minimum < from_maximum { self.eta_min + part(from_minimum) } else { self.eta_max - part(from_maximum) }
    }

    fn period(&self) -> Option<u64> {
        Some(self.cycle())
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
