//! Sets of independent runs, computed in parallel; each run is computed once.

use std::panic;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use klayer_linalg::product::BLOCK;
use klayer_store::{Claim, Owner, Recorded, Store, Taken};
use klayer_train::record::RunRecord;
use klayer_train::{Checkpoints, Data, Event, Observer, Par, Run, RunConfig, Silent, Trained, train_from};

use crate::Error;
use crate::left_over::left_over;

/// Settings that determine a record, and how to compute it.
pub trait Job: Recorded + Sync {
    /// Number of threads that a job uses efficiently; more give little speedup.
    fn threads(data: &Data) -> usize {
        let _ = data;
        1
    }

    /// The final count of [`Event::Progressed`]: update steps, or parameters.
    ///
    /// # Errors
    /// The errors of invalid settings.
    fn work(&self, data: &Data) -> Result<u64, Error>;

    /// Computes the record, resuming it if it was interrupted, on `par`. `par` has at most [`Job::threads`] threads
    /// and does not affect the result.
    ///
    /// # Errors
    /// The errors of the run, and [`Error::Cancelled`].
    fn compute(task: &Task<'_, Self>, data: &Data, par: &Par) -> Result<Self::Record, Error>;
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

impl<J: ?Sized> Task<'_, J> {
    /// Trains a network with the settings `config`, with the checkpoints and metrics of this task.
    ///
    /// # Errors
    /// Those of [`train()`].
    pub fn train(&self, config: &RunConfig, data: &Data, par: &Par) -> Result<Trained<f32>, Error> {
        let &Self { observer, ref checkpoints, ref metrics, .. } = self;
        train(&Run { config, observer, checkpoints: Some(checkpoints), metrics: Some(metrics) }, data, par)
    }
}

/// [`train_from`] in `f32`, compiled in this crate: the caller's crate needs no optimization of its own.
///
/// # Errors
/// Those of [`train_from`].
pub fn train(run: &Run<'_>, data: &Data, par: &Par) -> Result<Trained<f32>, Error> {
    Ok(train_from(run, data, par)?)
}

/// Observes a set of runs, several of which may run at the same time.
pub trait RunsObserver: Sync {
    /// Run `index` starts; `work` is the final count of [`Event::Progressed`]. The observer is dropped when the run
    /// ends.
    fn started(&self, index: usize, work: u64) -> Box<dyn Observer + '_>;

    /// The record of run `index` was found: it was computed earlier or by another process.
    fn found(&self, index: usize, work: u64) {
        let _ = (index, work);
    }

    /// The remaining `left` runs are all held by other processes, one of them by `owner`. Called every few seconds.
    fn waiting(&self, left: usize, owner: &str) {
        let _ = (left, owner);
    }

    /// Whether to cancel while waiting for other processes.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Ignores all events.
impl RunsObserver for Silent {
    fn started(&self, _: usize, _: u64) -> Box<dyn Observer + '_> {
        Box::new(Silent)
    }
}

impl Job for RunConfig {
    fn threads(data: &Data) -> usize {
        data.normalization.features().div_ceil(BLOCK).max(1)
    }

    fn work(&self, data: &Data) -> Result<u64, Error> {
        Ok(self.steps(data.dataset.training().len()))
    }

