use serde::{Deserialize, Serialize};

use super::{Schedule, checked_rate};
use crate::Error;

/// The same learning rate in every step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Constant {
    rate: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    rate: f64,
}

impl Constant {
    /// Creates a schedule of learning rate `rate`.
    ///
    /// # Errors
    /// [`Error::Rate`] unless 0 <= rate < infinity.
    pub fn new(rate: f64) -> Result<Self, Error> {
        Ok(Self { rate: checked_rate(rate)? })
    }
}

impl Schedule for Constant {
    fn rate(&self, _: u64) -> f64 {
        self.rate
    }
}

impl TryFrom<Unchecked> for Constant {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self, Error> {
        Self::new(unchecked.rate)
    }
}

impl From<Constant> for Unchecked {
    fn from(constant: Constant) -> Self {
        Self { rate: constant.rate }
    }
}
