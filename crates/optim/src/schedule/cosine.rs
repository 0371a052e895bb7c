use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::{Schedule, checked_rate};
use crate::Error;

/// A linear warm-up, then half a cosine to 0 (Loshchilov and Hutter, 2017, without restarts).
///
/// With the largest rate eta, N steps and a warm-up of the part w of them, step t has the rate
/// - eta t / (w N) for t < w N;
/// - eta (1 + cos(pi (t / N - w) / (1 - w))) / 2 from there to t = N;
/// - 0 afterwards.
///
/// ```
/// use klayer_optim::{Cosine, Schedule};
///
/// let schedule = Cosine::new(0.1, 0.2, 100)?;
/// assert_eq!([0, 10, 20].map(|step| schedule.rate(step)), [0.0, 0.05, 0.1]);
/// assert!((schedule.rate(60) - 0.05).abs() < 1e-12);
/// assert_eq!(schedule.rate(100), 0.0);
/// # Ok::<(), klayer_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Cosine {
    rate: f64,
    warmup: f64,
    steps: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    rate: f64,
    warmup: f64,
    steps: u64,
}

impl Cosine {
    /// Creates a schedule of `steps` update steps with the largest rate `rate`, after a warm-up of the part `warmup` of
    /// the steps.
    ///
    /// # Errors
    /// [`Error::Rate`] unless 0 <= rate < infinity, [`Error::Warmup`] unless 0 <= warmup < 1, [`Error::NoCosineSteps`]
    /// for no steps.
    pub fn new(rate: f64, warmup: f64, steps: u64) -> Result<Self, Error> {
        if !(0.0..1.0).contains(&warmup) {
            return Err(Error::Warmup { warmup });
        }
        if steps == 0 {
            return Err(Error::NoCosineSteps);
        }
        Ok(Self { rate: checked_rate(rate)?, warmup, steps })
    }

    /// The largest rate, at the end of the warm-up.
    pub fn largest(&self) -> f64 {
        self.rate
    }

    /// The part of the steps with a rising rate.
    pub fn warmup(&self) -> f64 {
        self.warmup
    }

    /// Number of update steps, after which the rate is 0.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

impl Schedule for Cosine {
    fn rate(&self, step: u64) -> f64 {
        if step >= self.steps {
            return 0.0;
        }
        let (step, steps, warmup) = (step as f64, self.steps as f64, self.warmup);
        if step < warmup * steps {
            return self.rate * (step / (warmup * steps));
        }
        self.rate * (0.5 * (1.0 + libm::cos(PI * (step / steps - warmup) / (1.0 - warmup))))
    }
}

impl TryFrom<Unchecked> for Cosine {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self, Error> {
        Self::new(unchecked.rate, unchecked.warmup, unchecked.steps)
    }
}

impl From<Cosine> for Unchecked {
    fn from(Cosine { rate, warmup, steps }: Cosine) -> Self {
        Self { rate, warmup, steps }
    }
}
