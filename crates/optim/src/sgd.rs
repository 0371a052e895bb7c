//! Mini-batch gradient descent.

use klayer_linalg::{Par, Scalar, vectorize};
use klayer_nn::{Gradients, Network};

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
    /// One update step at the learning rate `rate`, along the gradients of the loss.
    ///
    /// # Panics
    /// If `gradients` were made for another architecture.
    pub fn step<T: Scalar>(&self, network: &mut Network<T>, gradients: &Gradients<T>, rate: f64) {
        assert_eq!(network.architecture(), gradients.architecture(), "gradients of another network");
        let rate = T::from_f64(rate);
        for (layer, gradient) in network.layers_mut().iter_mut().zip(&gradients.layers) {
            layer.affine.weight.for_rows(&self.par, &|i, weights| {
                vectorize(
                    #[inline(always)]
                    || {
                        for (w, &g) in weights.iter_mut().zip(gradient.affine.weight.row(i)) {
                            *w -= rate * (g + self.l2.gradient(*w));
                        }
                    },
                );
            });
            descend(&mut layer.affine.bias, &gradient.affine.bias, rate);
            if let (Some(norm), Some(gradient)) = (&mut layer.batch_norm, &gradient.batch_norm) {
                descend(&mut norm.gamma, &gradient.gamma, rate);
                descend(&mut norm.beta, &gradient.beta, rate);
            }
        }
    }
}

fn descend<T: Scalar>(parameters: &mut [T], gradient: &[T], rate: T) {
    for (parameter, &g) in parameters.iter_mut().zip(gradient) {
        *parameter -= rate * g;
    }
}
