//! Settings of a training run.

use klayer_dataset::Dimensions;
use klayer_nn::{Architecture, Init};
use klayer_optim::{Cyclical, L2};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Settings of a training run. On one machine and build, they and the dataset determine the result to the bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Whether hidden layers use batch norm.
    pub batch_norm: bool,
    /// Weight initialization.
    pub init: Init,
    /// L2 penalty weight.
    pub lambda: f64,
    /// Learning-rate schedule.
    pub schedule: Cyclical,
    /// Number of cycles, of 2 n_s update steps each.
    pub cycles: u64,
    /// Batch size, n.
    pub batch: usize,
    /// Root seed of the initial weights and of the order of the images.
    pub seed: u64,
    /// Update steps between points of the curve. The last step always has a point.
    pub validate_every: u64,
    /// Number of training images, the first ones, for the curve's training loss; `None` to omit it.
    pub training_sample: Option<usize>,
    /// Whether to evaluate the trained network on the test images. Only for runs that do not choose settings.
    pub test: bool,
}

impl RunConfig {
    /// The report's 3-layer network with batch norm, for `lambda` and `cycles`.
    ///
    /// # Errors
    /// None with these settings; the type is that of the schedule's constructor.
    pub fn three_layer(lambda: f64, cycles: u64, seed: u64) -> Result<Self, Error> {
        Ok(Self {
            hidden: vec![50, 50],
            batch_norm: true,
            init: Init::He,
            lambda,
            schedule: Cyclical::new(1e-5, 1e-1, 2250)?,
            cycles,
            batch: 100,
            seed,
            validate_every: 450,
            training_sample: None,
            test: false,
        })
    }

    /// Total update steps of the run.
    pub fn steps(&self) -> u64 {
        self.cycles.saturating_mul(self.schedule.cycle())
    }

    /// The architecture of the network.
    ///
    /// # Errors
    /// [`Error::Network`] if a width is 0.
    pub fn architecture(&self, inputs: usize, classes: usize) -> Result<Architecture, Error> {
        Ok(Architecture::new(inputs, &self.hidden, classes, self.batch_norm)?)
    }

    /// Validates the settings for a dataset of these dimensions; returns the network's architecture.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Network`], [`Error::Optimizer`].
    pub fn check(&self, data: &Dimensions) -> Result<Architecture, Error> {
        let &Dimensions { shape, classes, training: images } = data;
        let setting = |name, value: String, needed: String| Err(Error::Setting { name, value, needed });
        if self.cycles == 0 {
            return setting("the number of cycles", "0".into(), "it must be at least 1".into());
        }
        if self.validate_every == 0 {
            return setting("--validate-every", "0".into(), "it must be at least 1".into());
        }
        check_batch(self.batch, self.batch_norm && !self.hidden.is_empty(), images)?;
        if let Some(sample) = self.training_sample.filter(|&sample| sample == 0 || sample > images) {
            let nearest = sample.clamp(1, images);
            let needed = format!("it must be from 1 to {images}, the number of training images (nearest: {nearest})");
            return setting("the sample size for the training loss", sample.to_string(), needed);
        }
        let architecture = self.architecture(shape.features(), classes)?;
        self.init.check(architecture.inputs())?;
        L2::new(self.lambda)?;
        Ok(architecture)
    }
}

/// Rejects batch sizes of 0 or above `images`, and batches of one image with batch norm, which have no variance.
pub(crate) fn check_batch(batch: usize, batch_norm: bool, images: usize) -> Result<(), Error> {
    let least = if batch_norm { 2 } else { 1 };
    if (least..=images).contains(&batch) {
        return Ok(());
    }
    if batch == 1 && batch_norm {
        return Err(klayer_nn::Error::BatchTooSmall { images: batch }.into());
    }
    let nearest = batch.clamp(least, images.max(least));
    let needed = format!("it must be from {least} to {images}, the number of training images (nearest: {nearest})");
    Err(Error::Setting { name: "the batch size", value: batch.to_string(), needed })
}
