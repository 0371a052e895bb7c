//! Sets of independent runs, computed in parallel; each run is computed once.

use std::panic;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use klayer_linalg::product::BLOCK;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::Checkpoints;
use crate::config::RunConfig;
use crate::data::{Data, DatasetInfo};
use crate::environment::Environment;
use crate::left_over::left_over;
use crate::lock::{Claim, Owner, Taken};
use crate::metrics::Metrics;
use crate::observer::{Observer, RunsObserver, Step};
use crate::record::{self, RunRecord};
use crate::store::Store;
use crate::train::{Run, Trained, train, train_from};
use crate::{Error, Par};

/// Settings that determine a record, and how to compute it.
pub trait Job: Serialize + Sync {
    /// The record of the job.
    type Record: Serialize + DeserializeOwned + Send;
    /// The kind of job; part of the record's key.
    const KIND: &'static str;
    /// The settings and the dataset that determine a record.
    fn origin(record: &Self::Record) -> (&Self, &DatasetInfo);

    /// The final count of [`Observer::progressed`]: update steps, or parameters.
    ///
    /// # Errors
    /// The errors of invalid settings.
    fn work(&self, data: &Data) -> Result<u64, Error>;

    /// Number of threads that a job uses efficiently on `data`; more give little speedup.
    fn threads(data: &Data) -> usize {
        let _ = data;
        1
    }

    /// Computes the record on one thread.
    ///
    /// # Errors
    /// The errors of the run, and [`Error::Cancelled`].
    fn run(&self, data: &Data, observer: &dyn Observer) -> Result<Self::Record, Error>;

    /// Computes the record, resuming it if it was interrupted, on `par`. `par` has at most [`Job::threads`] threads
    /// and does not affect the result.
    ///
    /// # Errors
    /// The errors of [`Job::run`].
    fn go_on(task: &Task<'_, Self>, data: &Data, par: &Par) -> Result<Self::Record, Error> {
        let _ = par;
        task.job.run(data, task.observer)
    }
}

/// A job of a store to run.
pub struct Task<'a, J: ?Sized> {
    /// Settings.
    pub job: &'a J,
    /// Observer of the job.
    pub observer: &'a dyn Observer,
    /// Where to write checkpoints.
    pub checkpoints: Checkpoints<'a>,
    /// Where to write metrics.
    pub metrics: PathBuf,
}

impl Job for RunConfig {
    type Record = RunRecord;
    const KIND: &'static str = "run";

    fn origin(record: &RunRecord) -> (&Self, &DatasetInfo) {
        (&record.config, &record.dataset)
    }

    fn work(&self, _: &Data) -> Result<u64, Error> {
        Ok(self.steps())
    }

    fn threads(data: &Data) -> usize {
        data.dataset.shape().features().div_ceil(BLOCK)
    }

    fn run(&self, data: &Data, observer: &dyn Observer) -> Result<RunRecord, Error> {
        Ok(record(self, data, train(self, data, &Par::Seq, observer)?))
    }

    fn go_on(task: &Task<'_, Self>, data: &Data, par: &Par) -> Result<RunRecord, Error> {
        let &Task { job: config, observer, ref checkpoints, ref metrics } = task;
        let run = Run { config, observer, checkpoints: Some(checkpoints), metrics: Some(metrics) };
        Ok(record(config, data, train_from(&run, data, par)?))
    }
}

fn record(config: &RunConfig, data: &Data, trained: Trained<f32>) -> RunRecord {
    RunRecord {
        config: config.clone(),
        dataset: data.info(),
        environment: Environment::here(1),
        seconds: trained.seconds,
        curve: trained.curve,
        diverged: trained.diverged,
        test: trained.test,
    }
}

