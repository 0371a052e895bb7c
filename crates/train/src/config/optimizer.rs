use klayer_optim::{Method, Momentum};
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::Error;

/// Settings of the optimizer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct OptimizerConfig {
    /// Momentum: the decay of the sum of past gradients
    #[cfg_attr(feature = "clap", arg(long, value_name = "MU", default_value_t = 0.0))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub momentum: f64,
    /// Use Nesterov momentum
    #[cfg_attr(feature = "clap", arg(long))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub nesterov: bool,
}

impl OptimizerConfig {
    /// The rule that changes the parameters.
    ///
    /// # Errors
    /// [`Error::Optimizer`].
    pub fn method(&self) -> Result<Method, Error> {
        Ok(match self.momentum {
            0.0 => Method::Sgd,
            mu => Method::Momentum(Momentum::new(mu, self.nesterov)?),
        })
    }

    /// Validates the settings.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<(), Error> {
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(Error::setting("--momentum", self.momentum, "it must be at least 0 and less than 1"));
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err(Error::setting(
                "--momentum",
                0,
                "--nesterov requires a momentum above 0, such as 0.9; --nesterov=false disables it",
            ));
        }
        Ok(())
    }
}