    fn compute(task: &Task<'_, Self>, data: &Data, par: &Par) -> Result<RunRecord, Error> {
        Ok(task.train(task.job, data, par)?.record(task.job, data))
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
/// [`klayer_train::Error::Threads`] if the system cannot start the threads; the first error of a job, in order. After an error no
/// job is started; running jobs finish first.
pub fn run_all<J: Job>(
    jobs: &[J],
    data: &Data,
    store: &Store,
    threads: usize,
    observer: &dyn RunsObserver,
) -> Result<Vec<J::Record>, Error> {
    Set::new(jobs, data, store, threads, observer)?.run()
}

/// [`run_all`], but runs one job after another, each on all threads: for a few long jobs, or to time them.
///
/// # Errors
/// Those of [`run_all`].
pub fn run_one_by_one<J: Job>(
    jobs: &[J],
    data: &Data,
    store: &Store,
    threads: usize,
    observer: &dyn RunsObserver,
) -> Result<Vec<J::Record>, Error> {
    Set { one_by_one: true, ..Set::new(jobs, data, store, threads, observer)? }.run()
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
    /// Whether to run one job after another, each on all threads.
    one_by_one: bool,
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

impl<'a, J: Job> Set<'a, J> {
    fn new(
        jobs: &'a [J],
        data: &'a Data,
        store: &'a Store,
        threads: usize,
        observer: &'a dyn RunsObserver,
    ) -> Result<Self, Error> {
        Par::check(threads)?;
        let work = jobs.iter().map(|job| job.work(data)).collect::<Result<Vec<_>, _>>()?;
        let keys = jobs.iter().map(|job| job.key(data.dataset.sha256())).collect::<Result<_, _>>()?;
        Ok(Self { jobs, work, keys, data, store, threads: threads.max(1), one_by_one: false, observer })
    }

    /// The records of all jobs, in order.
    fn run(&self) -> Result<Vec<J::Record>, Error> {
        let mut records: Vec<_> = self.jobs.iter().map(|_| None).collect();
        self.find(&mut records)?;
        if records.iter().any(Option::is_none) {
            let owner = self.store.owner()?;
            while records.iter().any(Option::is_none) {
                let missing: Vec<_> = (0..self.jobs.len()).filter(|&index| records[index].is_none()).collect();
                let mut elsewhere = None;
                for (index, outcome) in self.make(&missing, &owner)? {
                    match outcome? {
                        Outcome::Record(record) => records[index] = Some(record),
                        Outcome::Elsewhere(name) => elsewhere = Some(name),
                    }
                }
                let left = records.iter().filter(|record| record.is_none()).count();
                if let Some(name) = elsewhere.filter(|_| left == missing.len()) {
                    self.wait(left, &name, owner.beat())?;
                }
                self.find(&mut records)?;
            }
        }
        Ok(records.into_iter().flatten().collect())
    }

    /// Adds the records in the store.
    fn find(&self, records: &mut [Option<J::Record>]) -> Result<(), Error> {
        for (index, record) in records.iter_mut().enumerate().filter(|(_, record)| record.is_none()) {
            *record = self.store.record::<J>(&self.keys[index])?;
            if record.is_some() {
                self.observer.found(index, self.work[index]);
            }
        }
        Ok(())
    }

    /// Runs those of the jobs `missing` that no other process runs. The outcomes are in the order of the jobs.
    fn make(&self, missing: &[usize], owner: &Owner) -> Result<Outcomes<J::Record>, Error> {
        let work: Vec<_> = missing.iter().map(|&index| self.work[index]).collect();
        let wide = if self.one_by_one { work.len() } else { left_over(&work, self.threads, J::threads(self.data)) };
        let (wide, narrow) = missing.split_at(wide);
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
            made = make(wide, &AtomicUsize::new(0), &Par::threads(self.threads.min(J::threads(self.data)))?);
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
        let held = || claim.held();
        let (key, every) = (&self.keys[index], self.store.checkpoint_interval());
        let task = Task {
            job: &self.jobs[index],
            observer: &observer,
            checkpoints: Checkpoints::shared(self.store.checkpoint(key), every, &held),
            metrics: self.store.metrics(key),
        };
        let record = J::compute(&task, self.data, par);
        self.keep(index, &claim, &task, record)
    }

    /// Locks a job, unless another process holds it or has just finished it.
    fn take(&self, index: usize, owner: &Owner) -> Result<Result<Claim, Outcome<J::Record>>, Error> {
        let key = &self.keys[index];
        let claim = match owner.take(key)? {
            Taken::Ours(claim) => claim,
            Taken::Others(name) => return Ok(Err(Outcome::Elsewhere(name))),
        };
        let Some(record) = self.store.record::<J>(key)? else { return Ok(Ok(claim)) };
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
        if let Some(record) = self.store.record::<J>(&self.keys[index])? {
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
    fn on(&self, event: &Event<'_>) {
        self.observer.on(event);
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled() || self.claim.lost()
    }
}
