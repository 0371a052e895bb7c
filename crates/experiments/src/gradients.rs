//! Gradient checks: analytic against numerical gradients of every parameter, on real images.

use std::mem;
use std::ops::ControlFlow;
use std::time::Instant;

use klayer_dataset::Dimensions;
use klayer_linalg::random::stream;
use klayer_linalg::{ColMajor, Par};
use klayer_nn::gradient_check::{Comparison, check_step, numerical_gradient};
use klayer_nn::{Architecture, Gradients, Init, Network, Workspace};
use klayer_optim::L2;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::check_batch;
use crate::data::{Data, DatasetInfo};
use crate::environment::Environment;
use crate::observer::Observer;
use crate::runs::Job;

/// Settings of a gradient check of a newly initialized network in `f64`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradientConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Whether hidden layers use batch norm.
    pub batch_norm: bool,
    /// Mini-batch size: the first images of the training set.
    pub images: usize,
    /// Step h of the central differences.
    pub step: f64,
    /// eps of the relative error |ga - gn| / max(eps, |ga| + |gn|).
    pub floor: f64,
    /// L2 penalty weights to check the cost with.
    pub lambdas: Vec<f64>,
    /// Root seed of the weights.
    pub seed: u64,
    /// Weight initialization.
    #[serde(default, skip_serializing_if = "is_default")]
    pub init: Init,
    /// Number of features used of each image, the first ones; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<usize>,
}

/// The record of a gradient check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientRecord {
    /// Settings.
    pub config: GradientConfig,
    /// Dataset.
    pub dataset: DatasetInfo,
    /// Environment.
    pub environment: Environment,
    /// Seconds of the check.
    pub seconds: f64,
    /// One row for each lambda, layer and kind of parameter.
    pub rows: Vec<GradientRow>,
}

/// One layer's parameters of one kind, for one lambda. Sums and maxima are over the checked parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientRow {
    /// L2 penalty weight.
    pub lambda: f64,
    /// Layer, from 1.
    pub layer: usize,
    /// "W", "b", "gamma" or "beta".
    pub parameter: String,
    /// Number of parameters checked.
    pub checked: usize,
    /// Number of parameters skipped because a ReLU switches within the step.
    pub kinks: usize,
    /// Sum of the numerical gradient.
    pub sum_numerical: f64,
    /// Sum of the analytic gradient.
    pub sum_analytic: f64,
    /// Sum of the relative errors.
    pub sum_relative_error: f64,
    /// Largest relative error.
    pub max_relative_error: f64,
    /// Largest absolute error.
    pub max_absolute_error: f64,
}

impl Job for GradientConfig {
    type Record = GradientRecord;
    const KIND: &'static str = "gradients";

    fn origin(record: &GradientRecord) -> (&Self, &DatasetInfo) {
        (&record.config, &record.dataset)
    }

    fn work(&self, data: &Data) -> Result<u64, Error> {
        Ok(self.architecture(&data.dataset.dimensions())?.parameters() as u64)
    }

    fn run(&self, data: &Data, observer: &dyn Observer) -> Result<GradientRecord, Error> {
        let start = Instant::now();
        let rows = check(self, data, observer)?;
        Ok(GradientRecord {
            config: self.clone(),
            dataset: data.info(),
            environment: Environment::here(1),
            seconds: start.elapsed().as_secs_f64(),
            rows,
        })
    }
}

impl GradientConfig {
    /// Validates the settings for a dataset of these dimensions; returns the network's architecture.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Network`], [`Error::Optimizer`].
    pub fn check(&self, data: &Dimensions) -> Result<Architecture, Error> {
        let architecture = self.architecture(data)?;
        check_batch(self.images, self.batch_norm && !self.hidden.is_empty(), data.training)?;
        check_step(self.step)?;
        self.init.check(architecture.inputs())?;
        self.lambdas.iter().try_for_each(|&lambda| L2::new(lambda).map(drop))?;
        Ok(architecture)
    }

    fn architecture(&self, data: &Dimensions) -> Result<Architecture, Error> {
        let most = data.shape.features();
        let features = self.features.unwrap_or(most);
        if features > most {
            return Err(Error::Setting {
                name: "the number of features",
                value: features.to_string(),
                needed: format!("it must be at most {most}"),
            });
        }
        Ok(Architecture::new(features, &self.hidden, data.classes, self.batch_norm)?)
    }
}

/// Whether to omit the initialization: older records, from before it was a setting, do not have it.
fn is_default(init: &Init) -> bool {
    *init == Init::default()
}

fn check(config: &GradientConfig, data: &Data, observer: &dyn Observer) -> Result<Vec<GradientRow>, Error> {
    let training = data.dataset.training();
    let architecture = config.check(&data.dataset.dimensions())?;
    let sample = training.first(config.images);
    let mut images = ColMajor::zeros(training.shape().features(), sample.len());
    let bytes: Vec<_> = sample.images().collect();
    data.normalization.normalizer::<f64>().pixels(&bytes).write(&mut images, &Par::Seq);
    if architecture.inputs() < images.nrows() {
        let whole = mem::replace(&mut images, ColMajor::zeros(architecture.inputs(), sample.len()));
        for j in 0..sample.len() {
            images.col_mut(j).copy_from_slice(&whole.col(j)[..architecture.inputs()]);
        }
    }

    let mut network = Network::new(&architecture, config.init, &mut stream(config.seed, "init"))?;
    let progress = |done| {
        observer.progressed(done as u64);
        if observer.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let numerical = numerical_gradient(&network, images.as_ref(), sample.labels(), config.step, progress);
    let numerical = match numerical {
        Err(klayer_nn::Error::Stopped) => return Err(Error::Cancelled),
        numerical => numerical?,
    };

    let mut workspace = Workspace::new(&architecture, sample.len(), Par::Seq);
    let mut gradients = Gradients::zeros(&architecture);
    network.forward_train(images.as_ref(), &mut workspace)?.cross_entropy(sample.labels())?;
    let mut rows = Vec::new();
    for &lambda in &config.lambdas {
        let l2 = L2::new(lambda)?;
        network.backward(images.as_ref(), &mut workspace, &mut gradients)?;
        l2.add_gradient(&network, &mut gradients);
        let compared = numerical.compare(&network, &gradients, |w| l2.term(w), config.floor)?;
        if let Some(row) = compared.iter().find(|row| !row.max_relative_error.is_finite()) {
            return Err(Error::Gradient { parameter: row.parameter.symbol(), layer: row.layer + 1 });
        }
        rows.extend(compared.iter().map(|row| GradientRow::new(lambda, row)));
    }
    Ok(rows)
}

impl GradientRow {
    fn new(lambda: f64, row: &Comparison) -> Self {
        Self {
            lambda,
            layer: row.layer + 1,
            parameter: row.parameter.symbol().to_owned(),
            checked: row.checked,
            kinks: row.kinks,
            sum_numerical: row.sum_numerical,
            sum_analytic: row.sum_analytic,
            sum_relative_error: row.sum_relative_error,
            max_relative_error: row.max_relative_error,
            max_absolute_error: row.max_absolute_error,
        }
    }
}
