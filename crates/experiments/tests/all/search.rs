//! Random search for lambda: drawing and ranking trials.

use klayer_experiments::Error;
use klayer_experiments::search::{best, log_uniform};
use klayer_train::record::{Divergence, Point, RunRecord};
use klayer_train::{Environment, RunConfig};

use crate::{DATA, small_run};

/// A record with the validation accuracies `accuracies`.
fn record(lambda: f64, accuracies: &[f64], diverged: bool) -> RunRecord {
    let point = |(step, &validation_accuracy): (usize, &f64)| Point {
        step: step as u64,
        training_loss: None,
        training_cost: None,
        validation_loss: Some(1.0),
        validation_cost: Some(1.0),
        validation_accuracy: Some(validation_accuracy),
    };
    RunRecord {
        config: RunConfig { lambda, ..small_run() },
        dataset: DATA.info(),
        environment: Environment::here(1),
        seconds: 1.0,
        curve: accuracies.iter().enumerate().map(point).collect(),
        diverged: diverged.then_some(Divergence { step: 3, rate: 0.1, largest_weight: None }),
        test: None,
    }
}

#[test]
fn the_best_run_has_the_highest_last_accuracy_without_divergence() {
    let chosen = |records: &[RunRecord]| best(records).map(|record| record.config.lambda);
    let diverged = record(0.9, &[0.9, 0.95], true);
    let records = [
        diverged.clone(),
        record(0.1, &[0.8, 0.3], false),
        record(0.2, &[0.1, 0.4], false),
        record(0.3, &[0.4], false),
    ];
    assert_eq!(chosen(&records), Some(0.2), "the last accuracy counts, not the highest; of equals the first");
    assert_eq!(chosen(&records[..2]), Some(0.1));
    assert_eq!(chosen(&[record(0.5, &[0.0], false), diverged.clone()]), Some(0.5), "even of accuracy 0");
    assert_eq!(chosen(&[diverged, record(0.4, &[], true)]), None);
    assert_eq!(chosen(&[]), None);
}

#[test]
fn lambdas_are_log_uniform_and_differ_between_searches() {
    let lambdas = log_uniform(42, "coarse search", 1e-5, 1e-1, 8_000).expect("a range");
    let share =
        |from: f64| lambdas.iter().filter(|&&lambda| (from..from * 10.0).contains(&lambda)).count() as f64 / 8e3;
    for decade in [1e-5, 1e-4, 1e-3, 1e-2] {
        assert!((share(decade) - 0.25).abs() < 0.03, "{decade:e}: {}", share(decade));
    }
    assert!(lambdas.iter().all(|lambda| (1e-5..=1e-1).contains(lambda)));
    assert_ne!(lambdas[0], log_uniform(42, "fine search", 1e-5, 1e-1, 1).expect("a range")[0]);
    assert_ne!(lambdas[0], log_uniform(43, "coarse search", 1e-5, 1e-1, 1).expect("a range")[0]);
}

#[test]
fn invalid_ranges_are_rejected() {
    let ranges = [(0.081, 0.01), (0.0, 0.1), (-1e-5, 0.1), (1e-5, f64::INFINITY), (f64::NAN, 0.1), (1e-5, f64::NAN)];
    for (from, to) in ranges {
        let error = log_uniform(42, "search", from, to, 4).expect_err("no range");
        assert!(matches!(error, Error::Train(klayer_train::Error::Setting { .. })), "{error}");
    }
    assert_eq!(log_uniform(42, "search", 0.005, 0.005, 2).expect("a range"), [0.005; 2]);
}
