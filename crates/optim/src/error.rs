/// What can go wrong in this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Learning rates that do not make a cycle.
    #[error("learning rates from {eta_min} to {eta_max} make no cycle: 0 <= eta_min <= eta_max < infinity is needed")]
    Rates {
        /// The smallest rate.
        eta_min: f64,
        /// The largest rate.
        eta_max: f64,
    },
    /// A cycle of no steps.
    #[error("n_s is 0: a cycle needs at least one update step up and one down")]
    NoSteps,
    /// Learning rates between which none can rise.
    #[error(
        "learning rates from {eta_min} to {eta_max} make no range: the first must be at least 0 and below the last, which \
         must be finite, and where the rate grows by a factor the first must be above 0"
    )]
    Ramp {
        /// The smallest rate.
        eta_min: f64,
        /// The largest rate.
        eta_max: f64,
    },
    /// A rise of no steps.
    #[error("a rate cannot rise in {steps} steps: at least two are needed")]
    RampSteps {
        /// How many there were to be.
        steps: u64,
    },
    /// A lambda below 0, infinite or not a number.
    #[error("lambda is {lambda}, but must be a number of at least 0")]
    Lambda {
        /// The lambda.
        lambda: f64,
    },
}
