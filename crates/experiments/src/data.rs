//! A dataset and the normalization that belongs to it.

use klayer_dataset::{Dataset, Normalization};
use serde::{Deserialize, Serialize};

/// Images, split, with the normalization fitted to the training part: what every run on a dataset shares.
#[derive(Debug)]
pub struct Data {
    /// The images and labels.
    pub dataset: Dataset,
    /// Mean and deviation of each feature over the training part.
    pub normalization: Normalization,
}

/// What tells one dataset from another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// "CIFAR-10", "CIFAR-100" or "synthetic stand-in".
    pub name: String,
    /// Checksum over all its files.
    pub sha256: String,
    /// Whether it is the stand-in.
    pub synthetic: bool,
}

impl Data {
    /// Fits the normalization to the training part of `dataset`.
    pub fn new(dataset: Dataset) -> Self {
        let normalization = Normalization::fit(dataset.training());
        Self { dataset, normalization }
    }

    /// What tells this dataset from another.
    pub fn info(&self) -> DatasetInfo {
        DatasetInfo {
            name: self.dataset.name().to_owned(),
            sha256: self.dataset.sha256().to_owned(),
            synthetic: self.dataset.synthetic(),
        }
    }
}
