//! Sets of runs: each run is computed once, stored as soon as it is finished, and equals the same run alone.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use klayer_experiments::runs::{Job, Task, run_all, run_one_by_one};
use klayer_experiments::{Error, RunsObserver};
use klayer_store::{Recorded, Store};
use klayer_train::record::RunRecord;
use klayer_train::{Data, Event, Metrics, Observer, Par, RunConfig, Silent, train};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{DATA, diverging_run, short_run};

/// A store in a temporary folder, removed with the guard.
fn store() -> (TempDir, Store) {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path().join("records")).expect("a store");
    (folder, store)
}

/// Runs of different lengths, the longest first, so that they finish in another order than they start.
fn jobs() -> Vec<RunConfig> {
    let mut jobs =
        [(0.001, 60), (0.002, 5), (0.003, 20), (0.004, 10), (0.005, 6)].map(|(lambda, n_s)| short_run(lambda, n_s));
    jobs[3].network.hidden = vec![30, 12].into();
    jobs[4].network.batch_norm = false;
    jobs.into()
}

/// A record without the fields that differ between repeated runs.
fn timeless(record: &RunRecord) -> RunRecord {
    RunRecord { seconds: 0.0, ..record.clone() }
}

/// The record of a run that is trained by itself.
fn alone(config: &RunConfig) -> RunRecord {
    train::<f32>(config, &DATA, &Par::Seq, &Silent).expect("a run").record(config, &DATA)
}

fn timeless_all(records: &[RunRecord]) -> Vec<RunRecord> {
    records.iter().map(timeless).collect()
}

fn kept(job: &RunConfig, store: &Store) -> Option<RunRecord> {
    store.get(&job.key(DATA.dataset.sha256()).expect("a key")).expect("a readable record")
}

/// The files of a store by name, with their bytes, except for metrics.
fn files(store: &Store) -> Vec<(String, Vec<u8>)> {
    let name = |path: &Path| path.file_name().expect("a file").to_string_lossy().into_owned();
    let paths = fs::read_dir(store.folder()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let paths = paths.filter(|path| path.extension().is_none_or(|extension| extension != "jsonl"));
    let mut files: Vec<_> = paths.map(|path| (name(&path), fs::read(&path).expect("a file"))).collect();
    files.sort();
    files
}

/// Counts started and found runs; cancels everything once `most` runs have been started.
#[derive(Default)]
struct Watch {
    started: Mutex<Vec<usize>>,
    found: Mutex<Vec<(usize, u64)>>,
    most: Option<usize>,
    /// Largest number of runs at the same time.
    at_once: Option<usize>,
    running: AtomicUsize,
}

struct Watched<'a>(&'a Watch);

impl Watch {
    fn up_to(most: usize) -> Self {
        Self { most: Some(most), ..Self::default() }
    }

    fn started(&self) -> Vec<usize> {
        let mut started = self.started.lock().expect("no panic").clone();
        started.sort_unstable();
        started
    }

    fn found(&self) -> Vec<(usize, u64)> {
        self.found.lock().expect("no panic").clone()
    }
}

impl RunsObserver for Watch {
    fn started(&self, index: usize, _: u64) -> Box<dyn Observer + '_> {
        self.started.lock().expect("no panic").push(index);
        let running = 1 + self.running.fetch_add(1, Ordering::Relaxed);
        assert!(self.at_once.is_none_or(|most| running <= most), "{running} runs at the same time");
        Box::new(Watched(self))
    }

    fn found(&self, index: usize, work: u64) {
        self.found.lock().expect("no panic").push((index, work));
    }
}

