use std::fmt;
use std::str::FromStr;

use klayer_optim::{Constant, Cosine, Cyclical, Schedule};
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::Error;

/// Settings of the learning rates and of the number of update steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ScheduleConfig {
    /// Learning-rate schedule: cyclical, cosine or constant
    ///
    /// cyclical: rises from --eta-min to --eta-max in --n-s update steps, falls in as many, and repeats. cosine: rises
    /// from 0 to --eta-max in the --warmup, then falls to 0 along half a cosine. constant: always --eta-max. Without
    /// --epochs, a run of any schedule has --cycles times 2 n_s update steps.
    #[cfg_attr(feature = "clap", arg(long = "schedule", id = "schedule", value_name = "KIND", default_value_t = ScheduleConfig::default().kind))]
    #[serde(default, rename = "schedule", skip_serializing_if = "is_default")]
    pub kind: ScheduleKind,
    /// Smallest learning rate of the cyclical schedule
    #[cfg_attr(feature = "clap", arg(long, value_name = "RATE", default_value_t = ScheduleConfig::default().eta_min))]
    pub eta_min: f64,
    /// Largest learning rate
    #[cfg_attr(feature = "clap", arg(long, value_name = "RATE", default_value_t = ScheduleConfig::default().eta_max))]
    pub eta_max: f64,
    /// Update steps in half a cycle (n_s)
    #[cfg_attr(feature = "clap", arg(long, value_name = "STEPS", default_value_t = ScheduleConfig::default().n_s, value_parser = super::count::<u64>))]
    pub n_s: u64,
    /// Number of cycles, each of 2 n_s update steps
    #[cfg_attr(feature = "clap", arg(long, default_value_t = ScheduleConfig::default().cycles, value_parser = super::count::<u64>))]
    pub cycles: u64,
    /// Number of epochs, instead of --cycles
    ///
    /// An epoch has an update step for each whole mini-batch.
    #[cfg_attr(feature = "clap", arg(long, conflicts_with = "cycles"))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub epochs: Option<f64>,
    /// Fraction of the update steps of the cosine schedule in which the learning rate rises
    #[cfg_attr(feature = "clap", arg(long, value_name = "PART", default_value_t = ScheduleConfig::default().warmup))]
    #[serde(default = "default_warmup", skip_serializing_if = "is_default_warmup")]
    pub warmup: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            kind: ScheduleKind::Cyclical,
            eta_min: 1e-5,
            eta_max: 1e-1,
            n_s: 2250,
            cycles: 2,
            epochs: None,
            warmup: default_warmup(),
        }
    }
}

fn default_warmup() -> f64 {
    0.1
}

fn is_default_warmup(warmup: &f64) -> bool {
    *warmup == default_warmup()
}

/// A kind of learning-rate schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScheduleKind {
    /// [`Cyclical`].
    #[default]
    Cyclical,
    /// [`Cosine`].
    Cosine,
    /// [`Constant`].
    Constant,
}

impl ScheduleKind {
    const ALL: [(&'static str, Self); 3] =
        [("cyclical", Self::Cyclical), ("cosine", Self::Cosine), ("constant", Self::Constant)];
}

impl FromStr for ScheduleKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, kind)| kind).ok_or_else(|| "expected cyclical, cosine or constant".to_owned())
    }
}

impl fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl ScheduleConfig {
    /// Total number of update steps, for `epoch` update steps an epoch; at least 1.
    pub fn steps(&self, epoch: u64) -> u64 {
        match self.epochs {
            Some(epochs) => ((epochs * epoch as f64).round() as u64).max(1),
            None => self.cycles.saturating_mul(self.n_s.saturating_mul(2)),
        }
    }

    /// The learning rates of a run of `steps` update steps.
    ///
    /// # Errors
    /// [`Error::Optimizer`].
    pub fn schedule(&self, steps: u64) -> Result<Box<dyn Schedule + Send + Sync>, Error> {
        Ok(match self.kind {
            ScheduleKind::Cyclical => Box::new(Cyclical::new(self.eta_min, self.eta_max, self.n_s)?),
            ScheduleKind::Cosine => Box::new(Cosine::new(self.eta_max, self.warmup, steps)?),
            ScheduleKind::Constant => Box::new(Constant::new(self.eta_max)?),
        })
    }

    /// Update steps of a cycle, which ends with a checkpoint; `None` for schedules without cycles.
    pub fn cycle(&self) -> Option<u64> {
        (self.kind == ScheduleKind::Cyclical).then(|| self.n_s.saturating_mul(2))
    }

    /// Validates the settings.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Optimizer`].
    pub fn check(&self) -> Result<(), Error> {
        if self.cycles == 0 {
            return Err(Error::setting("the number of cycles", 0, "it must be at least 1"));
        }
        if let Some(epochs) = self.epochs.filter(|epochs| !(epochs.is_finite() && *epochs > 0.0)) {
            return Err(Error::setting("--epochs", epochs, "it must be positive"));
        }
        if self.kind != ScheduleKind::Cosine && self.warmup != default_warmup() {
            return Err(Error::setting("--warmup", self.warmup, "it applies only to --schedule cosine"));
        }
        if self.kind != ScheduleKind::Cyclical && self.eta_min != Self::default().eta_min {
            return Err(Error::setting("--eta-min", self.eta_min, "it applies only to --schedule cyclical"));
        }
        self.schedule(2).map(drop)
    }
}

impl fmt::Display for ScheduleConfig {
    /// Formats as, for example, `2 cycles of 4500 steps, learning rates 0.00001 to 0.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, eta_min, eta_max, n_s, cycles, epochs, .. } = self;
        match epochs {
            Some(epochs) => write!(f, "{epochs} epochs")?,
            None if *cycles == 1 => write!(f, "1 cycle of {} steps", n_s.saturating_mul(2))?,
            None => write!(f, "{cycles} cycles of {} steps", n_s.saturating_mul(2))?,
        }
        match kind {
            ScheduleKind::Cyclical => write!(f, ", learning rates {eta_min} to {eta_max}"),
            ScheduleKind::Cosine => write!(f, ", cosine schedule up to a learning rate of {eta_max}"),
            ScheduleKind::Constant => write!(f, ", learning rate {eta_max}"),
        }
    }
}
