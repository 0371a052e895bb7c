//! Gradient checks: analytic against numerical gradients of every parameter, on real images.

use std::ops::ControlFlow;
use std::time::Instant;

use klayer_dataset::Dimensions;
use klayer_linalg::random::stream;
use klayer_linalg::{ColMajor, Par};
use klayer_nn::gradient_check::{Comparison, check_step, numerical_gradient};
use klayer_nn::{Architecture, Gradients, Network, Objective, Workspace};
use klayer_optim::L2;
use klayer_store::Recorded;
use klayer_train::{BatchConfig, Data, DatasetInfo, Environment, Event, NetworkConfig, Observer};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::runs::{Job, Task};

/// Settings of a gradient check of a newly initialized network in `f64`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientConfig {
    /// Network.
    #[serde(flatten)]
    pub network: NetworkConfig,
    /// Mini-batch: the first images of the training set, without random changes.
    #[serde(flatten)]
    pub batch: BatchConfig,
    /// Step h of the central differences.
    pub step: f64,
    /// eps of the relative error |ga - gn| / max(eps, |ga| + |gn|).
    pub floor: f64,
    /// L2 penalty weights to check the cost with.
    pub lambdas: Vec<f64>,
    /// Root seed of the weights.
    pub seed: u64,
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

impl Recorded for GradientConfig {
    type Record = GradientRecord;
    const KIND: &'static str = "gradients";

    fn origin(record: &GradientRecord) -> (&Self, &str) {
        (&record.config, &record.dataset.sha256)
    }
}

impl Job for GradientConfig {
    fn work(&self, data: &Data) -> Result<u64, Error> {
        Ok(self.architecture(&data.dataset.dimensions())?.parameters() as u64)
    }

    fn compute(task: &Task<'_, Self>, data: &Data, _: &Par) -> Result<GradientRecord, Error> {
        task.job.run(data, task.observer)
    }
}

impl GradientConfig {
    /// Checks the gradients, on one thread.
    ///
    /// # Errors
    /// [`Error::Train`] for invalid settings, [`Error::Gradient`] for a gradient that is not finite, [`Error::Cancelled`]
    /// if the observer cancels.
    pub fn run(&self, data: &Data, observer: &dyn Observer) -> Result<GradientRecord, Error> {
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

    /// Validates the settings that do not depend on the images.
    ///
    /// # Errors
    /// [`Error::Train`].
    pub fn check(&self) -> Result<(), Error> {
        self.network.check()?;
        self.batch.check(self.network.uses_batch_norm())?;
        check_step(self.step)?;
        self.lambdas.iter().try_for_each(|&lambda| L2::new(lambda).map(drop))?;
        Ok(())
    }

    /// Validates the settings for a dataset of these dimensions; returns the network's architecture.
    ///
    /// # Errors
    /// [`Error::Train`].
    pub fn check_for(&self, data: &Dimensions) -> Result<Architecture, Error> {
        self.check()?;
        self.batch.check_images(data.training)?;
        self.architecture(data)
    }

    fn architecture(&self, data: &Dimensions) -> Result<Architecture, Error> {
        let features = data.shape.features();
        let used = self.features.unwrap_or(features);
        if used > features {
            return Err(Error::setting("the number of features", used, format!("it must be at most {features}")));
        }
        Ok(self.network.architecture(used, data.classes)?)
    }
}

/// The first `inputs` features of the first images of the training set.
fn images(config: &GradientConfig, data: &Data, inputs: usize) -> ColMajor<f64> {
    let sample = data.dataset.training().first(config.batch.size);
    let (normalizer, mut features) = (data.normalization.normalizer(), vec![0.0; data.normalization.features()]);
    let mut images = ColMajor::zeros(inputs, sample.len());
    for (j, image) in sample.images().enumerate() {
        normalizer.normalize(image, &mut features);
        images.col_mut(j).copy_from_slice(&features[..inputs]);
    }
    images
}

fn check(config: &GradientConfig, data: &Data, observer: &dyn Observer) -> Result<Vec<GradientRow>, Error> {
    let architecture = config.check_for(&data.dataset.dimensions())?;
    let sample = data.dataset.training().first(config.batch.size);
    let images = images(config, data, architecture.inputs());
    let objective = Objective::default().with_dropout(config.network.dropout, config.seed)?;
    let objective = objective.with_smoothing(config.batch.label_smoothing)?;

    let mut network = Network::new(&architecture, config.network.init, &mut stream(config.seed, "init"))?;
    let progress = |done| {
        observer.on(&Event::Progressed(done as u64));
        if observer.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let numerical = numerical_gradient(&network, images.as_ref(), sample.labels(), objective, config.step, progress);
    let numerical = match numerical {
        Err(klayer_nn::Error::Stopped) => return Err(Error::Cancelled),
        numerical => numerical?,
    };

    let mut workspace = Workspace::new(&architecture, sample.len(), Par::Seq);
    workspace.set_objective(objective);
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
