//! The metadata of model files of layout 1, which klayer 0.1 wrote. Their fields are identified by their order.

use klayer_dataset::Normalization;
use klayer_nn::Init;
use serde::Deserialize;

use crate::Error;
use crate::config::{NetworkConfig, RunConfig, ScheduleConfig, Widths};
use crate::data::DatasetInfo;
use crate::model::ModelInfo;

/// The metadata of a model file of layout 1.
#[derive(Deserialize)]
pub(crate) struct Info1 {
    config: Config1,
    dataset: DatasetInfo,
    normalization: Normalization1,
    classes: Vec<String>,
    validation_accuracy: f64,
    test_accuracy: Option<f64>,
}

#[derive(Deserialize)]
struct Config1 {
    hidden: Vec<usize>,
    batch_norm: bool,
    init: Init,
    lambda: f64,
    schedule: Cyclical1,
    cycles: u64,
    batch: usize,
    seed: u64,
    validate_every: u64,
    training_sample: Option<usize>,
    test: bool,
}

#[derive(Deserialize)]
struct Cyclical1 {
    eta_min: f64,
    eta_max: f64,
    n_s: u64,
}

#[derive(Deserialize)]
struct Normalization1 {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Info1 {
    /// The same metadata in their current form.
    pub(crate) fn current(self) -> Result<ModelInfo, Error> {
        let Self { config, dataset, normalization, classes, validation_accuracy, test_accuracy } = self;
        let Config1 { hidden, batch_norm, init, lambda, schedule, cycles, batch, seed, .. } = config;
        let Cyclical1 { eta_min, eta_max, n_s } = schedule;
        let mut current = RunConfig {
            network: NetworkConfig { hidden: Widths(hidden), batch_norm, init, ..NetworkConfig::default() },
            lambda,
            schedule: ScheduleConfig { eta_min, eta_max, n_s, cycles, ..ScheduleConfig::default() },
            seed,
            validate_every: Some(config.validate_every),
            training_sample: config.training_sample,
            test: config.test,
            ..RunConfig::default()
        };
        current.batch.size = batch;
        Ok(ModelInfo {
            config: current,
            dataset,
            normalization: Normalization::new(normalization.mean, normalization.deviation)?,
            classes,
            validation_accuracy,
            test_accuracy,
        })
    }
}
