//! L2 regularization.

use klayer_linalg::{Scalar, reduce, vectorize};
use klayer_nn::{Gradients, Network, Parameter};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The L2 penalty: lambda * sum over all weights w of w^2, with gradient 2 lambda w. Biases, gamma and beta are not
/// penalized.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct L2 {
    lambda: f64,
}

impl L2 {
    /// No penalty: lambda is 0.
    pub const NONE: Self = Self { lambda: 0.0 };

    /// Creates the penalty with factor `lambda`.
    ///
    /// # Errors
    /// [`Error::Lambda`] if `lambda` is negative or not finite.
    pub fn new(lambda: f64) -> Result<Self, Error> {
        if lambda.is_finite() && lambda >= 0.0 { Ok(Self { lambda }) } else { Err(Error::Lambda { lambda }) }
    }

    /// The factor lambda.
    pub fn lambda(self) -> f64 {
        self.lambda
    }

    /// Returns the term of one weight, lambda w^2.
    pub fn term(self, w: f64) -> f64 {
        self.lambda * w * w
    }

    /// Returns the penalty of all weights, which is the difference between the cost J and the loss.
    pub fn penalty<T: Scalar>(self, network: &Network<T>) -> f64 {
        let weights = network.parameters().filter(|part| part.kind == Parameter::Weight);
        let squares = vectorize(
            #[inline(always)]
            || weights.flat_map(|part| part.values.rows()).map(|row| reduce::dot(row, row).to_f64()).sum::<f64>(),
        );
        self.lambda * squares
    }

    /// Adds the gradient of the penalty to `gradients`, which turns the gradient of the loss into that of the cost J.
    ///
    /// Use this to inspect the gradient of J. [`Optimizer::step`](crate::Optimizer::step) already includes the penalty.
    ///
    /// # Panics
    /// If `gradients` were created for another architecture.
    pub fn add_gradient<T: Scalar>(self, network: &Network<T>, gradients: &mut Gradients<T>) {
        assert_eq!(network.architecture(), gradients.architecture(), "gradients of another network");
        for (part, mut gradient) in network.parameters().zip(gradients.parameters_mut()) {
            if part.kind == Parameter::Weight {
                for (i, weights) in part.values.rows().enumerate() {
                    for (g, &w) in gradient.values.unit_mut(i).iter_mut().zip(weights) {
                        *g += self.gradient(w);
                    }
                }
            }
        }
    }

    /// The gradient of the term of one weight, 2 lambda w.
    #[inline(always)]
    pub fn gradient<T: Scalar>(self, w: T) -> T {
        T::from_f64(2.0 * self.lambda) * w
    }
}

impl TryFrom<f64> for L2 {
    type Error = Error;

    fn try_from(lambda: f64) -> Result<Self, Error> {
        Self::new(lambda)
    }
}

impl From<L2> for f64 {
    fn from(l2: L2) -> Self {
        l2.lambda
    }
}
