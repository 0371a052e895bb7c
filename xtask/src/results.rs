//! The contents of `results.json`, the source of the pages, tables and figures.

use std::collections::BTreeMap;

use klayer_dataset::Dataset;
use serde::{Deserialize, Serialize};

/// Version of `results.json`; it increases when a field is removed or changes its meaning.
pub(crate) const SCHEMA: u32 = 1;

/// A whole report. A section that was not run is `None` or empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// Whether this is the quick form, which only tests the pipeline.
    pub(crate) quick: bool,
    /// The root seed.
    pub(crate) seed: u64,
    /// The dataset.
    pub(crate) dataset: DatasetInfo,
    /// The machine and the version.
    pub(crate) environment: Environment,
    /// The settings of all training runs.
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
    /// The claims of the paper, with their measurements.
    pub(crate) findings: Vec<Finding>,
}

/// The dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatasetInfo {
    /// "CIFAR-10" or "synthetic stand-in".
    pub(crate) name: String,
    /// Checksum of all its files.
    pub sha256: String,
    /// Whether it is the synthetic stand-in.
    pub(crate) synthetic: bool,
    /// Training images.
    pub(crate) training: usize,
    /// Validation images.
    pub(crate) validation: usize,
    /// Test images.
    pub(crate) test: usize,
}

/// The machine and the version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// Version of klayer.
    pub(crate) version: String,
    /// Name of the processor, as reported by the system.
    pub(crate) processor: String,
    /// Cores available to the program.
    pub(crate) cores: usize,
    /// Maximum number of parallel runs.
    pub(crate) threads: usize,
    /// Operating system and architecture.
    pub(crate) system: String,
}

impl DatasetInfo {
    pub(crate) fn of(dataset: &Dataset) -> Self {
        Self {
            name: dataset.name().to_owned(),
            sha256: dataset.sha256().to_owned(),
            synthetic: dataset.synthetic(),
            training: dataset.training().len(),
            validation: dataset.validation().len(),
            test: dataset.test().len(),
        }
    }
}

impl Environment {
    /// This machine, with `threads` threads.
    pub(crate) fn here(threads: usize) -> Self {
        let here = klayer_train::Environment::here(threads);
        Self {
            version: here.version,
            processor: here.processor,
            cores: here.cores,
            threads: here.threads,
            system: here.system,
        }
    }
}

/// The settings of all training runs.
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

/// The settings of the gradient checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GradientCheck {
    /// Images in the mini-batch.
    pub(crate) images: usize,
    /// The step h of the central differences.
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
    /// Parameters excluded because a ReLU switches within the step.
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

/// A training run of section 3.2.
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
    /// Validation accuracy after the last step; `None` if the run diverged.
    pub(crate) validation_accuracy: Option<f64>,
}

/// A point of a training curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Number of update steps so far.
    pub(crate) step: u64,
    /// Cross-entropy on the fixed sample of training images.
    pub(crate) training_loss: f64,
    /// The same with the L2 penalty.
    pub(crate) training_cost: f64,
    /// Cross-entropy on the validation images.
    pub(crate) validation_loss: f64,
    /// The same with the L2 penalty.
    pub(crate) validation_cost: f64,
    /// Fraction of the validation images classified correctly.
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
    /// All trials, in the order of drawing.
    pub(crate) trials: Vec<Trial>,
    /// In the fine search: the best lambda repeated with other seeds, to measure the noise.
    pub(crate) noise: Option<Noise>,
}

/// One trial of a search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// The weight of the L2 penalty.
    pub(crate) lambda: f64,
    /// The seed of its weights and batches.
    pub(crate) seed: u64,
    /// Fraction of the validation images classified correctly; `None` if the run diverged.
    pub(crate) validation_accuracy: Option<f64>,
}

/// Runs that differ only in their seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Noise {
    /// The lambda of all of them.
    pub(crate) lambda: f64,
    /// The seeds of the runs that did not diverge.
    pub(crate) seeds: Vec<u64>,
    /// The seeds of the diverged runs.
    pub(crate) diverged: Vec<u64>,
    /// Their validation accuracies, one per seed.
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
    /// "fine search" or "paper": the source of lambda.
    pub(crate) origin: String,
    /// Cycles that each run trained.
    pub(crate) cycles: u64,
    /// The seeds of the runs that did not diverge.
    pub(crate) seeds: Vec<u64>,
    /// The seeds of the diverged runs.
    pub(crate) diverged: Vec<u64>,
    /// Test accuracies, one per seed.
    pub(crate) test_accuracy: Vec<f64>,
    /// Mean of the test accuracies.
    pub(crate) mean: f64,
    /// Sample standard deviation (n - 1) of the test accuracies.
    pub(crate) std: f64,
    /// The confusion matrix of the first of these runs.
    pub(crate) confusion: Option<Confusion>,
}

/// The confusion matrix of the test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Confusion {
    /// The seed of its run.
    pub(crate) seed: u64,
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
    /// Images by true class (row) and predicted class (column).
    pub(crate) counts: Vec<Vec<u64>>,
}

/// Runs with one standard deviation of the initial weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sensitivity {
    /// Standard deviation of the initial weights.
    pub(crate) sigma: f64,
    /// Whether the networks have batch norm.
    pub(crate) batch_norm: bool,
    /// The weight of the L2 penalty.
    pub(crate) lambda: f64,
    /// The seeds, one per run.
    pub(crate) seeds: Vec<u64>,
    /// Training loss after the last step, one per seed; `None` if the run diverged.
    pub(crate) final_training_loss: Vec<Option<f64>>,
    /// Validation loss after the last step, one per seed; `None` if the run diverged.
    pub(crate) final_validation_loss: Vec<Option<f64>>,
    /// Validation accuracy after the last step, one per seed; `None` if the run diverged.
    pub(crate) final_validation_accuracy: Vec<Option<f64>>,
    /// The curve of each seed.
    pub(crate) curves: Vec<Vec<Point>>,
}

/// A claim of the paper and its measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// A short, stable id.
    pub(crate) id: String,
    /// The claim.
    pub(crate) claim: String,
    /// The measure, and the condition for the claim to hold.
    pub(crate) measure: String,
    /// The figure; `None` if its runs are missing or one diverged.
    pub(crate) value: Option<f64>,
    /// Whether the claim holds; `None` without a value and in the quick form.
    pub(crate) holds: Option<bool>,
}
