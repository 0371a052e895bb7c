//! Records: their keys depend on everything that determines them, and invalid ones are rejected.

use std::collections::BTreeSet;
use std::fs;

use klayer_experiments::gradients::GradientConfig;
use klayer_experiments::record::{RunRecord, key};
use klayer_experiments::runs::{Job, found, run_all};
use klayer_experiments::{Cyclical, Error, Init, RunConfig, Silent, Store};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::{DATA, short_run, small_run};

const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Asserts that every variant has a distinct key, and that together the variants change every field of `base`.
fn assert_every_field_counts<C: Serialize>(kind: &str, base: &C, variants: &[C]) {
    let keys = || variants.iter().map(|variant| key(kind, variant, SHA256).expect("a key"));
    let name = key(kind, base, SHA256).expect("a key");
    assert_eq!(key(kind, base, SHA256).expect("a key"), name);
    assert_ne!(key(kind, base, &SHA256.replace('0', "1")).expect("a key"), name, "the dataset counts");
    assert_ne!(key("another kind", base, SHA256).expect("a key"), name, "the kind counts");
    assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    let distinct: BTreeSet<String> = keys().chain([name]).collect();
    assert_eq!(distinct.len(), variants.len() + 1, "every field counts");

    let (base, variants) = (json(base), variants.iter().map(json).collect::<Vec<_>>());
    for (field, value) in base.as_object().expect("settings have fields") {
        assert!(variants.iter().any(|variant| &variant[field] != value), "no variant of {field} is looked at");
    }
}

fn json(settings: &impl Serialize) -> Value {
    serde_json::to_value(settings).expect("settings are JSON")
}

#[test]
fn every_setting_and_the_dataset_change_a_runs_record_key() {
    let base = small_run;
    let schedule = |eta_min, eta_max, n_s| Cyclical::new(eta_min, eta_max, n_s).expect("a cycle");
    let variants = [
        RunConfig { hidden: vec![50], ..base() },
        RunConfig { hidden: vec![30, 50], ..base() },
        RunConfig { batch_norm: false, ..base() },
        RunConfig { init: Init::Normal { sigma: 0.1 }, ..base() },
        RunConfig { init: Init::Normal { sigma: 0.01 }, ..base() },
        RunConfig { lambda: 0.003_000_000_000_000_000_5, ..base() },
        RunConfig { schedule: schedule(2e-5, 0.1, 20), ..base() },
        RunConfig { schedule: schedule(1e-5, 0.2, 20), ..base() },
        RunConfig { schedule: schedule(1e-5, 0.1, 40), ..base() },
        RunConfig { cycles: 1, ..base() },
        RunConfig { batch: 99, ..base() },
        RunConfig { seed: 43, ..base() },
        RunConfig { validate_every: 31, ..base() },
        RunConfig { training_sample: None, ..base() },
        RunConfig { training_sample: Some(261), ..base() },
        RunConfig { test: false, ..base() },
    ];
    assert_every_field_counts(RunConfig::KIND, &base(), &variants);
}

#[test]
fn every_setting_of_a_gradient_check_changes_its_record_key() {
    let base = crate::gradients::small_check;
    let variants = [
        GradientConfig { hidden: vec![4, 4], ..base() },
        GradientConfig { batch_norm: false, ..base() },
        GradientConfig { images: 11, ..base() },
        GradientConfig { step: 2e-5, ..base() },
        GradientConfig { floor: 2e-4, ..base() },
        GradientConfig { lambdas: vec![0.0], ..base() },
        GradientConfig { seed: 43, ..base() },
        GradientConfig { features: Some(100), ..base() },
        GradientConfig { init: Init::Normal { sigma: 0.01 }, ..base() },
    ];
    assert_every_field_counts(GradientConfig::KIND, &base(), &variants);
}

#[test]
fn a_damaged_record_is_reported_with_its_position_and_never_overwritten() {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let jobs = [short_run(0.003, 5)];
    run_all(&jobs, &DATA, &store, 1, &Silent).expect("a run");
    let name = key(RunConfig::KIND, &jobs[0], DATA.dataset.sha256()).expect("a key");
    let whole = fs::read_to_string(store.path(&name)).expect("a record");
    let lines = whole.lines().count();

    // Truncated within a line, and just after one.
    let cut = [whole.len() / 2, whole.find('\n').expect("a line") + 1];
    let [within, behind] = cut.map(|at| (whole[..at].to_owned(), whole[..at].matches('\n').count() + 1));
    let cases = [
        within,
        behind,
        (String::new(), 1),
        ("not JSON\n".to_owned(), 1),
        (whole.replacen("\"cycles\"", "\"circles\"", 1), 0),
        (whole.replacen("\"lambda\": 0.003", "\"lambda\": \"0.003\"", 1), 0),
        (whole.clone() + "{}", lines + 1),
    ];
    for (contents, expected_line) in cases {
        assert_ne!(contents, whole);
        fs::write(store.path(&name), &contents).expect("written");
        let errors = [
            run_all(&jobs, &DATA, &store, 1, &Silent).expect_err("it is damaged"),
            found(&jobs, DATA.dataset.sha256(), &store).expect_err("it is damaged"),
            store.get::<RunRecord>(&name).expect_err("it is damaged"),
        ];
        for error in errors {
            let text = error.to_string();
            let Error::Record { path, line, column, .. } = error else { panic!("{text}") };
            assert_eq!(path, store.path(&name));
            assert!(text.starts_with(&path.display().to_string()), "{text}");
            assert!(text.contains(&format!("line {line}")) && text.contains(&format!("column {column}")), "{text}");
            assert!((1..=lines + 1).contains(&line), "{text}");
            assert!(expected_line == 0 || line == expected_line, "{text}");
        }
        assert_eq!(fs::read_to_string(store.path(&name)).expect("a file"), contents, "it is unchanged");
    }
}

#[test]
fn the_record_of_another_run_is_rejected_and_kept() {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let jobs = [short_run(0.003, 5), short_run(0.004, 5)];
    run_all(&jobs, &DATA, &store, 1, &Silent).expect("runs");
    let [one, other] = jobs.each_ref().map(|job| key(RunConfig::KIND, job, DATA.dataset.sha256()).expect("a key"));
    fs::copy(store.path(&one), store.path(&other)).expect("copied");
    let errors = [
        run_all(&jobs, &DATA, &store, 1, &Silent).expect_err("it is of another run"),
        found(&jobs, DATA.dataset.sha256(), &store).expect_err("it is of another run"),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.contains(&format!("{other}.json: ")) && text.contains(&format!("{one}.json;")), "{text}");
    }
    assert_eq!(fs::read(store.path(&one)).expect("a record"), fs::read(store.path(&other)).expect("a record"));
}

#[test]
fn record_errors_give_their_position_once() {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    fs::write(store.path("some"), "{").expect("written");
    let text = store.get::<RunRecord>("some").expect_err("it is damaged").to_string();
    assert_eq!(text.matches("line").count(), 1, "{text}");
}

#[test]
fn control_characters_in_record_errors_are_escaped() {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    fs::write(store.path("some"), r#"{"config": {"\u001b[2J\n": 1}}"#).expect("written");
    let text = store.get::<RunRecord>("some").expect_err("no such field").to_string();
    assert!(text.contains(r"\u{1b}[2J\n") && !text.contains(char::is_control), "{text}");
}
