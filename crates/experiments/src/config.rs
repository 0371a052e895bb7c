//! Everything that determines a training run.

use klayer_dataset::FEATURES;
use klayer_nn::{Architecture, Init};
use klayer_optim::{Cyclical, L2};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The settings of one training run. On one machine and build, they and the dataset determine its result to the bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Whether hidden layers have batch norm.
    pub batch_norm: bool,
    /// How the weights are drawn.
    pub init: Init,
    /// The weight of the L2 penalty.
    pub lambda: f64,
    /// The learning rates.
    pub schedule: Cyclical,
    /// Cycles to train, of 2 n_s update steps each.
    pub cycles: u64,
    /// Images in a mini-batch, n.
    pub batch: usize,
    /// Root seed of the initial weights and of the order of the images.
    pub seed: u64,
    /// Update steps from one point of the curve to the next. The last step always makes a point.
    pub validate_every: u64,
    /// Training images, the first ones, on which the curve's training loss is taken; none: it is left out.
    pub training_sample: Option<usize>,
    /// Whether the trained network is evaluated on the test images. Only runs that choose nothing may do so.
    pub test: bool,
}

impl RunConfig {
    /// A run of the 3-layer network with batch norm as the report trains it, for `lambda` and `cycles`.
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

    /// Update steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.cycles.saturating_mul(self.schedule.cycle())
    }

    /// The network that it trains.
    ///
    /// # Errors
    /// [`Error::Network`] if a width is 0.
    pub fn architecture(&self, inputs: usize, classes: usize) -> Result<Architecture, Error> {
        Ok(Architecture::new(inputs, &self.hidden, classes, self.batch_norm)?)
    }

    /// The network that is trained, unless the settings cannot be used with `images` training images of `classes`
    /// classes.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Network`], [`Error::Optimizer`].
    pub fn check(&self, images: usize, classes: usize) -> Result<Architecture, Error> {
        let setting = |name, value: String, needed: String| Err(Error::Setting { name, value, needed });
        if self.cycles == 0 {
            return setting("the number of cycles", "0".into(), "a run needs at least one".into());
        }
        if self.validate_every == 0 {
            return setting("the distance of validations", "0".into(), "it is at least one update step".into());
        }
        check_batch(self.batch, self.batch_norm && !self.hidden.is_empty(), images)?;
        if let Some(sample) = self.training_sample.filter(|&sample| sample == 0 || sample > images) {
            let nearest = sample.clamp(1, images);
            let needed = format!("from 1 to {images} training images are possible, and {nearest} is nearest");
            return setting("the sample for the training loss", sample.to_string(), needed);
        }
        let architecture = self.architecture(FEATURES, classes)?;
        self.init.check(architecture.inputs())?;
        L2::new(self.lambda)?;
        Ok(architecture)
    }
}

/// Refuses mini-batches that `images` training images do not make, or of which batch norm, if there is some, has no
/// variance.
pub(crate) fn check_batch(batch: usize, batch_norm: bool, images: usize) -> Result<(), Error> {
    let least = if batch_norm { 2 } else { 1 };
    if (least..=images).contains(&batch) {
        return Ok(());
    }
    if batch == 1 && batch_norm {
        return Err(klayer_nn::Error::BatchTooSmall { images: batch }.into());
    }
    let nearest = batch.clamp(least, images.max(least));
    let needed = format!("from {least} to {images} training images are possible, and {nearest} is nearest");
    Err(Error::Setting { name: "the batch size", value: batch.to_string(), needed })
}
