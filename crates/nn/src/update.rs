use klayer_linalg::RowMajor;
use klayer_linalg::product::{Inputs, Scratch};

use crate::Parameter;

/// What [`Network::update`](crate::Network::update) does with the gradients of a backward pass.
///
/// It is called with the parameters of each layer, from the last to the first. The gradients are those of the loss.
pub trait Update<T> {
    /// Changes the weights of layer `layer` (from 0), whose gradient is the product `g x^T`. It is not computed yet, so
    /// that computing it and changing the weights can be one pass through memory, for which `scratch` is allocated.
    ///
    /// # Shapes
    /// `weight` m x k, `g` (dJ/dS) m x n, `x` k x n.
    fn weight(
        &mut self,
        layer: usize,
        weight: &mut RowMajor<T>,
        g: &RowMajor<T>,
        x: Inputs<'_, T>,
        scratch: &mut Scratch<T>,
    );

    /// Changes the biases, gammas or betas of layer `layer`.
    ///
    /// # Shapes
    /// `values` and `gradient` m.
    fn vector(&mut self, layer: usize, parameter: Parameter, values: &mut [T], gradient: &[T]);
}
