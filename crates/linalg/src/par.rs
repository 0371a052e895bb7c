use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, hint, thread};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, MatMut};

/// Threads that a pool can have.
const MOST_THREADS: usize = 1024;

/// Looks for work before a waiting thread offers its core to others.
const SPINS: u32 = 10_000;

/// On how many threads a computation runs; never what it computes.
#[derive(Clone, Default)]
pub enum Par {
    /// On the caller's thread.
    #[default]
    Seq,
    /// On the threads of a pool.
    Pool(Arc<ThreadPool>),
}

impl Par {
    /// A pool of `threads` threads, or [`Par::Seq`] for one (or none).
    ///
    /// # Errors
    /// [`Error::TooManyThreads`] for more than 1024, [`Error::Threads`] if the system does not grant them.
    pub fn threads(threads: usize) -> Result<Self, Error> {
        Self::check(threads)?;
        if threads <= 1 {
            return Ok(Self::Seq);
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        pool.map(|pool| Self::Pool(Arc::new(pool))).map_err(|error| Error::Threads { threads, error })
    }

    /// Refuses more threads than there can be, before any is started.
    ///
    /// # Errors
    /// [`Error::TooManyThreads`].
    pub fn check(threads: usize) -> Result<(), Error> {
        if threads > MOST_THREADS { Err(Error::TooManyThreads { threads, most: MOST_THREADS }) } else { Ok(()) }
    }

    /// How many threads take part.
    pub fn count(&self) -> usize {
        match self {
            Self::Seq => 1,
            Self::Pool(pool) => pool.current_num_threads(),
        }
    }

    /// Runs `work` on one of the threads, while the others wait awake for their share of what it does in parallel.
    ///
    /// A training step hands out work every hundred microseconds, and to wake a sleeping thread takes about as long.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let Self::Pool(pool) = self else { return work() };
        let work = Mutex::new(Some(work));
        let finished = Finished::default();
        let results = pool.broadcast(|_| {
            let mine = work.lock().expect("taking the work does not panic").take();
            if let Some(work) = mine {
                let _finish = FinishOnDrop(&finished);
                return Some(work());
            }
            finished.wait();
            None
        });
        results.into_iter().flatten().next().expect("one thread took the work")
    }

    /// Cuts `lines`, each `stride` long, into as many parts as there are threads, each a multiple of `together`
    /// lines, and runs `work` on every part and the index of its first line, in any order.
    ///
    /// What `work` makes of a line must not depend on how the lines are cut.
    pub fn for_lines<T: Send>(
        &self,
        lines: &mut [T],
        stride: usize,
        together: usize,
        work: &(impl Fn(usize, &mut [T]) + Sync),
    ) {
        self.share(self.count(), 0, Strided { memory: lines, stride }, together, &|first, lines| {
            work(first, lines.memory)
        });
    }

    /// Cuts the columns of `matrix` into as many parts as there are threads, at multiples of `together`, and runs
    /// `work` on every part and the index of its first column, in any order.
    ///
    /// What `work` makes of a column must not depend on how the columns are cut.
    pub fn for_columns<T: Send>(
        &self,
        matrix: MatMut<'_, T>,
        together: usize,
        work: &(impl Fn(usize, MatMut<'_, T>) + Sync),
    ) {
        self.share(self.count(), 0, matrix, together, work);
    }

    fn share<S: Share>(&self, parts: usize, first: usize, all: S, together: usize, work: &(impl Fn(usize, S) + Sync)) {
        let groups = all.count().div_ceil(together);
        match self {
            Self::Pool(pool) if parts > 1 && groups > 1 => {
                let left = parts / 2;
                let here = (groups * left).div_ceil(parts).min(groups - 1) * together;
                let (a, b) = all.split(here);
                join(
                    pool,
                    || self.share(left, first, a, together, work),
                    || self.share(parts - left, first + here, b, together, work),
                );
            }
            _ => work(first, all),
        }
    }
}

/// What threads can share out.
trait Share: Send + Sized {
    fn count(&self) -> usize;

    /// The first `count`, and the others.
    fn split(self, count: usize) -> (Self, Self);
}

/// The columns of a matrix.
impl<T: Send> Share for MatMut<'_, T> {
    fn count(&self) -> usize {
        self.ncols()
    }

    fn split(self, count: usize) -> (Self, Self) {
        self.split_at_col_mut(count)
    }
}

/// Lines, each `stride` long.
struct Strided<'a, T> {
    memory: &'a mut [T],
    stride: usize,
}

impl<T: Send> Share for Strided<'_, T> {
    fn count(&self) -> usize {
        self.memory.len().div_ceil(self.stride.max(1))
    }

    fn split(self, count: usize) -> (Self, Self) {
        let Self { memory, stride } = self;
        let (a, b) = memory.split_at_mut(count * stride);
        (Self { memory: a, stride }, Self { memory: b, stride })
    }
}

/// Runs both on the threads of `pool`, and waits awake for the one that another thread has taken.
fn join(pool: &ThreadPool, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    let finished = Finished::default();
    pool.join(
        || {
            a();
            finished.wait();
        },
        || {
            let _finish = FinishOnDrop(&finished);
            b();
        },
    );
}

/// Whether the work that threads wait for has come to its end.
#[derive(Default)]
struct Finished(AtomicBool);

impl Finished {
    /// Does what other work there is, until this work has come to its end.
    fn wait(&self) {
        let mut idle = 0_u32;
        while !self.0.load(Ordering::Acquire) {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                idle = 0;
            } else if idle < SPINS {
                idle += 1;
                hint::spin_loop();
            } else {
                // More threads than cores, or a long sequential part: let others have the core.
                thread::yield_now();
            }
        }
    }
}

/// Ends the work when dropped, also if it panics: the others must not wait for ever.
struct FinishOnDrop<'a>(&'a Finished);

impl Drop for FinishOnDrop<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Par {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Par({})", self.count())
    }
}
