//! The activations that the forward pass stores for the backward pass, allocated once.

use klayer_linalg::product::Scratch;
use klayer_linalg::{Par, RowMajor, Scalar};

use crate::activation::{Activation, Values};
use crate::batch_norm::{BatchNormGradient, Statistics};
use crate::cross_entropy::{Losses, cross_entropy};
use crate::dropout::Mask;
use crate::{Architecture, Error, Objective};

/// The activations of a network for mini-batches of one size, the objective of training, and the threads that compute.
#[derive(Debug, Clone)]
pub struct Workspace<T> {
    pub(crate) architecture: Architecture,
    pub(crate) images: usize,
    pub(crate) par: Par,
    pub(crate) hidden: Vec<HiddenWorkspace<T>>,
    /// The affine output of the last layer, classes x n, which the cross-entropy replaces by dJ/ds.
    pub(crate) logits: RowMajor<T>,
    /// Scratch memory of the products.
    pub(crate) scratch: Scratch<T>,
    /// dJ/db of one layer, as long as the widest.
    pub(crate) bias_gradient: Vec<T>,
    pub(crate) losses: Losses<T>,
    pub(crate) stage: Stage,
    objective: Objective,
    step: u64,
}

/// The activations of one hidden layer of m units for n images.
#[derive(Debug, Clone)]
pub(crate) struct HiddenWorkspace<T> {
    pub(crate) activation: Activation,
    /// The affine output s, m x n, which batch norm replaces by s_hat.
    pub(crate) s: RowMajor<T>,
    /// The values from the activation to the output h.
    pub(crate) values: Values<T>,
    /// The dropout of the last forward pass in training mode.
    pub(crate) mask: Option<Mask>,
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
        let hidden = architecture.hidden().iter().zip(architecture.activations());
        let widest = architecture.layers().map(|(_, outputs)| outputs).max().unwrap_or(0);
        Self {
            hidden: hidden.map(|(&units, &activation)| HiddenWorkspace::new(activation, units, images)).collect(),
            logits: RowMajor::zeros(architecture.classes(), images),
            scratch: Scratch::new(architecture.layers(), images, &par),
            architecture: architecture.clone(),
            images,
            par,
            bias_gradient: vec![T::from_f64(0.0); widest],
            losses: Losses::new(images),
            stage: Stage::Idle,
            objective: Objective::default(),
            step: 0,
        }
    }

    /// Sets what training minimizes. A new workspace has no dropout and no smoothing.
    pub fn set_objective(&mut self, objective: Objective) {
        self.objective = objective;
    }

    /// Sets the index of the step, which determines the masks of dropout. A new workspace is at step 0.
    pub fn set_step(&mut self, step: u64) {
        self.step = step;
    }

    /// What training minimizes.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// The architecture that the workspace was created for.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Number of images in a mini-batch, n.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The plain cross-entropy of each image, from the last call of `cross_entropy`.
    pub fn image_losses(&self) -> &[T] {
        &self.losses.losses
    }

    /// The cross-entropy of each image with the labels of the objective, of which `backward` computes the gradient of
    /// the mean: [`Workspace::image_losses`] without label smoothing.
    pub fn image_objectives(&self) -> &[T] {
        if self.objective.smoothing() > 0.0 { &self.losses.smoothed } else { &self.losses.losses }
    }

    /// The outputs h of hidden layer `layer` (counted from 0), after its activation and dropout, from the last forward
    /// pass.
    ///
    /// # Shapes
    /// outputs x n, see [`Architecture::outputs`].
    ///
    /// # Panics
    /// If `layer` is not a hidden layer.
    pub fn hidden(&self, layer: usize) -> &RowMajor<T> {
        assert!(layer < self.hidden.len(), "index {layer} is out of bounds for {} hidden layers", self.hidden.len());
        &self.hidden[layer].values.h
    }

    /// The outputs of the last layer: the logits of the last forward pass, or, after `cross_entropy`, their gradient.
    ///
    /// # Shapes
    /// classes x n.
    pub fn outputs(&self) -> &RowMajor<T> {
        &self.logits
    }

    /// Checks that a backward pass is possible.
    pub(crate) fn check_loss(&self) -> Result<(), Error> {
        if self.stage == Stage::Loss { Ok(()) } else { Err(Error::NoLoss) }
    }

    /// Draws the masks of dropout for the step, to be used by the next forward and backward pass.
    pub(crate) fn draw_masks(&mut self) {
        for (l, space) in self.hidden.iter_mut().enumerate() {
            space.mask = self.objective.dropout.map(|dropout| dropout.mask(self.step, l));
        }
    }

    /// The affine output of layer `l`.
    pub(crate) fn affine_output_mut(&mut self, l: usize) -> &mut RowMajor<T> {
        self.hidden.get_mut(l).map_or(&mut self.logits, |space| &mut space.s)
    }

    /// Computes the mean cross-entropy of the logits, and replaces them by the gradient of the objective.
    pub(crate) fn cross_entropy(&mut self, labels: &[u8]) -> Result<f64, Error> {
        cross_entropy(&mut self.logits, labels, self.objective.smoothing(), &mut self.losses)
    }
}

impl<T: Scalar> HiddenWorkspace<T> {
    pub(crate) fn new(activation: Activation, units: usize, images: usize) -> Self {
        Self {
            activation,
            s: RowMajor::zeros(units, images),
            values: Values::new(activation, units, images),
            mask: None,
            batch: Statistics::zeros(units),
            norm_gradient: BatchNormGradient::zeros(units),
        }
    }
}
