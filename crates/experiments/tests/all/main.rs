//! Guarantees of klayer-experiments: each run is computed once, and is the same alone and next to others.

mod gradients;
mod records;
mod runs;
mod search;

use std::sync::LazyLock;

use klayer_dataset::{Dataset, Sizes};
use klayer_train::{Cyclical, Data, Init, RunConfig};

/// Generated images, few enough that a run takes a fraction of a second. No part is a multiple of the chunk or batch
/// size.
static DATA: LazyLock<Data> = LazyLock::new(|| {
    let sizes = Sizes { training: 1_030, validation: 380, test: 270 };
    Data::new(Dataset::generate(7, sizes, "for tests", &()).expect("nobody cancels"))
});

/// A run of 80 steps that uses every feature: batch norm, penalty, training sample and test.
fn small_run() -> RunConfig {
    RunConfig {
        hidden: vec![50, 30],
        batch_norm: true,
        init: Init::He,
        lambda: 0.003,
        schedule: Cyclical::new(1e-5, 0.1, 20).expect("a cycle"),
        cycles: 2,
        batch: 100,
        seed: 42,
        validate_every: 30,
        training_sample: Some(260),
        test: true,
    }
}

/// A shorter run, for sets of several.
fn short_run(lambda: f64, n_s: u64) -> RunConfig {
    let schedule = Cyclical::new(1e-5, 0.1, n_s).expect("a cycle");
    RunConfig { lambda, schedule, cycles: 1, batch: 20, hidden: vec![12], validate_every: 7, ..small_run() }
}

/// A run that diverges within its first steps.
fn diverging_run() -> RunConfig {
    let schedule = Cyclical::new(1e6, 1e6, 5).expect("a cycle");
    RunConfig { schedule, batch_norm: false, ..short_run(0.003, 5) }
}
