//! Guarantees of klayer-train: results depend neither on threads nor on interruptions.

mod checkpoints;
mod config;
mod metrics;
mod models;
mod training;

use std::sync::LazyLock;

use klayer_dataset::{Dataset, Sizes};
use klayer_train::{Activation, Activations, Data, Normalize, RunConfig, ScheduleKind};

/// Generated images, few enough that a run takes a fraction of a second. No part is a multiple of the chunk or batch
/// size.
static DATA: LazyLock<Data> = LazyLock::new(|| Data::new(generated(7)));
/// The same images, whitened.
static WHITENED: LazyLock<Data> =
    LazyLock::new(|| Data::normalized(generated(7), Normalize::WHITEN).expect("a valid setting"));

fn generated(seed: u64) -> Dataset {
    let sizes = Sizes { training: 1_030, validation: 380, test: 270 };
    Dataset::generate(seed, sizes, "for tests", &()).expect("nobody cancels")
}

/// The images, normalized as in `config`.
fn data(config: &RunConfig) -> &'static Data {
    match config.batch.normalize {
        Normalize::Feature => &DATA,
        normalize => {
            assert_eq!(normalize, Normalize::WHITEN);
            &WHITENED
        }
    }
}

/// `config` after `change`.
fn with(mut config: RunConfig, change: impl FnOnce(&mut RunConfig)) -> RunConfig {
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

/// A run of 80 steps with all that [`small_run`] does not have.
fn other_run() -> RunConfig {
    with(small_run(), |config| {
        config.network.activation = Activations(vec![Activation::Modulus, Activation::Gelu]);
        config.network.dropout = 0.1;
        config.schedule.kind = ScheduleKind::Cosine;
        config.schedule.epochs = Some(4.0);
        config.batch.size = 50;
        config.batch.normalize = Normalize::WHITEN;
        config.batch.label_smoothing = 0.1;
        config.augment.flip = true;
        config.augment.shift = 2;
        config.optimizer.momentum = 0.9;
        config.optimizer.nesterov = true;
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
