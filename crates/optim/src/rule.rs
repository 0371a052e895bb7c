//! How a step changes parameters, given their gradients.

use klayer_linalg::Scalar;
use serde::{Deserialize, Serialize};

use crate::L2;

mod momentum;
mod sgd;

pub use momentum::Momentum;
pub use sgd::Sgd;

/// A rule that changes each parameter p along its gradient g. Except for plain gradient descent, it has one number for
/// each parameter to keep between steps, the state, which is 0 before the first.
///
/// [`Optimizer`](crate::Optimizer) applies a rule to a whole network: to a block of weights as soon as their gradient is
/// computed, while it is in the cache.
pub trait Rule: Copy + Sync {
    /// Changes the parameters `p`. `g` is the gradient of the loss, without the penalty of the step.
    ///
    /// Each element must be changed independently of the others: the method is called with any parts of the parameters.
    /// Mark it `#[inline(always)]`, so that its loop is compiled for the widest vectors of the processor.
    ///
    /// # Shapes
    /// `p` and `g` have the same length. So does `state`, except in plain gradient descent, where it is empty.
    fn update<T: Scalar>(&self, step: Step, p: &mut [T], g: &[T], state: &mut [T]);

    /// Plain gradient descent, if the rule is that: the kernels perform it while they store the gradient, without
    /// scratch memory and without a state.
    fn as_sgd(&self) -> Option<Sgd> {
        None
    }
}

/// The coefficients of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The learning rate.
    pub rate: f64,
    /// The penalty on these parameters: that of the weights, and [`L2::NONE`] for all others.
    pub l2: L2,
}

/// The rules that a setting can name.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// Plain gradient descent.
    #[default]
    Sgd,
    /// Gradient descent with momentum.
    Momentum(Momentum),
}

impl Rule for Method {
    #[inline(always)]
    fn update<T: Scalar>(&self, step: Step, p: &mut [T], g: &[T], state: &mut [T]) {
        match self {
            Self::Sgd => Sgd.update(step, p, g, state),
            Self::Momentum(momentum) => momentum.update(step, p, g, state),
        }
    }

    fn as_sgd(&self) -> Option<Sgd> {
        match self {
            Self::Sgd => Some(Sgd),
            Self::Momentum(momentum) => momentum.as_sgd(),
        }
    }
}
