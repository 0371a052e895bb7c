//! Mini-batch gradient descent.
//!
//! With the penalty's gradient 2 lambda w, a weight moves as w <- (1 - 2 eta lambda) w - eta dJ/dw.

use klayer_linalg::{Images, Par, Scalar, product};
use klayer_nn::{Gradients, Network, Workspace};

use crate::L2;

/// theta <- theta - eta dJ/dtheta, with the L2 penalty on the weights.
#[derive(Debug, Clone)]
pub struct Sgd {
    /// The penalty, whose gradient is added to that of the loss.
    pub l2: L2,
    /// The threads that share out the weights.
    pub par: Par,
}

impl Sgd {
    /// The backward pass and an update step at the learning rate `rate` in one, after `forward_train` and
    /// `cross_entropy` on `x`: what [`Network::backward`] and [`Sgd::step`] do, without a gradient of every weight in
    /// memory. On the kernels of klayer-linalg the bits are the same too.
    ///
    /// # Shapes
    /// `x` d x n.
    ///
    /// # Errors
    /// Those of [`Network::backward`]; the network is then unchanged.
    pub fn descend<'x, T: Scalar>(
        &self,
        network: &mut Network<T>,
        x: impl Into<Images<'x, T>>,
        workspace: &mut Workspace<T>,
        rate: f64,
    ) -> Result<(), klayer_nn::Error> {
        network.descend(x, workspace, self.l2.decay(rate), T::from_f64(rate))
    }

    /// One update step at the learning rate `rate`, along the gradients of the loss.
    ///
    /// # Panics
    /// If `gradients` were made for another architecture.
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
