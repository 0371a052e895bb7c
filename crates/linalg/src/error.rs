/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too many threads requested.
    #[error("{threads} threads requested, but at most {most} are supported")]
    TooManyThreads {
        /// The number of threads requested.
        threads: usize,
        /// The largest supported number of threads.
        most: usize,
    },
    /// The thread pool of a [`Par`](crate::Par) could not be started.
    #[error("cannot start {threads} threads: {error}")]
    Threads {
        /// The number of threads requested.
        threads: usize,
        /// The error of the thread pool.
        error: rayon::ThreadPoolBuildError,
    },
}
