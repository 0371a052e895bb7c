//! Everything that a report shows, as `results.json` holds it: what the pages, tables and figures are made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the layout of `results.json`; it grows when a field changes its meaning or goes away.
pub(crate) const SCHEMA: u32 = 1;

/// A whole report. A section that was not run is `None` or empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// Whether this is the small form that only shows that everything works.
    pub(crate) quick: bool,
    /// The root seed.
    pub(crate) seed: u64,
    /// What the networks were trained on.
    pub(crate) dataset: DatasetInfo,
    /// Where the runs were made.
    pub(crate) environment: Environment,
    /// What all training runs share.
    pub(crate) settings: Settings,
    /// Wall-clock seconds by section ("gradients", "loss", "coarse", "fine", "final", "sensitivity").
    pub(crate) seconds: BTreeMap<String, f64>,
    /// Settings of the gradient checks.
    pub(crate) gradient_check: Option<GradientCheck>,
    /// Section 3.1, a row per network, lambda, layer and kind of parameter.
    pub(crate) gradients: Vec<GradientRow>,
    /// Section 3.2, a run per network, with and without batch norm, and lambda.
    pub(crate) loss: Vec<LossRun>,
    /// Section 3.3.
    pub(crate) coarse: Option<Search>,
    /// Section 3.4.
    pub(crate) fine: Option<Search>,
    /// Section 3.5, a row per lambda: our choice first, then the paper's.
    #[serde(rename = "final")]
    pub(crate) finals: Vec<Final>,
    /// Section 3.6, a row per sigma, with and without batch norm.
    pub(crate) sensitivity: Vec<Sensitivity>,
    /// The claims of the paper, computed.
    pub(crate) findings: Vec<Finding>,
}

/// What the networks were trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatasetInfo {
    /// "CIFAR-10" or "synthetic stand-in".
    pub(crate) name: String,
    /// Checksum over all its files.
    pub sha256: String,
    /// Whether it is the stand-in, whose figures say nothing about CIFAR-10.
    pub(crate) synthetic: bool,
    /// Images to train on.
    pub(crate) training: usize,
    /// Images to choose by.
    pub(crate) validation: usize,
    /// Images for the final figures.
    pub(crate) test: usize,
}

/// Where the runs were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// Version of klayer.
    pub(crate) version: String,
    /// Name of the processor, as the system tells it.
    pub(crate) processor: String,
    /// Cores that the program could use.
    pub(crate) cores: usize,
    /// Runs that trained at the same time, at most.
    pub(crate) threads: usize,
    /// Operating system and architecture.
    pub(crate) system: String,
}

/// What all training runs share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Images in a mini-batch.
    pub(crate) batch: usize,
    /// Smallest learning rate.
    pub(crate) eta_min: f64,
    /// Largest learning rate.
    pub(crate) eta_max: f64,
    /// Update steps from the smallest learning rate to the largest; a cycle is twice as long.
    pub(crate) n_s: u64,
}

/// How the gradients were checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GradientCheck {
    /// Images in the mini-batch.
    pub(crate) images: usize,
    /// The step h of the centred differences.
    pub(crate) step: f64,
    /// eps of the relative error |ga - gn| / max(eps, |ga| + |gn|).
    pub(crate) floor: f64,
}

/// The check of one layer's parameters of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GradientRow {
    /// "2-layer", "3-layer" or "9-layer".
    pub(crate) network: String,
    /// Whether the network has batch norm.
    pub(crate) batch_norm: bool,
    /// The weight of the L2 penalty.
    pub(crate) lambda: f64,
    /// The layer, from 1.
    pub(crate) layer: usize,
    /// "W", "b", "gamma" or "beta".
    pub(crate) parameter: String,
    /// Parameters compared.
    pub(crate) checked: usize,
    /// Parameters left out because a ReLU changes sides within the step.
    pub(crate) kinks: usize,
    /// Sum of the numerical gradient over the parameters compared.
    pub(crate) sum_numerical: f64,
    /// Sum of the analytic gradient over the parameters compared.
    pub(crate) sum_analytic: f64,
    /// Sum of the relative errors.
    pub(crate) sum_error: f64,
    /// Largest relative error.
    pub(crate) max_relative_error: f64,
    /// Largest absolute error.
    pub(crate) max_absolute_error: f64,
}

