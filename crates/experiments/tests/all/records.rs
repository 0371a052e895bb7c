//! Records: their keys depend on everything that determines them, and invalid ones are rejected.

use std::collections::BTreeSet;
use std::fs;

use klayer_experiments::gradients::GradientConfig;
use klayer_experiments::runs::run_all;
use klayer_store::{Recorded, Store};
use klayer_train::record::RunRecord;
use klayer_train::{Activation, Activations, Init, Normalize, RunConfig, ScheduleKind, Silent};
use serde_json::Value;
use tempfile::TempDir;

use crate::{DATA, short_run, small_run, with};

const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Asserts that each change gives a distinct key, and that together they change every field of `base`.
fn assert_every_field_counts<S: Recorded + Clone>(base: &S, changes: &[fn(&mut S)]) {
    let variants: Vec<_> = changes.iter().map(|change| with(base.clone(), change)).collect();
    let keys = variants.iter().chain([base]).map(|variant| variant.key(SHA256).expect("a key"));
    let distinct: BTreeSet<String> = keys.collect();
    assert_eq!(distinct.len(), variants.len() + 1, "every field counts");

    let (base, variants) = (json(base), variants.iter().map(json).collect::<Vec<_>>());
    for (field, value) in base.as_object().expect("settings have fields") {
        assert!(variants.iter().any(|variant| &variant[field] != value), "no variant of {field} is looked at");
    }
}

fn json(settings: &impl Recorded) -> Value {
    serde_json::to_value(settings).expect("settings are JSON")
}

#[test]
fn every_setting_and_the_dataset_change_a_runs_record_key() {
    let changes: &[fn(&mut RunConfig)] = &[
        |c| c.network.hidden = vec![50].into(),
        |c| c.network.hidden = vec![30, 50].into(),
        |c| c.network.batch_norm = false,
        |c| c.network.init = Init::Normal { sigma: 0.1 },
        |c| c.network.init = Init::Normal { sigma: 0.01 },
        |c| c.network.activation = Activations(vec![Activation::Modulus]),
        |c| c.network.activation = Activations(vec![Activation::Gelu]),
        |c| c.network.dropout = 0.1,
        |c| c.lambda = 0.003_000_000_000_000_000_5,
        |c| c.schedule.kind = ScheduleKind::Cosine,
        |c| c.schedule.kind = ScheduleKind::Constant,
        |c| c.schedule.eta_min = 2e-5,
        |c| c.schedule.eta_max = 0.2,
        |c| c.schedule.n_s = 40,
        |c| c.schedule.cycles = 1,
        |c| c.schedule.epochs = Some(1.0),
        |c| c.schedule.warmup = 0.2,
        |c| c.batch.size = 99,
        |c| c.batch.normalize = Normalize::Channel,
        |c| c.batch.normalize = Normalize::WHITEN,
        |c| c.batch.normalize = Normalize::Whiten { eps: 0.5 },
        |c| c.batch.label_smoothing = 0.1,
        |c| c.augment.flip = true,
        |c| c.augment.shift = 1,
        |c| c.optimizer.momentum = 0.9,
        |c| c.optimizer.nesterov = true,
        |c| c.seed = 43,
        |c| c.validate_every = Some(31),
        |c| c.validate_every = None,
        |c| c.training_sample = None,
        |c| c.training_sample = Some(261),
        |c| c.test = false,
    ];
    assert_every_field_counts(&small_run(), changes);
}

#[test]
fn every_setting_of_a_gradient_check_changes_its_record_key() {
    let changes: &[fn(&mut GradientConfig)] = &[
        |c| c.network.hidden = vec![4, 4].into(),
        |c| c.network.batch_norm = false,
        |c| c.network.init = Init::Normal { sigma: 0.01 },
        |c| c.network.dropout = 0.1,
        |c| c.batch.size = 11,
        |c| c.batch.label_smoothing = 0.1,
        |c| c.step = 2e-5,
        |c| c.floor = 2e-4,
        |c| c.lambdas = vec![0.0],
        |c| c.seed = 43,
        |c| c.features = Some(100),
    ];
    assert_every_field_counts(&crate::gradients::small_check(), changes);
}

#[test]
fn a_damaged_record_is_reported_with_its_position_and_never_overwritten() {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let jobs = [short_run(0.003, 5)];
    run_all(&jobs, &DATA, &store, 1, &Silent).expect("a run");
    let name = jobs[0].key(DATA.dataset.sha256()).expect("a key");
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
        let run = run_all(&jobs, &DATA, &store, 1, &Silent).expect_err("it is damaged");
        let klayer_experiments::Error::Store(run) = run else { panic!("{run}") };
        let errors = [
            run,
            store.records(&jobs, DATA.dataset.sha256()).expect_err("it is damaged"),
            store.get::<RunRecord>(&name).expect_err("it is damaged"),
        ];
        for error in errors {
            let text = error.to_string();
            let klayer_store::Error::Record { path, line, column, .. } = error else { panic!("{text}") };
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
    let [one, other] = jobs.each_ref().map(|job| job.key(DATA.dataset.sha256()).expect("a key"));
    fs::copy(store.path(&one), store.path(&other)).expect("copied");
    let errors = [
        run_all(&jobs, &DATA, &store, 1, &Silent).expect_err("it is of another run").to_string(),
        store.records(&jobs, DATA.dataset.sha256()).expect_err("it is of another run").to_string(),
    ];
    for text in errors {
        assert!(text.contains(&format!("{other}.json: ")) && text.contains(&format!("{one}.json;")), "{text}");
    }
    assert_eq!(fs::read(store.path(&one)).expect("a record"), fs::read(store.path(&other)).expect("a record"));
}
