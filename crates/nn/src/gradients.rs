//! The gradient of J with respect to every parameter, in the shape of the network.

use klayer_linalg::Scalar;

use crate::Architecture;
use crate::affine::Affine;
use crate::batch_norm::BatchNormGradient;

/// One gradient for each parameter of a network, allocated once and overwritten by every backward pass.
#[derive(Debug, Clone)]
pub struct Gradients<T> {
    architecture: Architecture,
    /// From the first layer to the last.
    pub layers: Vec<LayerGradients<T>>,
}

/// The gradients of one layer.
#[derive(Debug, Clone)]
pub struct LayerGradients<T> {
    /// dJ/dW and dJ/db.
    pub affine: Affine<T>,
    /// dJ/dgamma and dJ/dbeta, where the layer has batch norm.
    pub batch_norm: Option<BatchNormGradient<T>>,
}

impl<T: Scalar> Gradients<T> {
    /// Zeros for every parameter of `architecture`.
    pub fn zeros(architecture: &Architecture) -> Self {
        let last = architecture.depth() - 1;
        let layers = architecture.layers().enumerate().map(|(l, (inputs, outputs))| LayerGradients {
            affine: Affine::zeros(inputs, outputs),
            batch_norm: (l < last && architecture.batch_norm_eps().is_some())
                .then(|| BatchNormGradient::zeros(outputs)),
        });
        Self { layers: layers.collect(), architecture: architecture.clone() }
    }

    /// The architecture that they were made for.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }
}
