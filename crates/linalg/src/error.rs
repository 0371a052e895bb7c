/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More threads than any machine has cores.
    #[error("{threads} threads are more than the {most} that can be used")]
    TooManyThreads {
        /// How many were asked for.
        threads: usize,
        /// How many there can be.
        most: usize,
    },
    /// The threads of a [`Par`](crate::Par) could not be started.
    #[error("{threads} threads could not be started: {error}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the thread pool said.
        error: rayon::ThreadPoolBuildError,
    },
}
