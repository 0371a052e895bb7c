//! Evaluates the loss of a network with one parameter moved by a step in either direction.
//!
//! A parameter of unit i affects only row i of its layer: a step h of a weight W_ij or bias b_i moves the affine output
//! s_i by h x_j or h, and batch norm and ReLU of this unit give the new output of the unit. The affine output of the
//! layer above changes by column i of its weights times the change of that output; everything above is recomputed. This
//! makes it feasible to check all 150,000 weights of a first layer.

use std::rc::Rc;
use std::{iter, mem};

use klayer_linalg::product::{BlockSums, Inputs};
use klayer_linalg::{Columns, Par, RowMajor, vectorize};

use crate::batch_norm::{BatchNorm, Statistics};
use crate::{Error, Network, Workspace, relu};

/// Evaluates the loss of a network with one parameter of one unit moved by `step` in either direction.
pub(crate) struct Probe<'a> {
    network: &'a Network<f64>,
    labels: &'a [u8],
    step: f64,
    /// The input and the affine output of each layer, with no parameter moved.
    inputs: Vec<Rc<RowMajor<f64>>>,
    outputs: Vec<RowMajor<f64>>,
    /// The unit whose parameters move: its layer, and its index in the layer.
    layer: usize,
    place: usize,
    unit: Unit,
    here: Pass,
    ahead: Pass,
}

/// The unit whose parameters move, as a layer of one unit.
pub(crate) struct Unit {
    /// Its affine output, 1 x n; batch norm replaces it by s_hat.
    s: RowMajor<f64>,
    batch_norm: Option<BatchNorm<f64>>,
    batch: Statistics<f64>,
}

/// The results of a pass.
#[derive(Clone)]
struct Pass {
    /// The output of the moved unit, 1 x n; unused in the last layer.
    h: RowMajor<f64>,
    /// The layers above it.
    workspace: Workspace<f64>,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(
        network: &'a Network<f64>,
        x: Columns<'_, f64>,
        labels: &'a [u8],
        step: f64,
    ) -> Result<Self, Error> {
        let images = x.ncols();
        let mut workspace = Workspace::new(network.architecture(), images, Par::Seq);
        network.clone().forward_train(x, &mut workspace)?.cross_entropy(labels)?;
        let mut first = RowMajor::zeros(x.nrows(), images);
        first.as_mut().copy_from(x.as_mat());
        let hidden = workspace.layers[..network.layers.len() - 1].iter().map(|space| space.h.clone());
        let inputs: Vec<_> = iter::once(first).chain(hidden).map(Rc::new).collect();
        let outputs = network.layers.iter().zip(&inputs).map(|(layer, input)| {
            let mut s = RowMajor::zeros(layer.affine.bias.len(), images);
            layer.affine.forward(Inputs::Hidden(input), &mut s, &mut BlockSums::none(), &Par::Seq);
            s
        });
        let row = RowMajor::zeros(1, images);
        let pass = Pass { h: row.clone(), workspace };
        Ok(Self {
            outputs: outputs.collect(),
            inputs,
            network,
            labels,
            step,
            layer: 0,
            place: 0,
            unit: Unit { s: row, batch_norm: None, batch: Statistics::zeros(1) },
            ahead: pass.clone(),
            here: pass,
        })
    }

    /// Selects the unit `place` of `layer`, and returns the input of the layer.
    pub(crate) fn go_to(&mut self, layer: usize, place: usize) -> Rc<RowMajor<f64>> {
        (self.layer, self.place) = (layer, place);
        let batch_norm = self.network.layers[layer].batch_norm.as_ref();
        self.unit.batch_norm = batch_norm.map(|batch_norm| BatchNorm::new(1, batch_norm.eps()));
        self.inputs[layer].clone()
    }

