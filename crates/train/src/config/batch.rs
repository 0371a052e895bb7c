use klayer_dataset::Normalize;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::Error;

/// Settings of the mini-batches: the images, and the targets of the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct BatchConfig {
    /// Images per mini-batch
    #[cfg_attr(feature = "clap", arg(long = "batch", id = "batch", value_name = "IMAGES", default_value_t = BatchConfig::default().size, value_parser = super::count::<usize>))]
    #[serde(rename = "batch")]
    pub size: usize,
    /// Normalization of the images: feature, channel or whiten
    ///
    /// feature: subtract the mean of each pixel and divide by its standard deviation. channel: the same with one mean
    /// and deviation for each channel. whiten, or whiten=EPS: decorrelate the pixels; use it with --flip and --shift.
    #[cfg_attr(feature = "clap", arg(long, value_name = "KIND", default_value_t = BatchConfig::default().normalize))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub normalize: Normalize,
    /// Move the target probabilities by this fraction towards equal probabilities
    #[cfg_attr(feature = "clap", arg(long, value_name = "A", default_value_t = BatchConfig::default().label_smoothing))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub label_smoothing: f64,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { size: 100, normalize: Normalize::Feature, label_smoothing: 0.0 }
    }
}

impl BatchConfig {
    /// Update steps of an epoch of `images` training images, at least 1.
    pub fn epoch(&self, images: usize) -> u64 {
        (images / self.size.max(1)).max(1) as u64
    }

    /// Validates the settings that do not depend on the images. A batch of one image has no variance, so it is invalid
    /// with batch norm.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Network`].
    pub fn check(&self, batch_norm: bool) -> Result<(), Error> {
        match self.size {
            0 => return Err(Error::setting("--batch", 0, "it must be at least 1")),
            1 if batch_norm => return Err(klayer_nn::Error::BatchTooSmall { images: 1 }.into()),
            _ => {}
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(Error::setting(
                "--label-smoothing",
                self.label_smoothing,
                "it must be at least 0 and less than 1",
            ));
        }
        Ok(())
    }

    /// Rejects a batch of more than `images` images.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check_images(&self, images: usize) -> Result<(), Error> {
        if self.size <= images {
            return Ok(());
        }
        let needed = format!("it must be at most {images}, the number of training images");
        Err(Error::setting("--batch", self.size, &needed))
    }
}
