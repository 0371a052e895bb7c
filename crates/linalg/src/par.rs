use std::fmt;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Error;

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
    /// [`Error::Threads`] if the system does not grant them.
    pub fn threads(threads: usize) -> Result<Self, Error> {
        if threads <= 1 {
            return Ok(Self::Seq);
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        pool.map(|pool| Self::Pool(Arc::new(pool))).map_err(|source| Error::Threads { threads, source })
    }

    /// How many threads take part.
    pub fn count(&self) -> usize {
        match self {
            Self::Seq => 1,
            Self::Pool(pool) => pool.current_num_threads(),
        }
    }

    /// Runs `work` on one of the threads, so that what it does in parallel need not be handed over each time.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Seq => work(),
            Self::Pool(pool) => pool.install(work),
        }
    }

    /// Runs `a` and `b`, at the same time if there are threads for it.
    pub fn join<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        match self {
            Self::Seq => (a(), b()),
            Self::Pool(pool) => pool.join(a, b),
        }
    }

    /// Runs `work` on every item and its index, in any order.
    pub fn for_each<I: Send>(&self, items: &mut [I], work: &(impl Fn(usize, &mut I) + Sync)) {
        self.for_each_from(0, items, work);
    }

    fn for_each_from<I: Send>(&self, first: usize, items: &mut [I], work: &(impl Fn(usize, &mut I) + Sync)) {
        if items.len() <= 1 || matches!(self, Self::Seq) {
            for (i, item) in items.iter_mut().enumerate() {
                work(first + i, item);
            }
            return;
        }
        let middle = items.len() / 2;
        let (left, right) = items.split_at_mut(middle);
        self.join(|| self.for_each_from(first, left, work), || self.for_each_from(first + middle, right, work));
    }
}

impl fmt::Debug for Par {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Par({})", self.count())
    }
}