impl Observer for Watched<'_> {
    fn cancelled(&self) -> bool {
        self.0.most.is_some_and(|most| self.0.started.lock().expect("no panic").len() > most)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn a_run_among_others_equals_the_same_run_alone() {
    let jobs = jobs();
    let alone: Vec<_> = jobs.iter().map(|job| timeless(&alone(job))).collect();
    for threads in [1, 2, 4, 16] {
        let (_folder, store) = store();
        let watch = Watch::default();
        let records = run_all(&jobs, &DATA, &store, threads, &watch).expect("all runs");
        assert!(records.iter().all(|record| record.seconds > 0.0 && record.environment.kernels));
        assert_eq!(timeless_all(&records), alone, "{threads} at a time");
        assert_eq!(store.records(&jobs, DATA.dataset.sha256()).expect("all are kept"), records);
        assert_eq!(watch.started(), [0, 1, 2, 3, 4]);
        assert_eq!(watch.running.into_inner(), 0, "every observer is dropped");
        assert_eq!(files(&store).len(), 5, "a file a record and no other");
    }
    assert!(jobs.iter().zip(&alone).all(|(job, record)| &record.config == job));
}

#[test]
fn one_by_one_each_run_has_all_threads() {
    let (_folder, store) = store();
    let jobs = jobs();
    let watch = Watch { at_once: Some(1), ..Watch::default() };
    let records = run_one_by_one(&jobs, &DATA, &store, 4, &watch).expect("all runs");
    assert_eq!(timeless_all(&records), jobs.iter().map(|job| timeless(&alone(job))).collect::<Vec<_>>());
    assert_eq!(watch.started(), [0, 1, 2, 3, 4]);

    let jobs = [Counted(0), Counted(1), Counted(2), Counted(3)];
    let (_folder, store) = self::store();
    let counts = |records: Vec<Count>| records.iter().map(|record| record.threads).collect::<Vec<_>>();
    assert_eq!(counts(run_one_by_one(&jobs, &DATA, &store, 4, &Silent).expect("records")), [4; 4]);
    let (_folder, store) = self::store();
    assert_eq!(counts(run_all(&jobs, &DATA, &store, 4, &Silent).expect("records")), [1; 4]);
}

/// A job that records its number of threads.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Counted(u32);

#[derive(Debug, Serialize, Deserialize)]
struct Count {
    job: Counted,
    sha256: String,
    threads: usize,
}

impl Recorded for Counted {
    type Record = Count;
    const KIND: &'static str = "counted";

    fn origin(record: &Count) -> (&Self, &str) {
        (&record.job, &record.sha256)
    }
}

impl Job for Counted {
    fn threads(_: &Data) -> usize {
        8
    }

    fn work(&self, _: &Data) -> Result<u64, Error> {
        Ok(1)
    }

    fn compute(task: &Task<'_, Self>, data: &Data, par: &Par) -> Result<Count, Error> {
        Ok(Count { job: task.job.clone(), sha256: data.dataset.sha256().to_owned(), threads: par.count() })
    }
}

#[test]
fn finished_runs_are_not_repeated() {
    let (_folder, store) = store();
    let jobs = jobs();
    let first = run_all(&jobs[..3], &DATA, &store, 2, &Silent).expect("three runs");
    // No training gives this record: it can only come from the store.
    let sentinel = RunRecord { seconds: 123_456.0, ..first[1].clone() };
    store.put(&jobs[1].key(DATA.dataset.sha256()).expect("a key"), &sentinel).expect("written");
    let before = files(&store);

    let watch = Watch::default();
    let records = run_all(&jobs, &DATA, &store, 1, &watch).expect("all runs");
    assert_eq!(records[..3], [first[0].clone(), sentinel, first[2].clone()]);
    assert_eq!(watch.found(), [0, 1, 2].map(|i: usize| (i, jobs[i].steps(1_030))));
    assert_eq!(watch.started(), [3, 4]);
    let after = files(&store);
    assert!(before.iter().all(|file| after.contains(file)), "what is finished is not written again");
}

#[test]
fn an_error_keeps_finished_runs_and_starts_no_more() {
    let mut jobs = jobs();
    jobs[2].network.hidden = vec![0].into();
    for threads in [1, 2] {
        let (_folder, store) = store();
        let watch = Watch::default();
        let error = run_all(&jobs, &DATA, &store, threads, &watch).expect_err("the third cannot be trained");
        assert!(matches!(error, Error::Train(klayer_train::Error::Network(_))), "{error}");
        let started = watch.started();
        assert_eq!(started[..2], [0, 1], "{threads} at a time");
        for &index in started.iter().filter(|&&index| index != 2) {
            assert!(kept(&jobs[index], &store).is_some(), "run {index} was under way and is kept");
        }
        // Another thread may finish its run before the error occurs.
        assert!(
            threads > 1 || started.iter().all(|&index| index <= 2),
            "nothing is started after an error: {started:?}"
        );
    }
}

#[test]
fn a_cancelled_set_resumes_to_the_same_records() {
    let (_folder, undisturbed) = store();
    let jobs = jobs();
    let expected = run_all(&jobs, &DATA, &undisturbed, 2, &Silent).expect("all runs");

    let (_folder, store) = store();
    let error = run_all(&jobs, &DATA, &store, 1, &Watch::up_to(2)).expect_err("the run was cancelled");
    assert!(matches!(error, Error::Cancelled), "{error}");
    let mut finished = files(&store);
    finished.retain(|(name, _)| name.ends_with(".json"));
    assert_eq!(finished.len(), 2, "the first two were finished, the third was not");
    assert!(matches!(store.records(&jobs, DATA.dataset.sha256()), Err(klayer_store::Error::Missing { .. })));

    let watch = Watch::default();
    let records = run_all(&jobs, &DATA, &store, 2, &watch).expect("the rest");
    assert_eq!(watch.started(), [2, 3, 4]);
    assert_eq!(timeless_all(&records), timeless_all(&expected));
    assert_eq!(files(&store).iter().filter(|file| finished.contains(file)).count(), 2);
    assert_eq!(files(&store).len(), 5, "no lock or checkpoint is left");
}

#[test]
fn a_set_cancelled_within_its_runs_resumes_them() {
    /// Cancels everything once a run has completed this many steps; records the first step that each reports.
    struct StopAt {
        step: u64,
        reached: AtomicBool,
        first: Mutex<Vec<(usize, u64)>>,
    }
    struct Steps<'a>(&'a StopAt, usize, AtomicBool);
    impl RunsObserver for StopAt {
        fn started(&self, index: usize, _: u64) -> Box<dyn Observer + '_> {
            Box::new(Steps(self, index, AtomicBool::new(false)))
        }
    }
    impl Observer for Steps<'_> {
        fn on(&self, event: &Event<'_>) {
            let &Event::Progressed(done) = event else { return };
            if !self.2.swap(true, Ordering::Relaxed) {
                self.0.first.lock().expect("no panic").push((self.1, done));
            }
            self.0.reached.fetch_or(done >= self.0.step, Ordering::Relaxed);
        }
        fn cancelled(&self) -> bool {
            self.0.reached.load(Ordering::Relaxed)
        }
    }
    let stop_at = |step| StopAt { step, reached: AtomicBool::new(false), first: Mutex::default() };
    let (_folder, store) = store();
    let jobs: Vec<_> = [0.001, 0.002, 0.003].map(|lambda| short_run(lambda, 20)).into();
    let error = run_all(&jobs, &DATA, &store, 1, &stop_at(17)).expect_err("the run was cancelled");
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(files(&store).iter().filter(|(name, _)| name.ends_with(".checkpoint")).count(), 1);

    let watch = stop_at(u64::MAX);
    let records = run_all(&jobs, &DATA, &store, 2, &watch).expect("all runs");
    let mut first = watch.first.into_inner().expect("no panic");
    first.sort_unstable();
    assert_eq!(first, [(0, 17), (1, 1), (2, 1)]);
    for (job, record) in jobs.iter().zip(&records) {
        assert_eq!(timeless(record), timeless(&alone(job)));
    }
    assert_eq!(files(&store).len(), 3, "no lock or checkpoint is left");
}

