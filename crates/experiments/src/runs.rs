//! Sets of independent runs: several at a time, each one once.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::RunConfig;
use crate::data::Data;
use crate::environment::Environment;
use crate::groups::groups;
use crate::observer::{Observer, RunsObserver};
use crate::record::{self, RunRecord};
use crate::store::Store;
use crate::train::{Run, Trained, train, train_together};
use crate::{Error, Par};

/// Settings that determine a record, and how to make it.
pub trait Job: Serialize + Sync {
    /// What is kept of it.
    type Record: Serialize + DeserializeOwned + Send;
    /// A word that tells its records from those of other kinds of jobs.
    const KIND: &'static str;

    /// How far [`Observer::progressed`] counts: update steps, or parameters.
    ///
    /// # Errors
    /// Those of settings that make no run.
    fn work(&self, data: &Data) -> Result<u64, Error>;

    /// Makes the record, on one thread.
    ///
    /// # Errors
    /// Those of the run, and [`Error::Cancelled`].
    fn run(&self, data: &Data, observer: &dyn Observer) -> Result<Self::Record, Error>;

    /// Whether [`Job::run_together`] makes this record and that of `other` in less time than one after the other.
    fn goes_with(&self, other: &Self) -> bool {
        let _ = other;
        false
    }

    /// Makes the records of jobs that go with each other, each with its observer, on one thread.
    ///
    /// # Errors
    /// What concerns all of them; the errors of [`Job::run`] are each job's own.
    fn run_together(jobs: &[(&Self, &dyn Observer)], data: &Data) -> Result<Vec<Result<Self::Record, Error>>, Error> {
        Ok(jobs.iter().map(|(job, observer)| job.run(data, *observer)).collect())
    }
}

impl Job for RunConfig {
    type Record = RunRecord;
    const KIND: &'static str = "run";

    fn work(&self, _: &Data) -> Result<u64, Error> {
        Ok(self.steps())
    }

    fn run(&self, data: &Data, observer: &dyn Observer) -> Result<RunRecord, Error> {
        Ok(record(self, data, train(self, data, &Par::Seq, observer)?))
    }

    fn goes_with(&self, other: &Self) -> bool {
        self.goes_with(other)
    }

    fn run_together(jobs: &[(&Self, &dyn Observer)], data: &Data) -> Result<Vec<Result<RunRecord, Error>>, Error> {
        let runs: Vec<_> = jobs.iter().map(|&(config, observer)| Run { config, observer }).collect();
        let trained = train_together(&runs, data, &Par::Seq)?;
        Ok(runs.iter().zip(trained).map(|(run, trained)| Ok(record(run.config, data, trained?))).collect())
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

/// The records of `jobs`, in their order: those that `store` has, and the others made now, on `threads` threads, and
/// kept as soon as they are finished. Each thread makes several jobs at a time, where they go with each other.
///
/// # Errors
/// The first error of a job in their order. No job is started after an error; those under way are finished first.
pub fn run_all<J: Job>(
    jobs: &[J],
    data: &Data,
    store: &Store,
    threads: usize,
    observer: &dyn RunsObserver,
) -> Result<Vec<J::Record>, Error> {
    let mut results: Vec<_> = jobs.iter().map(|_| None).collect();
    let mut work = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        work.push(job.work(data)?);
        if let Some(record) = store.get(&key(job, data)?)? {
            observer.found(index, work[index]);
            results[index] = Some(Ok(record));
        }
    }
    let missing: Vec<_> = (0..jobs.len()).filter(|&index| results[index].is_none()).collect();
    let groups = groups(&missing, &work, threads, |a, b| jobs[a].goes_with(&jobs[b]));

    let next = AtomicUsize::new(0);
    let worker = || {
        let mut made = Vec::new();
        while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            let records = run_group(group, jobs, &work, data, store, observer);
            if records.iter().any(Result::is_err) {
                next.fetch_max(groups.len(), Ordering::Relaxed);
            }
            made.extend(group.iter().copied().zip(records));
        }
        made
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.clamp(1, groups.len().max(1))).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            for (index, record) in worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic)) {
                results[index] = Some(record);
            }
        }
    });
    results.into_iter().flatten().collect()
}

/// Makes the records of one group and keeps them.
fn run_group<J: Job>(
    group: &[usize],
    jobs: &[J],
    work: &[u64],
    data: &Data,
    store: &Store,
    observer: &dyn RunsObserver,
) -> Vec<Result<J::Record, Error>> {
    let observers: Vec<_> = group.iter().map(|&index| observer.started(index, work[index])).collect();
    let together: Vec<_> = group.iter().zip(&observers).map(|(&index, observer)| (&jobs[index], &**observer)).collect();
    let records = match J::run_together(&together, data) {
        Ok(records) => records,
        Err(error) => return vec![Err(error)],
    };
    let kept = together.iter().zip(records).map(|((job, _), record)| {
        let record = record?;
        store.put(&key(*job, data)?, &record)?;
        Ok(record)
    });
    kept.collect()
}

fn key<J: Job>(job: &J, data: &Data) -> Result<String, Error> {
    record::key(J::KIND, job, data.dataset.sha256())
}

/// The records of `jobs` on the dataset of checksum `sha256`, in their order, without making any.
///
/// # Errors
/// [`Error::Missing`] for the first that it lacks, and those of reading it.
pub fn found<J: Job>(jobs: &[J], sha256: &str, store: &Store) -> Result<Vec<J::Record>, Error> {
    let records = jobs.iter().map(|job| {
        let key = record::key(J::KIND, job, sha256)?;
        store.get(&key)?.ok_or_else(|| Error::Missing { path: store.path(&key) })
    });
    records.collect()
}
