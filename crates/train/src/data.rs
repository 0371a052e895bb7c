//! A dataset with its normalization.

use klayer_dataset::{Dataset, Normalization, Normalize};
use serde::{Deserialize, Serialize};

use crate::Error;

/// A dataset and the normalization fitted to its training images, shared by all runs.
#[derive(Debug)]
pub struct Data {
    /// The images and labels.
    pub dataset: Dataset,
    /// The normalization of the images.
    pub normalization: Normalization,
}

/// Identifies a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Name of the dataset, such as "CIFAR-10", "pictures" or "synthetic stand-in".
    pub name: String,
    /// SHA-256 over all its files.
    pub sha256: String,
    /// Whether it is the synthetic stand-in.
    pub synthetic: bool,
}

impl Data {
    /// Fits the normalization of each feature to the training images of `dataset`.
    pub fn new(dataset: Dataset) -> Self {
        Self::normalized(dataset, Normalize::Feature).expect("this normalization has no settings")
    }

    /// Fits the normalization `normalize` to the training images of `dataset`.
    ///
    /// # Errors
    /// [`Error::Dataset`] for an invalid setting.
    pub fn normalized(dataset: Dataset, normalize: Normalize) -> Result<Self, Error> {
        let normalization = Normalization::fit(normalize, dataset.training())?;
        Ok(Self { dataset, normalization })
    }

    /// Fits another normalization to the training images.
    ///
    /// # Errors
    /// [`Error::Dataset`] for an invalid setting.
    pub fn normalize(&mut self, normalize: Normalize) -> Result<(), Error> {
        if normalize != self.normalization.normalize() {
            self.normalization = Normalization::fit(normalize, self.dataset.training())?;
        }
        Ok(())
    }

    /// Identifies this dataset.
    pub fn info(&self) -> DatasetInfo {
        DatasetInfo {
            name: self.dataset.name().to_owned(),
            sha256: self.dataset.sha256().to_owned(),
            synthetic: self.dataset.synthetic(),
        }
    }
}