/// Returns the records of `jobs`, in order: reads those in `store` and computes the others on `threads` threads,
/// storing each as soon as it is finished. Each thread runs one job after another; jobs that would leave threads idle
/// at the end run first, each on several threads.
///
/// Any number of processes may share a store. Each job is run by one of them; a job interrupted by the death of its
/// process is resumed from its last checkpoint.
///
/// # Errors
/// [`Error::Threads`] if the system cannot start the threads; the first error of a job, in order. After an error no
/// job is started; running jobs finish first.
pub fn run_all<J: Job>(
    jobs: &[J],
    data: &Data,
    store: &Store,
    threads: usize,
    observer: &dyn RunsObserver,
) -> Result<Vec<J::Record>, Error> {
    Par::check(threads)?;
    let work = jobs.iter().map(|job| job.work(data)).collect::<Result<Vec<_>, _>>()?;
    let keys = jobs.iter().map(|job| record::key(J::KIND, job, data.dataset.sha256())).collect::<Result<_, _>>()?;
    let set = Set { jobs, work, keys, data, store, threads: threads.max(1), observer };
    let mut records: Vec<_> = jobs.iter().map(|_| None).collect();
    set.find(&mut records)?;
    if records.iter().any(Option::is_none) {
        let owner = store.owner()?;
        while records.iter().any(Option::is_none) {
            let missing: Vec<_> = (0..jobs.len()).filter(|&index| records[index].is_none()).collect();
            let mut elsewhere = None;
            for (index, outcome) in set.make(&missing, &owner)? {
                match outcome? {
                    Outcome::Record(record) => records[index] = Some(record),
                    Outcome::Elsewhere(name) => elsewhere = Some(name),
                }
            }
            let left = records.iter().filter(|record| record.is_none()).count();
            if let Some(name) = elsewhere.filter(|_| left == missing.len()) {
                set.wait(left, &name, owner.times().beat)?;
            }
            set.find(&mut records)?;
        }
    }
    Ok(records.into_iter().flatten().collect())
}

/// Jobs to run.
struct Set<'a, J> {
    jobs: &'a [J],
    work: Vec<u64>,
    keys: Vec<String>,
    data: &'a Data,
    store: &'a Store,
    /// Number of threads, at least one.
    threads: usize,
    observer: &'a dyn RunsObserver,
}

/// The outcome of a job in one pass over the missing jobs.
enum Outcome<R> {
    Record(R),
    /// Another process runs it; describes it.
    Elsewhere(String),
}

type Outcomes<R> = Vec<(usize, Result<Outcome<R>, Error>)>;

/// Observes a job until another process takes it over.
struct Claimed<'a> {
    observer: Box<dyn Observer + 'a>,
    claim: &'a Claim,
}

