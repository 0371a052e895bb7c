//! Gradient checks of a small network on images.

use klayer_experiments::Error;
use klayer_experiments::gradients::{GradientConfig, GradientRow};
use klayer_experiments::runs::{Job, run_all};
use klayer_store::Store;
use klayer_train::{Activation, Activations, BatchConfig, Event, NetworkConfig, Observer, Silent};
use tempfile::TempDir;

use crate::{DATA, with};

pub(crate) fn small_check() -> GradientConfig {
    GradientConfig {
        network: NetworkConfig { hidden: vec![4].into(), ..NetworkConfig::default() },
        batch: BatchConfig { size: 10, ..BatchConfig::default() },
        step: 1e-5,
        floor: 1e-4,
        lambdas: vec![0.0, 0.1],
        seed: 42,
        features: None,
    }
}

fn rows(config: &GradientConfig) -> Vec<GradientRow> {
    config.run(&DATA, &Silent).expect("a check").rows
}

#[test]
fn every_parameter_is_checked_or_counted_as_a_kink() {
    for batch_norm in [true, false] {
        let rows = rows(&with(small_check(), |config| config.network.batch_norm = batch_norm));
        let mut expected = Vec::new();
        for lambda in [0.0, 0.1] {
            expected.extend([(lambda, 1, "W", 3072 * 4), (lambda, 1, "b", 4)]);
            if batch_norm {
                expected.extend([(lambda, 1, "gamma", 4), (lambda, 1, "beta", 4)]);
            }
            expected.extend([(lambda, 2, "W", 4 * 10), (lambda, 2, "b", 10)]);
        }
        let found: Vec<_> =
            rows.iter().map(|row| (row.lambda, row.layer, row.parameter.as_str(), row.checked + row.kinks)).collect();
        assert_eq!(found, expected);
        for row in &rows {
            assert!(row.checked > 0 && row.max_relative_error < 1e-6, "{row:?}");
            assert!(row.sum_relative_error <= row.checked as f64 * row.max_relative_error, "{row:?}");
            if batch_norm && row.layer == 1 && row.parameter == "b" {
                assert!(row.sum_analytic.abs() < 1e-12, "a bias before batch norm has no effect: {row:?}");
            }
        }
        let weights: Vec<_> = rows.iter().filter(|row| row.layer == 1 && row.parameter == "W").collect();
        assert!((weights[0].sum_analytic - weights[1].sum_analytic).abs() > 1e-3, "lambda has a gradient of its own");
    }
}

#[test]
fn gradients_match_with_other_activations_dropout_and_smoothing() {
    let config = with(small_check(), |config| {
        config.network.hidden = vec![6, 4].into();
        config.network.activation = Activations(vec![Activation::Modulus, Activation::Gelu]);
        config.network.dropout = 0.3;
        config.batch.label_smoothing = 0.1;
        config.features = Some(30);
    });
    let found = rows(&config);
    for row in &found {
        assert!(row.checked > 0 && row.max_relative_error < 1e-6, "{row:?}");
    }
    let plain: [fn(&mut GradientConfig); 3] = [
        |config| config.network.activation = Activations::default(),
        |config| config.network.dropout = 0.0,
        |config| config.batch.label_smoothing = 0.0,
    ];
    for change in plain {
        assert_ne!(rows(&with(config.clone(), change)), found, "every setting has an effect");
    }
}

#[test]
fn a_check_reports_every_parameter_and_can_be_cancelled() {
    use std::sync::atomic::{AtomicU64, Ordering};
    struct Watch {
        done: AtomicU64,
        most: u64,
    }
    impl Observer for Watch {
        fn on(&self, event: &Event<'_>) {
            if let Event::Progressed(done) = event {
                self.done.store(*done, Ordering::Relaxed);
            }
        }
        fn cancelled(&self) -> bool {
            self.done.load(Ordering::Relaxed) >= self.most
        }
    }
    let watch = |most| Watch { done: AtomicU64::new(0), most };
    let all = watch(u64::MAX);
    small_check().run(&DATA, &all).expect("nobody stops it");
    let parameters = small_check().work(&DATA).expect("a network");
    assert_eq!(parameters, (3072 * 4 + 4 + 2 * 4) + (4 * 10 + 10));
    assert_eq!(all.done.into_inner(), parameters);

    let stopped = watch(5_000);
    let error = small_check().run(&DATA, &stopped).expect_err("the run was cancelled");
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!((5_000..10_000).contains(&stopped.done.into_inner()));
}

#[test]
fn a_check_is_stored_and_reproducible() {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let made = run_all(&[small_check()], &DATA, &store, 2, &Silent).expect("a check");
    assert_eq!(run_all(&[small_check()], &DATA, &store, 2, &Silent).expect("it is kept"), made);
    assert_eq!(rows(&small_check()), made[0].rows);
}

#[test]
fn invalid_check_settings_are_rejected() {
    type Change = fn(&mut GradientConfig);
    let cases: [(Change, &str); 8] = [
        (|config| config.network.hidden = vec![0].into(), "at least one unit"),
        (|config| config.network.dropout = 1.0, "--dropout is 1, but it must be at least 0 and less than 1"),
        (|config| config.batch.size = 1, "batch norm needs at least two images"),
        (|config| config.batch.size = 0, "--batch is 0, but it must be at least 1"),
        (|config| config.batch.size = 1_031, "must be at most 1030, the number of training images"),
        (|config| config.step = 0.0, "step of the differences is 0"),
        (|config| config.lambdas = vec![-1.0], "lambda is -1"),
        (|config| config.features = Some(3_073), "it must be at most 3072"),
    ];
    for (change, expected) in cases {
        let error = with(small_check(), change).run(&DATA, &Silent).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}
