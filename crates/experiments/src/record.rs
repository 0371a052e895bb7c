//! What is kept of a run: one JSON record, named by the hash of all that determines it.

use klayer_linalg::Scalar;
use klayer_nn::Network;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::config::RunConfig;
use crate::data::DatasetInfo;
use crate::environment::Environment;
use crate::evaluate::Evaluation;

/// Version of the records; it grows with every change after which the same settings give another record.
pub const FORMAT: u32 = 4;

/// The record of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its settings.
    pub config: RunConfig,
    /// What it was trained on.
    pub dataset: DatasetInfo,
    /// Where it ran.
    pub environment: Environment,
    /// Seconds of the loop with its evaluations.
    pub seconds: f64,
    /// Loss, cost and accuracy against update steps; empty if it diverged before the first evaluation.
    pub curve: Vec<Point>,
    /// Where the run broke off, if it did.
    pub diverged: Option<Divergence>,
    /// The trained network on the test images, in runs that choose nothing.
    pub test: Option<Evaluation>,
}

/// A point of a training curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Update steps made.
    pub step: u64,
    /// Cross-entropy on the fixed sample of training images, in evaluation mode.
    pub training_loss: Option<f64>,
    /// The same with the L2 penalty.
    pub training_cost: Option<f64>,
    /// Cross-entropy on the validation images.
    pub validation_loss: f64,
    /// The same with the L2 penalty.
    pub validation_cost: f64,
    /// Part of the validation images that are classified correctly.
    pub validation_accuracy: f64,
}

/// Where a run broke off because its loss was no longer finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// The update step, from 0.
    pub step: u64,
    /// Its learning rate.
    pub rate: f64,
    /// The largest absolute weight then; none if a weight was not finite.
    pub largest_weight: Option<f64>,
}

impl Point {
    pub(crate) fn new(step: u64, training: Option<&Evaluation>, validation: &Evaluation, penalty: f64) -> Self {
        Self {
            step,
            training_loss: training.map(|training| training.loss),
            training_cost: training.map(|training| training.loss + penalty),
            validation_loss: validation.loss,
            validation_cost: validation.loss + penalty,
            validation_accuracy: validation.accuracy,
        }
    }
}

impl Divergence {
    pub(crate) fn of<T: Scalar>(network: &Network<T>, step: u64, rate: f64) -> Self {
        let weights = network.layers().iter().flat_map(|layer| layer.affine.weight.rows().flatten());
        let mut largest = 0.0;
        for w in weights {
            let w = w.to_f64().abs();
            largest = if w <= largest { largest } else { w };
        }
        Self { step, rate, largest_weight: Some(largest).filter(|w: &f64| w.is_finite()) }
    }
}

impl RunRecord {
    /// The last point, if the run came to its end.
    pub fn last(&self) -> Option<&Point> {
        self.curve.last().filter(|_| self.diverged.is_none())
    }
}

/// The name of the record of `settings` on the dataset of checksum `sha256`: a hash of both, of the kind of record, and
/// of this program's version.
///
/// # Errors
/// [`Error::Json`] if the settings hold a number that JSON has no form for.
pub fn key(kind: &str, settings: &impl Serialize, sha256: &str) -> Result<String, Error> {
    let version = env!("CARGO_PKG_VERSION");
    let determined_by = (kind, FORMAT, version, settings, sha256);
    let bytes = serde_json::to_vec(&determined_by).map_err(Error::Json)?;
    let hash = Sha256::digest(&bytes);
    Ok(hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}