    /// Computes the central difference of the loss, where `change` moves a parameter of the unit, or its affine output,
    /// by h. Returns NaN at a kink.
    pub(crate) fn difference(&mut self, change: &dyn Fn(f64, &mut Unit)) -> Result<f64, Error> {
        self.pass(self.step, change)?;
        mem::swap(&mut self.here, &mut self.ahead);
        self.pass(-self.step, change)?;
        let (here, ahead, above) = (&self.here, &self.ahead, self.layer + 1);
        let mut layers = here.workspace.layers[above..].iter().zip(&ahead.workspace.layers[above..]);
        if (above < self.outputs.len() && other_sides(&here.h, &ahead.h))
            || layers.any(|(here, ahead)| other_sides(&here.h, &ahead.h))
        {
            return Ok(f64::NAN);
        }
        // Image by image, because the rounding errors of two large sums would exceed their difference.
        let pairs = ahead.workspace.image_losses().iter().zip(here.workspace.image_losses());
        let sum: f64 = pairs.map(|(ahead, behind)| ahead - behind).sum();
        Ok(sum / self.labels.len() as f64 / (2.0 * self.step))
    }

    /// Runs the pass up to the loss, with the unit moved by `change(h)`.
    fn pass(&mut self, h: f64, change: &dyn Fn(f64, &mut Unit)) -> Result<(), Error> {
        let (unit, Pass { h: out, workspace }) = (&mut self.unit, &mut self.here);
        unit.s.row_mut(0).copy_from_slice(self.outputs[self.layer].row(self.place));
        if let (Some(unit), Some(layer)) = (&mut unit.batch_norm, &self.network.layers[self.layer].batch_norm) {
            (unit.gamma[0], unit.beta[0]) = (layer.gamma[self.place], layer.beta[self.place]);
        }
        change(h, unit);
        let above = self.layer + 1;
        if let Some(layer) = self.network.layers.get(above) {
            unit.forward(out);
            let s = &mut workspace.layers[above].s;
            s.copy_from(&self.outputs[above]);
            add_change(s, &layer.affine.weight, self.place, out.row(0), self.inputs[above].row(self.place));
            self.network.forward_from(above, workspace);
        } else {
            let logits = &mut workspace.layers[self.layer].s;
            logits.copy_from(&self.outputs[self.layer]);
            logits.row_mut(self.place).copy_from_slice(unit.s.row(0));
        }
        workspace.cross_entropy(self.labels)?;
        Ok(())
    }
}

impl Unit {
    /// Moves the affine output by `h` times `direction` of each image.
    pub(crate) fn shift(&mut self, h: f64, direction: impl Fn(usize) -> f64) {
        for (image, s) in self.s.row_mut(0).iter_mut().enumerate() {
            *s += h * direction(image);
        }
    }

    pub(crate) fn batch_norm(&mut self) -> &mut BatchNorm<f64> {
        self.batch_norm.as_mut().expect("called only for units with batch norm")
    }

    /// Computes the output of the unit from its affine output, as in a hidden layer.
    fn forward(&mut self, out: &mut RowMajor<f64>) {
        match &self.batch_norm {
            Some(batch_norm) => batch_norm.forward_train(&mut self.s, out, &mut self.batch),
            None => out.copy_from(&self.s),
        }
        relu::forward(out);
    }
}

/// Updates the affine output `s` of a layer for a change of row `input` of its inputs from `old` to `new`.
fn add_change(s: &mut RowMajor<f64>, weight: &RowMajor<f64>, input: usize, new: &[f64], old: &[f64]) {
    vectorize(
        #[inline(always)]
        || {
            for i in 0..s.nrows() {
                let weight = weight.row(i)[input];
                for (s, (new, old)) in s.row_mut(i).iter_mut().zip(new.iter().zip(old)) {
                    *s += weight * (new - old);
                }
            }
        },
    );
}

/// Whether a ReLU is active in only one of `here` and `there`, for any unit and image.
fn other_sides(here: &RowMajor<f64>, there: &RowMajor<f64>) -> bool {
    vectorize(
        #[inline(always)]
        || {
            let mut differ = false;
            for i in 0..here.nrows() {
                for (&here, &there) in here.row(i).iter().zip(there.row(i)) {
                    differ |= (here > 0.0) != (there > 0.0);
                }
            }
            differ
        },
    )
}
