//! The gradient of J with respect to every parameter, in the shape of the network.

use klayer_linalg::Scalar;

use crate::Architecture;
use crate::affine::Affine;
use crate::batch_norm::BatchNormGradient;

/// The gradient of every parameter of a network. Allocated once; each backward pass overwrites it.
#[derive(Debug, Clone)]
pub struct Gradients<T> {
    architecture: Architecture,
    /// The gradients of each layer, from first to last.
    pub layers: Vec<LayerGradients<T>>,
}

/// The gradients of one layer.
#[derive(Debug, Clone)]
pub struct LayerGradients<T> {
    /// dJ/dW and dJ/db.
    pub affine: Affine<T>,
    /// dJ/dgamma and dJ/dbeta, if the layer has batch norm.
    pub batch_norm: Option<BatchNormGradient<T>>,
}

impl<T: Scalar> Gradients<T> {
    /// Creates gradients of zeros for every parameter of `architecture`.
    pub fn zeros(architecture: &Architecture) -> Self {
        let last = architecture.depth() - 1;
        let layers = architecture.layers().enumerate().map(|(l, (inputs, outputs))| LayerGradients {
            affine: Affine::zeros(inputs, outputs),
            batch_norm: (l < last && architecture.batch_norm_eps().is_some())
                .then(|| BatchNormGradient::zeros(outputs)),
        });
        Self { layers: layers.collect(), architecture: architecture.clone() }
    }

    /// The architecture that the gradients were created for.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }
}
