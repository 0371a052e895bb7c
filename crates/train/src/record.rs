//! Records of runs: their results as JSON.

use klayer_linalg::Scalar;
use klayer_nn::Network;
use klayer_store::Recorded;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::data::DatasetInfo;
use crate::environment::Environment;
use crate::evaluate::Evaluation;

/// The record of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Settings.
    pub config: RunConfig,
    /// Dataset.
    pub dataset: DatasetInfo,
    /// Environment.
    pub environment: Environment,
    /// Seconds of the training loop with its evaluations.
    pub seconds: f64,
    /// Training curve: loss, cost and accuracy against update steps; empty if the run diverged before the first
    /// evaluation.
    pub curve: Vec<Point>,
    /// Where the run diverged, if it did.
    pub diverged: Option<Divergence>,
    /// Results on the test images; only in runs that do not choose settings.
    pub test: Option<Evaluation>,
}

/// A point of a training curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Completed update steps.
    pub step: u64,
    /// Cross-entropy on the fixed sample of training images, in evaluation mode.
    pub training_loss: Option<f64>,
    /// Training loss with the L2 penalty.
    pub training_cost: Option<f64>,
    /// Cross-entropy on the validation images; `None`, as the next two, if there are none.
    pub validation_loss: Option<f64>,
    /// Validation loss with the L2 penalty.
    pub validation_cost: Option<f64>,
    /// Validation accuracy.
    pub validation_accuracy: Option<f64>,
}

/// Where a run diverged: its loss was no longer finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// The update step, from 0.
    pub step: u64,
    /// Learning rate of the step.
    pub rate: f64,
    /// Largest absolute weight before the step; `None` if a weight was not finite.
    pub largest_weight: Option<f64>,
}

impl Recorded for RunConfig {
    type Record = RunRecord;
    const KIND: &'static str = "run";

    fn origin(record: &RunRecord) -> (&Self, &str) {
        (&record.config, &record.dataset.sha256)
    }
}

impl Point {
    pub(crate) fn new(step: u64, training: Option<&Evaluation>, validation: Option<&Evaluation>, penalty: f64) -> Self {
        Self {
            step,
            training_loss: training.map(|training| training.loss),
            training_cost: training.map(|training| training.loss + penalty),
            validation_loss: validation.map(|validation| validation.loss),
            validation_cost: validation.map(|validation| validation.loss + penalty),
            validation_accuracy: validation.map(|validation| validation.accuracy),
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
    /// The last point, if the run finished.
    pub fn last(&self) -> Option<&Point> {
        self.curve.last().filter(|_| self.diverged.is_none())
    }
}
