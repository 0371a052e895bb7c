//! Mini-batch gradient descent.
//!
//! The L2 penalty has the gradient 2 lambda w, so the update of a weight is w <- (1 - 2 eta lambda) w - eta dL/dw,
//! where L is the loss.

use klayer_linalg::{Images, Par, Scalar, product};
use klayer_nn::{Gradients, Network, Workspace};

use crate::L2;

/// Stochastic gradient descent, theta <- theta - eta dJ/dtheta, with an L2 penalty on the weights.
#[derive(Debug, Clone)]
pub struct Sgd {
    /// The penalty.
    pub l2: L2,
    /// The threads that update the weights.
    pub par: Par,
}

impl Sgd {
    /// Runs the backward pass and an update step with learning rate `rate` at once. Call `forward_train` and
    /// `cross_entropy` on `x` first.
    ///
    /// Equivalent to [`Network::backward`] followed by [`Sgd::step`], without storing the gradients of the weights. On
    /// the kernels of klayer-linalg, the results are bitwise identical.
    ///
    /// # Shapes
    /// `x` d x n.
    ///
    /// # Errors
    /// Those of [`Network::backward`]; in all cases, the network is unchanged.
    pub fn descend<'x, T: Scalar>(
        &self,
        network: &mut Network<T>,
        x: impl Into<Images<'x, T>>,
        workspace: &mut Workspace<T>,
        rate: f64,
    ) -> Result<(), klayer_nn::Error> {
        network.descend(x, workspace, self.l2.decay(rate), T::from_f64(rate))
    }

    /// Performs an update step with learning rate `rate`. `gradients` are those of the loss, without the penalty.
    ///
    /// # Panics
    /// If `gradients` were created for another architecture.
    pub fn step<T: Scalar>(&self, network: &mut Network<T>, gradients: &Gradients<T>, rate: f64) {
        assert_eq!(network.architecture(), gradients.architecture(), "gradients of another network");
        let (decay, rate) = (self.l2.decay(rate), T::from_f64(rate));
        for (layer, gradient) in network.layers_mut().iter_mut().zip(&gradients.layers) {
            product::descend_along(&mut layer.affine.weight, &gradient.affine.weight, decay, rate, &self.par);
            for (bias, &g) in layer.affine.bias.iter_mut().zip(&gradient.affine.bias) {
                *bias -= rate * g;
            }
            if let (Some(norm), Some(gradient)) = (&mut layer.batch_norm, &gradient.batch_norm) {
                norm.descend(gradient, rate);
            }
        }
    }
}
