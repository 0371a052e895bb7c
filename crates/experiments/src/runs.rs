//! Sets of independent runs: several at a time, each one once.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::RunConfig;
use crate::data::Data;
use crate::environment::Environment;
use crate::observer::{Observer, RunsObserver};
use crate::record::{self, RunRecord};
use crate::store::Store;
use crate::train::train;
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
}

impl Job for RunConfig {
    type Record = RunRecord;
    const KIND: &'static str = "run";

    fn work(&self, _: &Data) -> Result<u64, Error> {
        Ok(self.steps())
    }

    fn run(&self, data: &Data, observer: &dyn Observer) -> Result<RunRecord, Error> {
        let trained = train::<f32>(self, data, &Par::Seq, observer)?;
        Ok(RunRecord {
            config: self.clone(),
            dataset: data.info(),
            environment: Environment::here(1),
            seconds: trained.seconds,
            curve: trained.curve,
            diverged: trained.diverged,
            test: trained.test,
        })
    }
}

/// The records of `jobs`, in their order: those that `store` has, and the others made now, `threads` at a time, and
/// kept as soon as they are finished.
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
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut made = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return made };
            let record = run_one(index, job, data, store, observer);
            if record.is_err() {
                next.fetch_max(jobs.len(), Ordering::Relaxed);
            }
            made.push((index, record));
        }
    };
    let mut made: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.clamp(1, jobs.len().max(1))).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect()
    });
    made.sort_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, record)| record).collect()
}

fn run_one<J: Job>(
    index: usize,
    job: &J,
    data: &Data,
    store: &Store,
    observer: &dyn RunsObserver,
) -> Result<J::Record, Error> {
    let key = record::key(J::KIND, job, data.dataset.sha256())?;
    let work = job.work(data)?;
    if let Some(record) = store.get(&key)? {
        observer.found(index, work);
        return Ok(record);
    }
    let record = job.run(data, &*observer.started(index, work))?;
    store.put(&key, &record)?;
    Ok(record)
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
