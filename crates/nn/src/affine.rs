//! The affine map s = W x + b of a layer.
//!
//! With G = dJ/dS (m_out x n) for a mini-batch X (m_in x n):
//! - dJ/dW = G X^T, m_out x m_in
//! - dJ/db = the row sums of G
//! - dJ/dX = W^T G, m_in x n
//!
//! The factor 1/n is part of the loss, not of the layer.

use klayer_linalg::product::{self, Inputs, Scratch};
use klayer_linalg::random::fill_normal;
use klayer_linalg::{Par, RowMajor, Scalar, for_rows, reduce};
use rand::Rng;

/// The weights and biases of one layer.
#[derive(Debug, Clone)]
pub struct Affine<T> {
    /// W, m_out x m_in.
    pub weight: RowMajor<T>,
    /// b, m_out.
    pub bias: Vec<T>,
}

impl<T: Scalar> Affine<T> {
    /// Creates a layer of zeros. Also used for its gradient.
    pub fn zeros(inputs: usize, outputs: usize) -> Self {
        Self { weight: RowMajor::zeros(outputs, inputs), bias: vec![T::from_f64(0.0); outputs] }
    }

    /// Draws new weights from N(0, `deviation`^2), row by row. The biases are unchanged.
    pub fn draw(&mut self, deviation: f64, rng: &mut impl Rng) {
        fill_normal(&mut self.weight, deviation, rng);
    }

    /// Computes `s = W x + b`.
    ///
    /// # Shapes
    /// `x` m_in x n, `s` m_out x n; `scratch` created for a network with this layer.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn forward(&self, x: Inputs<'_, T>, s: &mut RowMajor<T>, scratch: &mut Scratch<T>, par: &Par) {
        product::outputs(s, &self.weight, x, scratch, par);
        for_rows(
            par,
            s.ncols(),
            [s.into()],
            #[inline(always)]
            |i, [s]| {
                let bias = self.bias[i];
                for s in s {
                    *s += bias;
                }
            },
        );
    }

    /// Computes the gradients of W and b and writes them to `gradient`.
    ///
    /// # Shapes
    /// `x` m_in x n, `g` (dJ/dS) m_out x n; `scratch` as in [`Affine::forward`].
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn backward(x: Inputs<'_, T>, g: &RowMajor<T>, gradient: &mut Self, scratch: &mut Scratch<T>, par: &Par) {
        product::weight_gradient(&mut gradient.weight, g, x, scratch, par);
        Self::backward_bias(g, &mut gradient.bias, par);
    }

    /// Computes the gradient of b and writes it to `gradient`.
    ///
    /// # Shapes
    /// `g` (dJ/dS) m_out x n, `gradient` m_out.
    pub fn backward_bias(g: &RowMajor<T>, gradient: &mut [T], par: &Par) {
        for_rows(
            par,
            g.ncols(),
            [gradient.into()],
            #[inline(always)]
            |i, [gradient]| gradient[0] = reduce::sum(g.row(i)),
        );
    }

    /// Computes the gradient with respect to the input and writes it to `d_x`.
    ///
    /// # Shapes
    /// `g` (dJ/dS) m_out x n, `d_x` m_in x n; `scratch` as in [`Affine::forward`].
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn backward_input(&self, g: &RowMajor<T>, d_x: &mut RowMajor<T>, scratch: &mut Scratch<T>, par: &Par) {
        product::input_gradient(d_x, &self.weight, g, scratch, par);
    }
}
