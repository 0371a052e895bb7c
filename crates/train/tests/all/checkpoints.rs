//! Checkpoints: an interrupted run resumes to the same bits, or is rejected with the reason.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use klayer_linalg::random::stream;
use klayer_nn::{Network, model_file};
use klayer_train::checkpoint::{CHECKPOINT, State};
use klayer_train::{
    Checkpoints, Data, Error, Event, Init, Observer, Par, Run, RunConfig, Silent, Trained, train, train_from,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;
use tempfile::TempDir;

use crate::training::bits;
use crate::{DATA, data, generated, other_run, small_run, with};

const NEVER: Duration = Duration::from_secs(1_000_000);

/// Cancels a run after some steps of its own; records its warnings.
#[derive(Default)]
struct Watch {
    most: Option<u64>,
    first: AtomicU64,
    made: AtomicU64,
    warnings: Mutex<Vec<String>>,
}

impl Watch {
    fn stop_after(steps: u64) -> Self {
        Self { most: Some(steps), ..Self::default() }
    }

    fn warnings(self) -> Vec<String> {
        self.warnings.into_inner().expect("no panic")
    }
}

impl Observer for Watch {
    fn on(&self, event: &Event<'_>) {
        match *event {
            Event::Progressed(done) if self.made.fetch_add(1, Ordering::Relaxed) == 0 => {
                self.first.store(done, Ordering::Relaxed);
            }
            Event::Warned(warning) => self.warnings.lock().expect("no panic").push(warning.to_owned()),
            _ => {}
        }
    }

    fn cancelled(&self) -> bool {
        self.most.is_some_and(|most| self.made.load(Ordering::Relaxed) >= most)
    }
}

fn at(folder: &TempDir) -> Checkpoints<'static> {
    Checkpoints::new(folder.path().join("run.checkpoint"), NEVER)
}

fn go(config: &RunConfig, checkpoints: &Checkpoints<'_>, observer: &dyn Observer) -> Result<Trained<f32>, Error> {
    train_from(&Run { config, observer, checkpoints: Some(checkpoints), metrics: None }, data(config), &Par::Seq)
}

/// Cancels a run of `config` after `steps` steps.
fn stop(config: &RunConfig, checkpoints: &Checkpoints<'_>, steps: u64) {
    let error = go(config, checkpoints, &Watch::stop_after(steps)).expect_err("the run was cancelled");
    assert!(matches!(error, Error::Cancelled), "{error}");
}

fn state(path: &Path) -> State {
    model_file::decode::<f32, State>(&CHECKPOINT, &fs::read(path).expect("a checkpoint")).expect("it is whole").2
}

