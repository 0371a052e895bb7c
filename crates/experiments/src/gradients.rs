//! Gradient tables: analytic against numerical, for every parameter of a network on real images.

use std::mem;
use std::ops::ControlFlow;
use std::time::Instant;

use klayer_dataset::FEATURES;
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

/// The settings of one gradient check, of a fresh network in `f64`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradientConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Whether hidden layers have batch norm.
    pub batch_norm: bool,
    /// Images in the mini-batch: the first ones of the training part.
    pub images: usize,
    /// The step h of the centred differences.
    pub step: f64,
    /// eps of the relative error |ga - gn| / max(eps, |ga| + |gn|).
    pub floor: f64,
    /// The weights of the L2 penalty to check the cost with.
    pub lambdas: Vec<f64>,
    /// Root seed of the weights.
    pub seed: u64,
    /// How the weights are drawn.
    #[serde(default, skip_serializing_if = "is_default")]
    pub init: Init,
    /// Features of an image that the network sees, the first ones; all of them if this is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<usize>,
}

/// The record of a gradient check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientRecord {
    /// Its settings.
    pub config: GradientConfig,
    /// Where the images are from.
    pub dataset: DatasetInfo,
    /// Where it ran.
    pub environment: Environment,
    /// Seconds of the check.
    pub seconds: f64,
    /// A row for each lambda, layer and kind of parameter.
    pub rows: Vec<GradientRow>,
}

/// One layer's parameters of one kind, for one lambda. Sums and maxima are over the parameters checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientRow {
    /// The weight of the L2 penalty.
    pub lambda: f64,
    /// The layer, from 1.
    pub layer: usize,
    /// "W", "b", "gamma" or "beta".
    pub parameter: String,
    /// Parameters compared.
    pub checked: usize,
    /// Parameters left out because a ReLU changes sides within the step.
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
        Ok(self.architecture(data.dataset.class_names().len())?.parameters() as u64)
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
    /// The network that is checked, unless the settings cannot be used with `images` training images of `classes`
    /// classes.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Network`], [`Error::Optimizer`].
    pub fn check(&self, images: usize, classes: usize) -> Result<Architecture, Error> {
        let architecture = self.architecture(classes)?;
        check_batch(self.images, self.batch_norm && !self.hidden.is_empty(), images)?;
        check_step(self.step)?;
        self.init.check(architecture.inputs())?;
        self.lambdas.iter().try_for_each(|&lambda| L2::new(lambda).map(drop))?;
        Ok(architecture)
    }

    fn architecture(&self, classes: usize) -> Result<Architecture, Error> {
        let features = self.features.unwrap_or(FEATURES);
        if features > FEATURES {
            return Err(Error::Setting {
                name: "the number of features",
                value: features.to_string(),
                needed: format!("an image has {FEATURES}"),
            });
        }
        Ok(Architecture::new(features, &self.hidden, classes, self.batch_norm)?)
    }
}

/// Whether a setting can be left out, as it is in records from before there was a choice.
fn is_default(init: &Init) -> bool {
    *init == Init::default()
}

fn check(config: &GradientConfig, data: &Data, observer: &dyn Observer) -> Result<Vec<GradientRow>, Error> {
    let training = data.dataset.training();
    let architecture = config.check(training.len(), data.dataset.class_names().len())?;
    let sample = training.first(config.images);
    let mut images = ColMajor::zeros(FEATURES, sample.len());
    let bytes: Vec<_> = sample.images().collect();
    data.normalization.normalizer::<f64>().pixels(&bytes).write(&mut images, &Par::Seq);
    if architecture.inputs() < FEATURES {
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
