//! One layer, and the order of its steps: affine map, then in hidden layers batch norm (if any), activation and dropout
//! (in training).

use klayer_linalg::product::{Inputs, Scratch};
use klayer_linalg::{Images, Par, RowMajor, Scalar};

use crate::Workspace;
use crate::affine::Affine;
use crate::batch_norm::{BatchNorm, BatchNormGradient};
use crate::workspace::HiddenWorkspace;

/// The parameters of a layer: an affine map, and in hidden layers, batch norm (if any).
#[derive(Debug, Clone)]
pub struct Layer<T> {
    /// W and b.
    pub affine: Affine<T>,
    /// gamma, beta and the running statistics; `None` in the last layer and in networks without batch norm.
    pub batch_norm: Option<BatchNorm<T>>,
}

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Batch norm uses the statistics of the mini-batch, and dropout is on.
    Training,
    /// Batch norm uses the running statistics.
    Inference,
}

/// What the update of a layer needs: the inputs and dJ/ds of its affine map, and the gradients of batch norm.
pub(crate) struct Backward<'a, T> {
    pub(crate) inputs: Inputs<'a, T>,
    pub(crate) g: &'a RowMajor<T>,
    /// `None` in the last layer; unspecified without batch norm.
    pub(crate) norm_gradient: Option<&'a BatchNormGradient<T>>,
    /// Memory for dJ/db, which the update fills.
    pub(crate) bias_gradient: &'a mut [T],
    pub(crate) scratch: &'a mut Scratch<T>,
    pub(crate) par: &'a Par,
}

impl<T: Scalar> Layer<T> {
    /// Runs a hidden layer from its affine output `space.s` to its output h.
    pub(crate) fn forward(&self, space: &mut HiddenWorkspace<T>, mode: Mode, par: &Par) {
        let input = space.values.input();
        match (&self.batch_norm, mode) {
            (Some(norm), Mode::Training) => norm.forward_train(&mut space.s, input, &mut space.batch, par),
            (Some(norm), Mode::Inference) => norm.infer(&space.s, input, par),
            (None, _) => input.copy_from(&space.s),
        }
        space.activation.function().forward(&mut space.values, par);
        if let (Some(mask), Mode::Training) = (space.mask, mode) {
            mask.apply(&mut space.values.h, par);
        }
    }

    /// Runs a hidden layer back from dJ/dh to dJ/ds of its affine output, and writes the gradients of batch norm.
    fn backward_hidden(&self, space: &mut HiddenWorkspace<T>, par: &Par) {
        if let Some(mask) = space.mask {
            mask.apply(&mut space.values.d_h, par);
        }
        space.activation.function().backward(&mut space.values, par);
        if let Some(norm) = &self.batch_norm {
            norm.backward(&space.s, &space.batch, space.values.input_gradient(), &mut space.norm_gradient, par);
        }
    }

    /// Runs layer `l` back, for the mini-batch `x`: from what the layer above wrote, or from the loss, to dJ/ds, and to
    /// dJ/dh of the layer below.
    pub(crate) fn backward<'a>(&self, l: usize, x: Images<'a, T>, workspace: &'a mut Workspace<T>) -> Backward<'a, T> {
        let Workspace { hidden, logits, bias_gradient, scratch, par, .. } = workspace;
        let (below, here) = hidden.split_at_mut(l);
        let (g, norm_gradient) = match here.first_mut() {
            Some(space) => {
                self.backward_hidden(space, par);
                (&*space.values.input_gradient(), Some(&space.norm_gradient))
            }
            // The cross-entropy has replaced the logits by their gradient.
            None => (&*logits, None),
        };
        let inputs = match below.last_mut() {
            Some(below) => {
                self.affine.backward_input(g, &mut below.values.d_h, scratch, par);
                Inputs::Hidden(&below.values.h)
            }
            None => Inputs::Images(x),
        };
        Backward { inputs, g, norm_gradient, bias_gradient: &mut bias_gradient[..g.nrows()], scratch, par }
    }
}