#[test]
fn a_run_interrupted_repeatedly_gives_the_same_bits() {
    let linear = with(small_run(), |config| {
        config.network.hidden = vec![].into();
        config.network.batch_norm = false;
        config.network.init = Init::Normal { sigma: 0.01 };
    });
    let configs = [small_run(), linear, other_run()];
    for config in configs {
        let undisturbed = bits(&train::<f32>(&config, data(&config), &Par::Seq, &Silent).expect("a run"));
        for steps in [2, 7, 39, 40, 41, 79] {
            let folder = TempDir::new().expect("a temporary folder");
            let (checkpoints, mut stops) = (at(&folder), 0);
            let trained = loop {
                match go(&config, &checkpoints, &Watch::stop_after(steps)) {
                    Ok(trained) => break trained,
                    Err(Error::Cancelled) => stops += 1,
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(stops >= 1, "{steps} steps at a time");
            assert!(bits(&trained) == undisturbed, "{steps} steps at a time");
            checkpoints.remove().expect("removed");
            assert!(!checkpoints.exist() && fs::read_dir(folder.path()).expect("a folder").count() == 0);
        }
    }
}

#[test]
fn a_run_resumed_before_it_diverges_diverges_at_the_same_step() {
    // The rate rises until the run diverges.
    let config = with(small_run(), |config| {
        config.network.batch_norm = false;
        (config.schedule.eta_max, config.schedule.n_s, config.schedule.cycles) = (1e5, 40, 1);
        config.validate_every = Some(1);
    });
    let alone = train::<f32>(&config, &DATA, &Par::Seq, &Silent).expect("divergence is a result");
    let diverged = alone.diverged.expect("the rate is without reason");
    assert!(diverged.step > 1 && diverged.step < config.steps(1_030) - 1, "{diverged:?}");
    for steps in [diverged.step - 1, diverged.step] {
        let folder = TempDir::new().expect("a temporary folder");
        let checkpoints = at(&folder);
        stop(&config, &checkpoints, steps);
        let resumed = go(&config, &checkpoints, &Silent).expect("divergence is a result");
        assert_eq!(resumed.diverged, alone.diverged, "stopped after {steps} steps");
        assert_eq!(resumed.curve, alone.curve);
    }
}

#[test]
fn every_cycle_and_interval_writes_a_checkpoint_and_keeps_the_previous_one() {
    let folder = TempDir::new().expect("a temporary folder");
    let checkpoints = at(&folder);
    let three = with(small_run(), |config| config.schedule.cycles = 3);
    go(&three, &checkpoints, &Silent).expect("a run");
    assert_eq!((state(checkpoints.path()).done, state(&checkpoints.previous()).done), (80, 40), "the cycles' ends");

    checkpoints.remove().expect("removed");
    let often = Checkpoints::new(checkpoints.path(), Duration::ZERO);
    go(&small_run(), &often, &Silent).expect("a run");
    let last = state(often.path());
    assert_eq!((last.done, state(&often.previous()).done), (79, 78), "every step but the last");
    assert_eq!(last.curve.len(), 2);
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_previous_one_with_a_warning() {
    let undisturbed = bits(&train::<f32>(&small_run(), &DATA, &Par::Seq, &Silent).expect("a run"));
    let folder = TempDir::new().expect("a temporary folder");
    let checkpoints = at(&folder);
    stop(&small_run(), &checkpoints, 10);
    // The first step reported is the one it resumes from; it then runs 20 steps.
    stop(&small_run(), &checkpoints, 21);
    let whole =
        [checkpoints.path().to_owned(), checkpoints.previous()].map(|path| (fs::read(&path).expect("a file"), path));
    let damage = |bytes: &[u8]| {
        let mut flipped = bytes.to_vec();
        flipped[bytes.len() / 2] ^= 1;
        flipped
    };
    // (whether each is damaged, the step to resume from, words of the warnings)
    let cases: [([bool; 2], u64, &[&str]); 2] =
        [([false, false], 30, &[]), ([true, false], 10, &["using the previous checkpoint"])];
    for (damaged, first, words) in cases {
        for ((bytes, path), damaged) in whole.iter().zip(damaged) {
            fs::write(path, if damaged { damage(bytes) } else { bytes.clone() }).expect("written");
        }
        let watch = Watch::default();
        assert!(bits(&go(&small_run(), &checkpoints, &watch).expect("a run")) == undisturbed);
        assert_eq!(watch.first.load(Ordering::Relaxed), first);
        let warnings = watch.warnings();
        assert_eq!(warnings.len(), words.len(), "{warnings:?}");
        for (warning, word) in warnings.iter().zip(words) {
            assert!(warning.contains(word) && warning.contains("run.checkpoint"), "{warning}");
        }
    }

    // Without a valid checkpoint the run is rejected and both files are kept.
    for (bytes, path) in &whole {
        fs::write(path, damage(bytes)).expect("written");
    }
    let refused = go(&small_run(), &checkpoints, &Watch::default()).expect_err("both are damaged");
    assert!(matches!(&refused, Error::Model { path, .. } if path == checkpoints.path()), "{refused}");
    for (bytes, path) in &whole {
        assert!(fs::read(path).expect("it is kept") == damage(bytes));
    }

    // The last one is missing, as if the process had ended between the renaming and the writing.
    fs::remove_file(checkpoints.path()).expect("changed");
    fs::write(checkpoints.previous(), &whole[1].0).expect("written");
    let watch = Watch::default();
    assert!(bits(&go(&small_run(), &checkpoints, &watch).expect("a run")) == undisturbed);
    assert_eq!((watch.first.load(Ordering::Relaxed), watch.warnings().len()), (10, 0));
}

#[cfg(unix)]
#[test]
fn an_unreadable_checkpoint_falls_back_to_the_previous_one_or_fails() {
    let undisturbed = bits(&train::<f32>(&small_run(), &DATA, &Par::Seq, &Silent).expect("a run"));
    let folder = TempDir::new().expect("a temporary folder");
    let checkpoints = at(&folder);
    stop(&small_run(), &checkpoints, 10);
    stop(&small_run(), &checkpoints, 21);
    // A link to itself exists but cannot be read, like a file on a failing disk.
    let spoil = |path: &Path| {
        fs::remove_file(path).expect("changed");
        std::os::unix::fs::symlink(path, path).expect("a link");
    };
    spoil(checkpoints.path());
    let watch = Watch::default();
    assert!(bits(&go(&small_run(), &checkpoints, &watch).expect("a run")) == undisturbed);
    assert_eq!(watch.first.load(Ordering::Relaxed), 10);
    let warnings = watch.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("using the previous checkpoint"), "{warnings:?}");

    // Nothing to resume from, but the files may be readable later.
    stop(&small_run(), &checkpoints, 20);
    for path in [checkpoints.path(), &checkpoints.previous()] {
        spoil(path);
    }
    let error = go(&small_run(), &checkpoints, &Silent).expect_err("none can be read");
    let Error::Store(klayer_store::Error::File { path, .. }) = &error else { panic!("{error}") };
    assert_eq!(path, checkpoints.path());
    assert!(fs::symlink_metadata(checkpoints.path()).is_ok(), "it is unchanged");
}

#[test]
fn a_run_taken_over_by_another_process_writes_no_checkpoint() {
    let folder = TempDir::new().expect("a temporary folder");
    let (path, asked) = (folder.path().join("run.checkpoint"), AtomicU64::new(0));
    // Held for the first two checkpoints.
    let held = || asked.fetch_add(1, Ordering::Relaxed) < 2;
    let checkpoints = Checkpoints::shared(&path, Duration::ZERO, &held);
    go(&small_run(), &checkpoints, &Silent).expect("a run");
    assert_eq!((state(&path).done, asked.load(Ordering::Relaxed)), (2, 79), "one is due after every step but the last");
}

/// A checkpoint of a small network after five steps.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a temporary folder");
    let checkpoints = at(&folder);
    stop(&with(small_run(), |config| config.network.hidden = vec![1].into()), &checkpoints, 5);
    fs::read(checkpoints.path()).expect("a checkpoint")
});

