//! Guarantees of klayer-experiments: each run is computed once, and is the same alone and next to others.

mod gradients;
mod records;
mod runs;
mod search;

use std::sync::LazyLock;

use klayer_dataset::{Dataset, Sizes};
use klayer_train::{Data, RunConfig};

/// Generated images, few enough that a run takes a fraction of a second. No part is a multiple of the chunk or batch
/// size.
static DATA: LazyLock<Data> = LazyLock::new(|| {
    let sizes = Sizes { training: 1_030, validation: 380, test: 270 };
    Data::new(Dataset::generate(7, sizes, "for tests", &()).expect("nobody cancels"))
});

/// `config` after `change`.
fn with<C>(mut config: C, change: impl FnOnce(&mut C)) -> C {
    change(&mut config);
    config
}

/// A run of 80 steps with batch norm, penalty, training sample and test.
fn small_run() -> RunConfig {
    let config = RunConfig {
        lambda: 0.003,
        validate_every: Some(30),
        training_sample: Some(260),
        test: true,
        ..RunConfig::default()
    };
    with(config, |config| {
        config.network.hidden = vec![50, 30].into();
        config.schedule.n_s = 20;
    })
}

/// A shorter run, for sets of several.
fn short_run(lambda: f64, n_s: u64) -> RunConfig {
    with(RunConfig { lambda, validate_every: Some(7), ..small_run() }, |config| {
        config.network.hidden = vec![12].into();
        config.schedule.n_s = n_s;
        config.schedule.cycles = 1;
        config.batch.size = 20;
    })
}

/// A run that diverges within its first steps.
fn diverging_run() -> RunConfig {
    with(short_run(0.003, 5), |config| {
        config.network.batch_norm = false;
        (config.schedule.eta_min, config.schedule.eta_max) = (1e6, 1e6);
    })
}
