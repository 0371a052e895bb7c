//! The metadata of model files of layout 1, which klayer 0.1 wrote. Their fields are identified by their order.

use klayer_nn::Init;
use serde::Deserialize;

use crate::config::{BatchConfig, NetworkConfig, RunConfig, ScheduleConfig, Widths};
use crate::data::DatasetInfo;

/// The metadata of a model file of layout 1.
#[derive(Deserialize)]
pub(crate) struct Info1 {
    pub(crate) config: Config1,
    pub(crate) dataset: DatasetInfo,
    pub(crate) normalization: Normalization1,
    pub(crate) classes: Vec<String>,
    pub(crate) validation_accuracy: f64,
    pub(crate) test_accuracy: Option<f64>,
}

/// Training settings.
#[derive(Deserialize)]
pub(crate) struct Config1 {
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

/// Mean and deviation of each feature.
#[derive(Deserialize)]
pub(crate) struct Normalization1 {
    pub(crate) mean: Vec<f64>,
    pub(crate) deviation: Vec<f64>,
}

impl Config1 {
    /// The same settings in their current form.
    pub(crate) fn current(self) -> RunConfig {
        let Self { hidden, batch_norm, init, lambda, schedule, cycles, batch, seed, .. } = self;
        let Cyclical1 { eta_min, eta_max, n_s } = schedule;
        RunConfig {
            network: NetworkConfig { hidden: Widths(hidden), batch_norm, init, ..NetworkConfig::default() },
            lambda,
            schedule: ScheduleConfig { eta_min, eta_max, n_s, cycles, ..ScheduleConfig::default() },
            batch: BatchConfig { size: batch, ..BatchConfig::default() },
            seed,
            validate_every: Some(self.validate_every),
            training_sample: self.training_sample,
            test: self.test,
            ..RunConfig::default()
        }
    }
}
