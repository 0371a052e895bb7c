//! The distribution of the initial weights.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::architecture::is_positive;

/// The distribution of the initial weights. Biases and beta start at 0, gamma at 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// N(0, 2 / m_in), which preserves the variance of activations across ReLU layers (He et al., 2015).
    #[default]
    He,
    /// N(0, sigma^2) in every layer.
    Normal {
        /// The standard deviation.
        sigma: f64,
    },
    /// N(0, 2 / m_in) in hidden layers, as [`Init::He`], and N(0, 1 / m_in) in the last layer, which has no activation
    /// (LeCun et al., 1998).
    HeLecun,
}

impl Init {
    /// The standard deviation of the weights of a layer with `inputs` inputs, the outputs of the layer below.
    ///
    /// ```
    /// use klayer_nn::Init;
    ///
    /// assert_eq!(Init::He.deviation(50, false), 0.2);
    /// assert_eq!(Init::HeLecun.deviation(100, true), 0.1);
    /// ```
    pub fn deviation(self, inputs: usize, last: bool) -> f64 {
        match self {
            Self::HeLecun if last => (1.0 / inputs as f64).sqrt(),
            Self::He | Self::HeLecun => (2.0 / inputs as f64).sqrt(),
            Self::Normal { sigma } => sigma,
        }
    }

    /// Checks the distribution for a layer with `inputs` inputs.
    ///
    /// # Errors
    /// [`Error::NotPositive`] if the standard deviation is not a positive, finite `f32`.
    pub fn check(self, inputs: usize) -> Result<(), Error> {
        match self.deviation(inputs, false) {
            value if is_positive(value) => Ok(()),
            value => Err(Error::NotPositive { name: "the standard deviation of the initial weights", value }),
        }
    }
}

impl FromStr for Init {
    type Err = String;

    /// Parses `he`, `he-lecun`, or the standard deviation of [`Init::Normal`].
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "he" => Ok(Self::He),
            "he-lecun" => Ok(Self::HeLecun),
            number => {
                let sigma = number.parse().map_err(|_| "expected a number, he or he-lecun".to_owned())?;
                Ok(Self::Normal { sigma })
            }
        }
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::He => f.write_str("he"),
            Self::HeLecun => f.write_str("he-lecun"),
            Self::Normal { sigma } => write!(f, "{sigma}"),
        }
    }
}
