use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, hint, thread};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, MatMut};

/// Maximum number of threads in a pool.
const MOST_THREADS: usize = 1024;

/// Number of times that a waiting thread looks for work before it yields its core.
const SPINS: u32 = 10_000;

/// The threads on which a computation runs. Results do not depend on their number.
#[derive(Clone, Default)]
pub enum Par {
    /// The caller's thread.
    #[default]
    Seq,
    /// The threads of a pool.
    Pool(Arc<ThreadPool>),
}

impl Par {
    /// Starts a pool of `threads` threads, or returns [`Par::Seq`] if `threads` is 0 or 1.
    ///
    /// # Errors
    /// [`Error::TooManyThreads`] for more than 1024 threads, [`Error::Threads`] if the system cannot start them.
    pub fn threads(threads: usize) -> Result<Self, Error> {
        Self::check(threads)?;
        if threads <= 1 {
            return Ok(Self::Seq);
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        pool.map(|pool| Self::Pool(Arc::new(pool))).map_err(|error| Error::Threads { threads, error })
    }

    /// Checks the number of threads without starting any.
    ///
    /// # Errors
    /// [`Error::TooManyThreads`] for more than 1024 threads.
    pub fn check(threads: usize) -> Result<(), Error> {
        if threads > MOST_THREADS { Err(Error::TooManyThreads { threads, most: MOST_THREADS }) } else { Ok(()) }
    }

    /// The number of threads.
    pub fn count(&self) -> usize {
        match self {
            Self::Seq => 1,
            Self::Pool(pool) => pool.current_num_threads(),
        }
    }

    /// Runs `work` on one thread of the pool while the others spin, waiting for its parallel parts.
    ///
    /// A training step starts a parallel part about every hundred microseconds, and waking a sleeping thread takes
    /// about as long.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let Self::Pool(pool) = self else { return work() };
        let work = Mutex::new(Some(work));
        let finished = Finished::default();
        let results = pool.broadcast(|_| {
            let mine = work.lock().expect("no thread panics while it holds the lock").take();
            if let Some(work) = mine {
                let _finish = FinishOnDrop(&finished);
                return Some(work());
            }
            finished.wait();
            None
        });
        results.into_iter().flatten().next().expect("one thread took the work")
    }

    /// Splits `lines`, each `stride` long, into one part per thread and calls `work` with the index of the first line
    /// of each part and the part, in any order. The length of every part except the last is a multiple of `together`
    /// lines.
    ///
    /// The result for a line must not depend on where the lines are split.
    pub fn for_lines<T: Send>(
        &self,
        lines: &mut [T],
        stride: usize,
        together: usize,
        work: &(impl Fn(usize, &mut [T]) + Sync),
    ) {
        self.share(&mut self.each(), 0, Strided { memory: lines, stride }, together, &|first, lines, _| {
            work(first, lines.memory)
        });
    }

    /// As [`for_lines`](Self::for_lines), with one element of `own` for each part: memory that a part needs besides its
    /// lines.
    ///
    /// # Panics
    /// If there are fewer elements than threads.
    pub fn for_lines_with<T: Send, O: Send>(
        &self,
        lines: &mut [T],
        stride: usize,
        together: usize,
        own: &mut [O],
        work: &(impl Fn(usize, &mut [T], &mut O) + Sync),
    ) {
        assert!(own.len() >= self.count(), "{} elements for {} threads", own.len(), self.count());
        let own = &mut own[..self.count()];
        self.share(own, 0, Strided { memory: lines, stride }, together, &|first, lines, own| {
            work(first, lines.memory, own)
        });
    }

    /// Splits the columns of `matrix` into one part per thread, at multiples of `together`, and calls `work` with the
    /// index of the first column of each part and the part, in any order.
    ///
    /// The result for a column must not depend on where the columns are split.
    pub fn for_columns<T: Send>(
        &self,
        matrix: MatMut<'_, T>,
        together: usize,
        work: &(impl Fn(usize, MatMut<'_, T>) + Sync),
    ) {
        self.share(&mut self.each(), 0, matrix, together, &|first, columns, _| work(first, columns));
    }

    /// Nothing for each thread. Allocates nothing.
    pub(crate) fn each(&self) -> Vec<()> {
        vec![(); self.count()]
    }

    /// Splits `all` into one part for each element of `scratch`, at multiples of `together`, and calls `work` with the
    /// index of the first item of each part, the part and its scratch memory, in any order.
    pub(crate) fn share<S: Share, W: Send>(
        &self,
        scratch: &mut [W],
        first: usize,
        all: S,
        together: usize,
        work: &(impl Fn(usize, S, &mut W) + Sync),
    ) {
        let (parts, groups) = (scratch.len(), all.count().div_ceil(together));
        match self {
            Self::Pool(pool) if parts > 1 && groups > 1 => {
                let left = parts / 2;
                let here = (groups * left).div_ceil(parts).min(groups - 1) * together;
                let (a, b) = all.split(here);
                let (mine, theirs) = scratch.split_at_mut(left);
                join(
                    pool,
                    || self.share(mine, first, a, together, work),
                    || self.share(theirs, first + here, b, together, work),
                );
            }
            _ => work(first, all, &mut scratch[0]),
        }
    }
}

/// Data that can be split between threads.
pub(crate) trait Share: Send + Sized {
    fn count(&self) -> usize;

    /// Splits after the first `count` elements.
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

/// Two pieces of data with equal counts, split at the same place.
impl<A: Share, B: Share> Share for (A, B) {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn split(self, count: usize) -> (Self, Self) {
        let ((a, after_a), (b, after_b)) = (self.0.split(count), self.1.split(count));
        ((a, b), (after_a, after_b))
    }
}

/// Lines of length `stride`.
#[derive(Debug)]
pub(crate) struct Strided<'a, T> {
    pub(crate) memory: &'a mut [T],
    pub(crate) stride: usize,
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

/// Runs both closures on the threads of `pool`, spinning while another thread finishes its half.
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

/// A flag that is set once the work is finished.
#[derive(Default)]
struct Finished(AtomicBool);

impl Finished {
    /// Runs other pending work until this work is finished.
    fn wait(&self) {
        let mut idle = 0_u32;
        while !self.0.load(Ordering::Acquire) {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                idle = 0;
            } else if idle < SPINS {
                idle += 1;
                hint::spin_loop();
            } else {
                // More threads than cores, or a long sequential part: yield the core.
                thread::yield_now();
            }
        }
    }
}

/// Marks the work as finished when dropped, even on a panic, so that the other threads do not wait forever.
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