fn decode(bytes: &[u8]) -> Result<State, klayer_nn::Error> {
    model_file::decode::<f32, State>(&CHECKPOINT, bytes).map(|(.., state)| state)
}

#[test]
fn any_changed_or_missing_byte_invalidates_a_checkpoint() {
    assert!(decode(&WHOLE).is_ok() && model_file::decode::<f64, State>(&CHECKPOINT, &WHOLE).is_err());
    assert!(model_file::decode::<f32, State>(&model_file::MODEL, &WHOLE).is_err(), "it is no model");
    // All of the header and the beginning of the payload; then a sample of positions.
    let positions = (0..300).chain((300..WHOLE.len()).step_by(WHOLE.len() / 500));
    for position in positions {
        let mut flipped = WHOLE.clone();
        flipped[position] ^= 1 << (position % 8);
        assert!(decode(&flipped).is_err() && decode(&WHOLE[..position]).is_err(), "byte {position}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn damaged_checkpoints_are_rejected(at in any::<Index>(), change in 1_u8..) {
        let at = at.index(WHOLE.len());
        prop_assert!(decode(&WHOLE[..at]).is_err());
        let mut damaged = WHOLE.clone();
        damaged[at] ^= change;
        prop_assert!(decode(&damaged).is_err());
    }
}

#[test]
fn a_checkpoint_with_another_input_size_is_rejected() {
    let folder = TempDir::new().expect("a temporary folder");
    let checkpoints = at(&folder);
    let config = with(small_run(), |config| config.network.hidden = vec![1].into());
    let state = decode(&WHOLE).expect("it is whole");
    let architecture = config.network.architecture(4, DATA.dataset.class_names().len()).expect("a network");
    let network = Network::<f32>::new(&architecture, Init::He, &mut stream(7, "init")).expect("a network");
    let bytes = model_file::encode(&CHECKPOINT, &network, &[], &state).expect("it can be encoded");
    fs::write(checkpoints.path(), bytes).expect("written");
    let error = go(&config, &checkpoints, &Silent).expect_err("images of four numbers").to_string();
    assert!(error.contains("its contents do not match") && error.contains("run.checkpoint"), "{error}");
}

#[test]
fn a_checkpoint_without_its_momentum_is_rejected() {
    let folder = TempDir::new().expect("a temporary folder");
    let checkpoints = at(&folder);
    let config = with(small_run(), |config| config.optimizer.momentum = 0.9);
    stop(&config, &checkpoints, 5);
    let bytes = fs::read(checkpoints.path()).expect("a checkpoint");
    let (network, numbers, state) = model_file::decode::<f32, State>(&CHECKPOINT, &bytes).expect("it is whole");
    assert_eq!(numbers.len(), network.architecture().parameters());
    let bytes = model_file::encode(&CHECKPOINT, &network, &[], &state).expect("it can be encoded");
    fs::write(checkpoints.path(), bytes).expect("written");
    let error = go(&config, &checkpoints, &Silent).expect_err("there is no momentum").to_string();
    assert!(error.contains("the optimizer's state has 0 numbers") && error.contains("run.checkpoint"), "{error}");
}

#[test]
fn a_checkpoint_of_another_run_is_rejected_with_the_difference_and_kept() {
    let folder = TempDir::new().expect("a temporary folder");
    let checkpoints = at(&folder);
    stop(&small_run(), &checkpoints, 10);
    let before = fs::read(checkpoints.path()).expect("a checkpoint");
    type Change = fn(&mut RunConfig);
    let cases: [(Change, &str); 6] = [
        (|config| config.lambda = 0.004, "lambda is 0.003 in the checkpoint, but 0.004 here"),
        (|config| config.seed = 43, "seed is 42 in the checkpoint, but 43 here"),
        (|config| config.network.hidden = vec![50].into(), "hidden is [50,30] in the checkpoint, but [50] here"),
        (|config| config.schedule.eta_max = 0.2, "eta max is 0.1 in the checkpoint, but 0.2 here"),
        (|config| config.network.batch_norm = false, "batch norm is true in the checkpoint, but false here"),
        (|config| config.augment.shift = 2, "shift is the default in the checkpoint, but 2 here"),
    ];
    for (change, expected) in cases {
        let error =
            go(&with(small_run(), change), &checkpoints, &Silent).expect_err("it is of another run").to_string();
        assert!(error.contains(expected) && error.contains("run.checkpoint"), "{error}");
    }
    let other = Data::new(generated(8));
    let run = Run { config: &small_run(), observer: &Silent, checkpoints: Some(&checkpoints), metrics: None };
    let error = train_from::<f32>(&run, &other, &Par::Seq).expect_err("of other images").to_string();
    assert!(error.contains("the dataset, or its split, is") && error.contains(other.dataset.sha256()), "{error}");
    assert!(fs::read(checkpoints.path()).expect("a checkpoint") == before, "it is unchanged");
}

#[test]
fn a_checkpoint_of_another_version_or_number_type_is_rejected_and_kept() {
    let folder = TempDir::new().expect("a temporary folder");
    let checkpoints = at(&folder);
    stop(&small_run(), &checkpoints, 10);
    let whole = fs::read(checkpoints.path()).expect("a checkpoint");
    let mut older = whole.clone();
    older[8] -= 1;
    let (network, _, state) = model_file::decode::<f32, State>(&CHECKPOINT, &whole).expect("it is whole");
    let wide = Network::<f64>::zeros(network.architecture());
    let wide = model_file::encode(&CHECKPOINT, &wide, &[], &state).expect("it can be encoded");
    for (bytes, expected) in [(older, "layout version"), (wide, "its numbers are f64, expected f32")] {
        for path in [checkpoints.path(), &checkpoints.previous()] {
            fs::write(path, &bytes).expect("written");
        }
        let error = go(&small_run(), &checkpoints, &Silent).expect_err("it cannot be resumed here").to_string();
        assert!(error.contains(expected) && error.contains("run.checkpoint"), "{error}");
        for path in [checkpoints.path(), &checkpoints.previous()] {
            assert!(fs::read(path).expect("a checkpoint") == bytes, "it is unchanged");
        }
    }
}

#[test]
fn a_failed_checkpoint_write_causes_a_warning_and_changes_no_bit() {
    let folder = TempDir::new().expect("a temporary folder");
    let missing = Checkpoints::new(folder.path().join("missing").join("run.checkpoint"), NEVER);
    let watch = Watch::default();
    let trained = go(&small_run(), &missing, &watch).expect("the run itself needs no folder");
    assert!(bits(&trained) == bits(&train::<f32>(&small_run(), &DATA, &Par::Seq, &Silent).expect("a run")));
    let warnings = watch.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("cannot write a checkpoint"), "{warnings:?}");
    let watch = Watch::stop_after(3);
    let error = go(&small_run(), &missing, &watch).expect_err("the run was cancelled");
    assert!(matches!(error, Error::Cancelled), "{error}");
    let warnings = watch.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("cannot write a checkpoint"), "{warnings:?}");
}
