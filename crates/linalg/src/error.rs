/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The threads of a [`Par`](crate::Par) could not be started.
    #[error("{threads} threads could not be started: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the thread pool said.
        source: rayon::ThreadPoolBuildError,
    },
}