#[test]
fn processes_sharing_a_store_compute_each_run_once() {
    let (_folder, store) = store();
    let mut jobs: Vec<_> = (0..12).map(|i| short_run(0.001 * f64::from(i), 20)).collect();
    jobs.insert(5, diverging_run());
    let watches: Vec<_> = (0..4).map(|_| Watch::default()).collect();
    let make = &|i: usize, watch: &Watch| {
        let records = match i {
            0 => run_one_by_one(&jobs, &DATA, &store, 2, watch),
            _ => run_all(&jobs, &DATA, &store, 1, watch),
        };
        records.expect("all runs")
    };
    let all: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> =
            watches.iter().enumerate().map(|(i, watch)| scope.spawn(move || make(i, watch))).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    assert!(all.iter().all(|records| records == &all[0]), "all get the same records, to the second");
    let mut started: Vec<_> = watches.iter().flat_map(Watch::started).collect();
    started.sort_unstable();
    assert_eq!(started, (0..13).collect::<Vec<_>>(), "each was made once");
    assert_eq!(files(&store).len(), 13, "no lock or checkpoint is left");
}

#[test]
fn a_diverged_run_has_a_record_and_the_others_continue() {
    let (_folder, store) = store();
    let jobs = [short_run(0.003, 5), diverging_run(), short_run(0.004, 5)];
    let records = run_all(&jobs, &DATA, &store, 1, &Silent).expect("a run that diverges is no error");
    let diverged = &records[1];
    assert!(diverged.diverged.is_some() && diverged.last().is_none() && diverged.test.is_none(), "{diverged:?}");
    assert!(records[0].last().is_some() && records[2].last().is_some() && records[2].test.is_some());
    assert_eq!(kept(&jobs[1], &store).as_ref(), Some(diverged), "it is read as it was written");

    let watch = Watch::default();
    run_all(&jobs, &DATA, &store, 1, &watch).expect("all are kept");
    assert_eq!(watch.started(), [0_usize; 0], "a run that diverged is not tried again");
}

#[test]
fn every_run_in_a_store_has_metrics_beside_its_record() {
    let (_folder, store) = store();
    let jobs = [0.1, 0.01, 0.001].map(|lambda| short_run(lambda, 15));
    let records = run_all(&jobs, &DATA, &store, 1, &Silent).expect("all runs");
    for (job, record) in jobs.iter().zip(records) {
        let path = store.metrics(&job.key(DATA.dataset.sha256()).expect("a key"));
        let text = fs::read_to_string(path).expect("a file");
        let lines = text.lines().map(|line| serde_json::from_str::<Metrics>(line).expect("a line").point);
        assert_eq!(lines.collect::<Vec<_>>(), record.curve);
    }
}
