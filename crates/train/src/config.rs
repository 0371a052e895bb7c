//! Settings of a training run.
//!
//! Each setting is defined once, as a field of one of these structs. The field's name, documentation and default also
//! give the option of the command line (feature `clap`), the key of a settings file, and the entry of a record.
//! Settings that a record does not mention have their default, so a new setting leaves old records valid.

mod augment;
mod batch;
mod network;
mod optimizer;
mod schedule;

use klayer_dataset::Dimensions;
use klayer_nn::Architecture;
use klayer_optim::L2;
use serde::{Deserialize, Serialize};

pub use augment::AugmentConfig;
pub use batch::BatchConfig;
pub use network::{Activations, NetworkConfig, Widths};
pub use optimizer::OptimizerConfig;
pub use schedule::{ScheduleConfig, ScheduleKind};

use crate::Error;

/// Settings of a training run. On one machine and build, they and the dataset determine the result to the bit.
///
/// The defaults are those of the report's 3-layer network.
///
/// ```
/// use klayer_train::{NetworkConfig, RunConfig};
///
/// let network = NetworkConfig { hidden: "200,100".parse()?, ..NetworkConfig::default() };
/// let config = RunConfig { network, lambda: 0.004, ..RunConfig::default() };
/// assert_eq!(config.steps(45_000), 9_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct RunConfig {
    /// Network.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub network: NetworkConfig,
    /// Weight of the L2 penalty. Not an option here: a search draws it.
    #[cfg_attr(feature = "clap", arg(skip = 0.005))]
    pub lambda: f64,
    /// Learning rates and number of update steps.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub schedule: ScheduleConfig,
    /// Mini-batches.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub batch: BatchConfig,
    /// Random changes of training images.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub augment: AugmentConfig,
    /// Optimizer.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub optimizer: OptimizerConfig,
    /// Seed of the initial weights and of everything random during training
    #[cfg_attr(feature = "clap", arg(long, default_value_t = RunConfig::default().seed, value_parser = seed))]
    pub seed: u64,
    /// Update steps between validations [default: one epoch]
    ///
    /// The last step always has a validation.
    #[cfg_attr(feature = "clap", arg(long, value_name = "STEPS", value_parser = count::<u64>))]
    pub validate_every: Option<u64>,
    /// Number of training images, the first ones, for the curve's training loss; `None` to omit it.
    #[cfg_attr(feature = "clap", arg(skip))]
    pub training_sample: Option<usize>,
    /// Whether to evaluate the trained network on the test images. Only for runs that do not choose settings.
    #[cfg_attr(feature = "clap", arg(skip))]
    pub test: bool,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            network: NetworkConfig::default(),
            lambda: 0.005,
            schedule: ScheduleConfig::default(),
            batch: BatchConfig::default(),
            augment: AugmentConfig::default(),
            optimizer: OptimizerConfig::default(),
            seed: 42,
            validate_every: None,
            training_sample: None,
            test: false,
        }
    }
}

impl RunConfig {
    /// Total update steps of a run on `images` training images.
    pub fn steps(&self, images: usize) -> u64 {
        self.schedule.steps(self.epoch(images))
    }

    /// Update steps of an epoch of `images` training images, at least 1.
    pub fn epoch(&self, images: usize) -> u64 {
        self.batch.epoch(images)
    }

    /// Operations of the matrix products of all update steps on the training images of `data`; a multiply-add counts as
    /// two. A step computes the outputs and the weight gradient of every layer, and the input gradient of every layer
    /// but the first.
    ///
    /// # Errors
    /// [`Error::Network`] for an invalid network.
    pub fn operations(&self, data: &Dimensions) -> Result<f64, Error> {
        let architecture = self.network.architecture(data.shape.features(), data.classes)?;
        let mut products = 0;
        for (layer, (inputs, outputs)) in architecture.layers().enumerate() {
            products += inputs * outputs * if layer == 0 { 2 } else { 3 };
        }
        Ok(2.0 * products as f64 * self.batch.size as f64 * self.steps(data.training) as f64)
    }

    /// Validates the settings that do not depend on the images.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Network`], [`Error::Optimizer`].
    pub fn check(&self) -> Result<(), Error> {
        self.network.check()?;
        self.schedule.check()?;
        self.batch.check(self.network.uses_batch_norm())?;
        self.optimizer.check()?;
        L2::new(self.lambda)?;
        if self.validate_every == Some(0) {
            return Err(Error::setting("--validate-every", 0, "it must be at least 1"));
        }
        Ok(())
    }

    /// Validates the settings for a dataset of these dimensions; returns the network's architecture.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Network`], [`Error::Optimizer`].
    pub fn check_for(&self, data: &Dimensions) -> Result<Architecture, Error> {
        self.check()?;
        let images = data.training;
        self.batch.check_images(images)?;
        self.augment.augment().check(data.shape)?;
        if let Some(sample) = self.training_sample.filter(|&sample| sample == 0 || sample > images) {
            let nearest = sample.clamp(1, images);
            let needed = format!("it must be from 1 to {images}, the number of training images (nearest: {nearest})");
            return Err(Error::setting("the sample size for the training loss", sample, &needed));
        }
        self.network.architecture(data.shape.features(), data.classes)
    }
}

/// Whether a setting has its default, and is therefore left out of a record.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Parses the number of an option; whether 0 is valid depends on the other settings.
///
/// # Errors
/// What was expected.
#[cfg(feature = "clap")]
pub fn count<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "expected an integer of at least 1".to_owned())
}

/// Parses the number of an option that may be 0.
#[cfg(feature = "clap")]
fn whole<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "expected an integer of at least 0".to_owned())
}

/// Parses a seed.
///
/// # Errors
/// What was expected.
#[cfg(feature = "clap")]
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected an integer from 0 to {}", u64::MAX))
}
