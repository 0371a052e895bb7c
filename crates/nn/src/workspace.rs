//! The activations that the forward pass stores for the backward pass, allocated once.

use klayer_linalg::product::BlockSums;
use klayer_linalg::{Par, RowMajor, Scalar};

use crate::batch_norm::{BatchNormGradient, Statistics};
use crate::cross_entropy::{Losses, cross_entropy};
use crate::{Architecture, Error};

/// The activations of a network for mini-batches of one size, and the threads that compute them.
#[derive(Debug, Clone)]
pub struct Workspace<T> {
    pub(crate) architecture: Architecture,
    pub(crate) images: usize,
    pub(crate) par: Par,
    pub(crate) layers: Vec<LayerWorkspace<T>>,
    /// Scratch memory of the first layer.
    pub(crate) sums: BlockSums<T>,
    /// dJ/db of one layer, as long as the widest.
    pub(crate) bias_gradient: Vec<T>,
    pub(crate) losses: Losses<T>,
    pub(crate) stage: Stage,
}

/// The activations of one layer of m units for n images; every matrix is m x n.
#[derive(Debug, Clone)]
pub(crate) struct LayerWorkspace<T> {
    /// The affine output s, which batch norm replaces by s_hat. In the last layer, the logits, which the cross-entropy
    /// replaces by dJ/ds.
    pub(crate) s: RowMajor<T>,
    /// The output h; empty in the last layer.
    pub(crate) h: RowMajor<T>,
    /// dJ/dh, which the backward pass replaces by dJ/ds; empty in the last layer.
    pub(crate) gradient: RowMajor<T>,
    /// The mean and variance of the mini-batch.
    pub(crate) batch: Statistics<T>,
    /// dJ/dgamma and dJ/dbeta.
    pub(crate) norm_gradient: BatchNormGradient<T>,
}

/// The progress of a pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stage {
    /// No backward pass is possible: the workspace is new, or was used for inference.
    Idle,
    /// `forward_train` has run.
    Forward,
    /// `cross_entropy` has run: the last layer holds dJ/ds.
    Loss,
}

impl<T: Scalar> Workspace<T> {
    /// Allocates a workspace for mini-batches of exactly `images` images.
    pub fn new(architecture: &Architecture, images: usize, par: Par) -> Self {
        let last = architecture.depth() - 1;
        let layers = architecture.layers().enumerate().map(|(l, (_, outputs))| {
            let hidden_units = if l < last { outputs } else { 0 };
            LayerWorkspace {
                s: RowMajor::zeros(outputs, images),
                h: RowMajor::zeros(hidden_units, images),
                gradient: RowMajor::zeros(hidden_units, images),
                batch: Statistics::zeros(hidden_units),
                norm_gradient: BatchNormGradient::zeros(hidden_units),
            }
        });
        let (inputs, units) = (architecture.inputs(), architecture.widths()[1]);
        let widest = architecture.layers().map(|(_, outputs)| outputs).max().unwrap_or(0);
        Self {
            layers: layers.collect(),
            sums: BlockSums::new(units, inputs, images),
            architecture: architecture.clone(),
            images,
            par,
            bias_gradient: vec![T::from_f64(0.0); widest],
            losses: Losses::new(images),
            stage: Stage::Idle,
        }
    }

    /// The architecture that the workspace was created for.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Number of images in a mini-batch, n.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The cross-entropy of each image, from the last call of `cross_entropy`.
    pub fn image_losses(&self) -> &[T] {
        &self.losses.losses
    }

    /// The outputs h of hidden layer `layer` (counted from 0), after ReLU, from the last forward pass.
    ///
    /// # Shapes
    /// m x n.
    ///
    /// # Panics
    /// If `layer` is not a hidden layer.
    pub fn hidden(&self, layer: usize) -> &RowMajor<T> {
        assert!(
            layer + 1 < self.layers.len(),
            "index {layer} is out of bounds for {} hidden layers",
            self.layers.len() - 1
        );
        &self.layers[layer].h
    }

    /// The outputs of the last layer: the logits of the last forward pass, or, after `cross_entropy`, their gradient.
    ///
    /// # Shapes
    /// classes x n.
    pub fn outputs(&self) -> &RowMajor<T> {
        &self.layers[self.layers.len() - 1].s
    }

    /// Checks that a backward pass is possible.
    pub(crate) fn check_loss(&self) -> Result<(), Error> {
        if self.stage == Stage::Loss { Ok(()) } else { Err(Error::NoLoss) }
    }

    /// Computes the mean cross-entropy of the logits in the last layer, and replaces them by their gradient.
    pub(crate) fn cross_entropy(&mut self, labels: &[u8]) -> Result<f64, Error> {
        let logits = &mut self.layers.last_mut().expect("an architecture has a layer").s;
        cross_entropy(logits, labels, &mut self.losses)
    }
}