impl<J: Job> Set<'_, J> {
    /// Adds the records in the store.
    fn find(&self, records: &mut [Option<J::Record>]) -> Result<(), Error> {
        for (index, record) in records.iter_mut().enumerate().filter(|(_, record)| record.is_none()) {
            *record = get::<J>(self.store, &self.keys[index])?;
            if record.is_some() {
                self.observer.found(index, self.work[index]);
            }
        }
        Ok(())
    }

    /// Runs those of the jobs `missing` that no other process runs. The outcomes are in the order of the jobs.
    fn make(&self, missing: &[usize], owner: &Owner) -> Result<Outcomes<J::Record>, Error> {
        let work: Vec<_> = missing.iter().map(|&index| self.work[index]).collect();
        let threads = J::threads(self.data);
        let (wide, narrow) = missing.split_at(left_over(&work, self.threads, threads));
        // Runs one job after another until one fails.
        let make = |jobs: &[usize], next: &AtomicUsize, par: &Par| {
            let mut made = Vec::new();
            while let Some(&index) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = self.make_one(index, owner, par);
                if outcome.is_err() {
                    next.fetch_max(jobs.len(), Ordering::Relaxed);
                }
                made.push((index, outcome));
            }
            made
        };
        let mut made = Vec::new();
        if !wide.is_empty() {
            made = make(wide, &AtomicUsize::new(0), &Par::threads(self.threads.min(threads))?);
        }
        if made.iter().all(|(_, outcome)| outcome.is_ok()) {
            let next = AtomicUsize::new(0);
            let worker = || make(narrow, &next, &Par::Seq);
            thread::scope(|scope| {
                let workers: Vec<_> = (0..self.threads.min(narrow.len())).map(|_| scope.spawn(worker)).collect();
                for worker in workers {
                    made.extend(worker.join().unwrap_or_else(|p| panic::resume_unwind(p)));
                }
            });
        }
        made.sort_by_key(|(index, _)| *index);
        Ok(made)
    }

    fn make_one(&self, index: usize, owner: &Owner, par: &Par) -> Result<Outcome<J::Record>, Error> {
        let claim = match self.take(index, owner)? {
            Ok(claim) => claim,
            Err(outcome) => return Ok(outcome),
        };
        let observer = Claimed { observer: self.observer.started(index, self.work[index]), claim: &claim };
        let task = Task {
            job: &self.jobs[index],
            observer: &observer,
            checkpoints: self.store.checkpoints(&self.keys[index], &claim),
            metrics: self.store.metrics(&self.keys[index]),
        };
        let record = J::go_on(&task, self.data, par);
        self.keep(index, &claim, &task, record)
    }

    /// Locks a job, unless another process holds it or has just finished it.
    fn take(&self, index: usize, owner: &Owner) -> Result<Result<Claim, Outcome<J::Record>>, Error> {
        let key = &self.keys[index];
        let claim = match owner.take(key)? {
            Taken::Ours(claim) => claim,
            Taken::Others(name) => return Ok(Err(Outcome::Elsewhere(name))),
        };
        let Some(record) = get::<J>(self.store, key)? else { return Ok(Ok(claim)) };
        claim.finish();
        self.observer.found(index, self.work[index]);
        Ok(Err(Outcome::Record(record)))
    }

    /// Stores the record of a finished job, unless another process has taken it over.
    fn keep(
        &self,
        index: usize,
        claim: &Claim,
        task: &Task<'_, J>,
        record: Result<J::Record, Error>,
    ) -> Result<Outcome<J::Record>, Error> {
        if !claim.held() {
            return Ok(Outcome::Elsewhere("a process that has taken it over".to_owned()));
        }
        let record = record?;
        // Another process may have taken over and finished the run while this one was suspended.
        if let Some(record) = get::<J>(self.store, &self.keys[index])? {
            return Ok(Outcome::Record(record));
        }
        self.store.put(&self.keys[index], &record)?;
        task.checkpoints.remove()?;
        claim.finish();
        Ok(Outcome::Record(record))
    }

    /// Waits for other processes.
    fn wait(&self, left: usize, owner: &str, time: Duration) -> Result<(), Error> {
        self.observer.waiting(left, owner);
        let start = Instant::now();
        while start.elapsed() < time {
            if self.observer.cancelled() {
                return Err(Error::Cancelled);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Observer for Claimed<'_> {
    fn progressed(&self, done: u64) {
        self.observer.progressed(done);
    }

    fn resumed(&self, before: &[Metrics]) {
        self.observer.resumed(before);
    }

    fn stepped(&self, step: &Step) {
        self.observer.stepped(step);
    }

    fn evaluated(&self, metrics: &Metrics) {
        self.observer.evaluated(metrics);
    }

    fn warned(&self, warning: &str) {
        self.observer.warned(warning);
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled() || self.claim.lost()
    }
}

/// Reads the record `key` from `store`; `None` if there is none.
///
/// # Errors
/// The errors of [`Store::get`]; [`Error::OtherRecord`] if it is the record of other settings or another dataset.
pub fn get<J: Job>(store: &Store, key: &str) -> Result<Option<J::Record>, Error> {
    let Some(record) = store.get(key)? else { return Ok(None) };
    let (job, dataset) = J::origin(&record);
    let name = record::key(J::KIND, job, &dataset.sha256)?;
    if name == key { Ok(Some(record)) } else { Err(Error::OtherRecord { path: store.path(key), name }) }
}

/// Reads the records of `jobs` on the dataset with checksum `sha256`, in order, without running any.
///
/// # Errors
/// [`Error::Missing`] for the first missing record, and read errors.
pub fn found<J: Job>(jobs: &[J], sha256: &str, store: &Store) -> Result<Vec<J::Record>, Error> {
    let records = jobs.iter().map(|job| {
        let key = record::key(J::KIND, job, sha256)?;
        get::<J>(store, &key)?.ok_or_else(|| Error::Missing { path: store.path(&key) })
    });
    records.collect()
}