/// A training run whose curve is a figure of section 3.2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossRun {
    /// "3-layer" or "9-layer".
    pub(crate) network: String,
    /// Whether the network has batch norm.
    pub(crate) batch_norm: bool,
    /// The weight of the L2 penalty.
    pub(crate) lambda: f64,
    /// Loss and cost against update steps.
    pub(crate) curve: Vec<Point>,
    /// Validation accuracy after the last step; none if the run diverged.
    pub(crate) validation_accuracy: Option<f64>,
}

/// A point of a training curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Update steps made.
    pub(crate) step: u64,
    /// Cross-entropy on the fixed sample of training images.
    pub(crate) training_loss: f64,
    /// The same with the L2 penalty.
    pub(crate) training_cost: f64,
    /// Cross-entropy on the validation images.
    pub(crate) validation_loss: f64,
    /// The same with the L2 penalty.
    pub(crate) validation_cost: f64,
    /// Part of the validation images that are classified correctly.
    pub(crate) validation_accuracy: f64,
}

/// A search for lambda.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Search {
    /// Smallest lambda of the range.
    pub(crate) from: f64,
    /// Largest lambda of the range.
    pub(crate) to: f64,
    /// Cycles that each trial trained.
    pub(crate) cycles: u64,
    /// All trials, in the order in which they were drawn.
    pub(crate) trials: Vec<Trial>,
    /// One lambda again with other seeds, in the fine search: how much is noise.
    pub(crate) noise: Option<Noise>,
}

/// One trial of a search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// The weight of the L2 penalty.
    pub(crate) lambda: f64,
    /// The seed of its weights and batches.
    pub(crate) seed: u64,
    /// Part of the validation images that are classified correctly; none if the run diverged.
    pub(crate) validation_accuracy: Option<f64>,
}

/// Runs that differ in the seed alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Noise {
    /// The lambda of all of them.
    pub(crate) lambda: f64,
    /// The seeds of those that did not diverge.
    pub(crate) seeds: Vec<u64>,
    /// The seeds of those that did.
    pub(crate) diverged: Vec<u64>,
    /// Their validation accuracies, one a seed.
    pub(crate) validation_accuracy: Vec<f64>,
    /// Mean of the accuracies.
    pub(crate) mean: f64,
    /// Sample standard deviation (n - 1) of the accuracies.
    pub(crate) std: f64,
}

/// The final evaluation of one lambda.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Final {
    /// The weight of the L2 penalty.
    pub(crate) lambda: f64,
    /// "fine search" or "paper": where the lambda comes from.
    pub(crate) origin: String,
    /// Cycles that each run trained.
    pub(crate) cycles: u64,
    /// The seeds of the runs that did not diverge.
    pub(crate) seeds: Vec<u64>,
    /// The seeds of those that did.
    pub(crate) diverged: Vec<u64>,
    /// Test accuracies, one a seed.
    pub(crate) test_accuracy: Vec<f64>,
    /// Mean of the test accuracies.
    pub(crate) mean: f64,
    /// Sample standard deviation (n - 1) of the test accuracies.
    pub(crate) std: f64,
    /// The confusion matrix of the first of these runs.
    pub(crate) confusion: Option<Confusion>,
}

/// How the test images of each class were classified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Confusion {
    /// The run that it belongs to.
    pub(crate) seed: u64,
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
    /// Images by true class (row) and predicted class (column).
    pub(crate) counts: Vec<Vec<u64>>,
}

/// Runs from weights of one standard deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sensitivity {
    /// Standard deviation of the initial weights.
    pub(crate) sigma: f64,
    /// Whether the networks have batch norm.
    pub(crate) batch_norm: bool,
    /// The weight of the L2 penalty.
    pub(crate) lambda: f64,
    /// The seeds, one a run.
    pub(crate) seeds: Vec<u64>,
    /// Training loss after the last step, one a seed; none where the run diverged.
    pub(crate) final_training_loss: Vec<Option<f64>>,
    /// Validation loss after the last step, one a seed; none where the run diverged.
    pub(crate) final_validation_loss: Vec<Option<f64>>,
    /// Validation accuracy after the last step, one a seed; none where the run diverged.
    pub(crate) final_validation_accuracy: Vec<Option<f64>>,
    /// The curve of each seed.
    pub(crate) curves: Vec<Vec<Point>>,
}

/// A claim of the paper, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// A short stable name.
    pub(crate) id: String,
    /// What the paper says.
    pub(crate) claim: String,
    /// What is measured and when the claim is said to hold.
    pub(crate) measure: String,
    /// The figure; none if a run that it needs diverged.
    pub(crate) value: Option<f64>,
    /// Whether the claim holds; none if what it needs was not run.
    pub(crate) holds: Option<bool>,
}
