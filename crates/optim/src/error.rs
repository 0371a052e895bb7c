/// The errors of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Invalid learning rates of a cycle.
    #[error("invalid learning rates from {eta_min} to {eta_max}: expected 0 <= eta_min <= eta_max < infinity")]
    Rates {
        /// The smallest rate.
        eta_min: f64,
        /// The largest rate.
        eta_max: f64,
    },
    /// A cycle without steps.
    #[error("n_s is 0, but must be at least 1")]
    NoSteps,
    /// Invalid learning rates of a ramp.
    #[error(
        "invalid learning-rate range from {eta_min} to {eta_max}: expected 0 <= first < last < infinity, and \
         first > 0 for exponential growth"
    )]
    Ramp {
        /// The smallest rate.
        eta_min: f64,
        /// The largest rate.
        eta_max: f64,
    },
    /// Too few steps for a ramp.
    #[error("a learning-rate range needs at least two steps, got {steps}")]
    RampSteps {
        /// The number of steps.
        steps: u64,
    },
    /// A negative, infinite or NaN lambda.
    #[error("lambda is {lambda}, but must be finite and at least 0")]
    Lambda {
        /// The lambda.
        lambda: f64,
    },
    /// A factor of momentum outside [0, 1).
    #[error("the momentum is {mu}, but must be at least 0 and less than 1")]
    Momentum {
        /// The factor.
        mu: f64,
    },
    /// A negative, infinite or NaN learning rate.
    #[error("the learning rate is {rate}, but must be finite and at least 0")]
    Rate {
        /// The rate.
        rate: f64,
    },
    /// A part of the steps outside [0, 1).
    #[error("the warm-up takes {warmup} of the steps, but must be at least 0 and less than 1")]
    Warmup {
        /// The part of the steps.
        warmup: f64,
    },
    /// A schedule that falls to 0 in no steps.
    #[error("a cosine schedule needs at least one step")]
    NoCosineSteps,
    /// The state of an optimizer with another rule or for another network.
    #[error("the optimizer's state has {found} numbers, but its rule and the network need {expected}")]
    State {
        /// How many numbers it has.
        found: usize,
        /// How many were expected.
        expected: usize,
    },
}
