//! Evaluates the objective of a network with one parameter moved by a step in either direction.
//!
//! A parameter of unit i affects only row i of its layer: a step h of a weight W_ij or bias b_i moves the affine output
//! s_i by h x_j or h, and batch norm, activation and dropout of this unit give its new output. An activation of several
//! units also needs the others that make this output. The affine output of the layer above changes by column i of its
//! weights times the change of the output; everything above is recomputed. This makes it feasible to check all 150,000
//! weights of a first layer.

use std::{iter, mem};

use klayer_linalg::product::{Inputs, Scratch};
use klayer_linalg::{Columns, Par, RowMajor, Scalar, vectorize};

use crate::affine::Affine;
use crate::batch_norm::BatchNorm;
use crate::layer::Mode;
use crate::workspace::HiddenWorkspace;
use crate::{Error, Layer, Network, Objective, Parameter, Workspace};

/// Evaluates the objective of a network with one parameter of one unit moved by `step` in either direction.
pub(crate) struct Probe<'a> {
    network: &'a Network<f64>,
    labels: &'a [u8],
    step: f64,
    /// The input and the affine output of each layer, with no parameter moved.
    inputs: Vec<RowMajor<f64>>,
    outputs: Vec<RowMajor<f64>>,
    /// The unit whose parameters move: its layer, and its index in the layer.
    layer: usize,
    place: usize,
    here: Pass,
    ahead: Pass,
}

/// A pass with a moved parameter.
#[derive(Clone)]
struct Pass {
    group: Group,
    /// The layers above.
    workspace: Workspace<f64>,
}

/// The units that make the output of the unit whose parameters move, as a layer.
#[derive(Clone)]
struct Group {
    layer: Layer<f64>,
    space: HiddenWorkspace<f64>,
    /// The index in the whole layer of each unit.
    places: Vec<usize>,
    /// The row of the unit whose parameters move.
    row: usize,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(
        network: &'a Network<f64>,
        x: Columns<'_, f64>,
        labels: &'a [u8],
        objective: Objective,
        step: f64,
    ) -> Result<Self, Error> {
        let images = x.ncols();
        let mut workspace = Workspace::new(network.architecture(), images, Par::Seq);
        workspace.set_objective(objective);
        network.clone().forward_train(x, &mut workspace)?.cross_entropy(labels)?;
        let mut first = RowMajor::zeros(x.nrows(), images);
        first.as_mut().copy_from(x.as_mat());
        let hidden = workspace.hidden.iter().map(|space| space.values.h.clone());
        let inputs: Vec<_> = iter::once(first).chain(hidden).collect();
        // No layer takes images here: the first one of the scratch memory is not used.
        let mut scratch = Scratch::new(iter::once((1, 1)).chain(network.architecture().layers()), images, &Par::Seq);
        let outputs = network.layers.iter().zip(&inputs).map(|(layer, input)| {
            let mut s = RowMajor::zeros(layer.affine.bias.len(), images);
            layer.affine.forward(Inputs::Hidden(input), &mut s, &mut scratch, &Par::Seq);
            s
        });
        let outputs = outputs.collect();
        let pass = Pass { group: Group::new(network, &workspace, 0, 0), workspace };
        Ok(Self { outputs, inputs, network, labels, step, layer: 0, place: 0, ahead: pass.clone(), here: pass })
    }

    /// Selects the unit `place` of `layer`.
    pub(crate) fn go_to(&mut self, layer: usize, place: usize) {
        (self.layer, self.place) = (layer, place);
        self.here.group = Group::new(self.network, &self.here.workspace, layer, place);
        self.ahead.group = self.here.group.clone();
    }

    /// Computes the difference of the objective for parameter `index` of `kind` of the unit. Returns NaN at a kink.
    pub(crate) fn difference(&mut self, kind: Parameter, index: usize) -> Result<f64, Error> {
        let near = self.central_difference(kind, index, self.step)?;
        let mut activations = self.network.architecture().activations().iter();
        if !activations.any(|activation| activation.function::<f64>().bends_sharply()) {
            return Ok(near);
        }
        // Richardson extrapolation: the errors in h^2 cancel.
        let far = self.central_difference(kind, index, 2.0 * self.step)?;
        Ok((4.0 * near - far) / 3.0)
    }

    /// Computes the central difference with step `h`.
    fn central_difference(&mut self, kind: Parameter, index: usize, h: f64) -> Result<f64, Error> {
        self.pass(kind, index, h)?;
        mem::swap(&mut self.here, &mut self.ahead);
        self.pass(kind, index, -h)?;
        let (here, ahead) = (&self.here, &self.ahead);
        let is_hidden = self.layer < here.workspace.hidden.len();
        let mut above = here.workspace.hidden.iter().zip(&ahead.workspace.hidden).skip(self.layer + 1);
        if (is_hidden && here.group.space.kink(&ahead.group.space)) || above.any(|(here, ahead)| here.kink(ahead)) {
            return Ok(f64::NAN);
        }
        // Image by image, because the rounding errors of two large sums would exceed their difference.
        let pairs = ahead.workspace.image_objectives().iter().zip(here.workspace.image_objectives());
        let sum: f64 = pairs.map(|(ahead, behind)| ahead - behind).sum();
        Ok(sum / self.labels.len() as f64 / (2.0 * h))
    }

    /// Runs the pass up to the objective, with the parameter moved by `h`.
    fn pass(&mut self, kind: Parameter, index: usize, h: f64) -> Result<(), Error> {
        let (Pass { group, workspace }, layer) = (&mut self.here, self.layer);
        group.reset(&self.network.layers[layer], &self.outputs[layer]);
        match kind {
            Parameter::Weight => {
                let input = self.inputs[layer].row(index);
                group.s_mut().iter_mut().zip(input).for_each(|(s, x)| *s += h * x);
            }
            Parameter::Bias => group.s_mut().iter_mut().for_each(|s| *s += h),
            Parameter::Gamma | Parameter::Beta => group.parameter_mut(kind)[index] += h,
        }
        if let Some(above) = self.network.layers.get(layer + 1) {
            group.layer.forward(&mut group.space, Mode::Training, &Par::Seq);
            let s = workspace.affine_output_mut(layer + 1);
            s.copy_from(&self.outputs[layer + 1]);
            let (input, new) = (group.places[0], group.space.values.h.row(0));
            add_change(s, &above.affine.weight, input, new, self.inputs[layer + 1].row(input));
            self.network.forward_from(layer + 1, workspace, Mode::Training);
        } else {
            workspace.logits.copy_from(&self.outputs[layer]);
            workspace.logits.row_mut(self.place).copy_from_slice(group.s_mut());
        }
        workspace.cross_entropy(self.labels)?;
        Ok(())
    }
}

impl Group {
    /// The group of the unit `place` of `layer`. The units of output i of o are i, i + o, ... .
    fn new(network: &Network<f64>, workspace: &Workspace<f64>, layer: usize, place: usize) -> Self {
        let space = workspace.hidden.get(layer);
        let activation = space.map(|space| space.activation).unwrap_or_default();
        let (layer, units) = (&network.layers[layer], activation.units_per_output());
        let outputs = activation.outputs(layer.affine.bias.len());
        let output = place % outputs;
        let mut group = HiddenWorkspace::new(activation, units, workspace.images);
        group.mask = space.and_then(|space| space.mask).map(|mask| mask.starting_at(output));
        Self {
            layer: Layer {
                affine: Affine::zeros(0, units),
                batch_norm: layer.batch_norm.as_ref().map(|norm| BatchNorm::new(units, norm.eps().to_f64())),
            },
            space: group,
            places: (0..units).map(|part| output + part * outputs).collect(),
            row: place / outputs,
        }
    }

    /// Restores the affine outputs and the parameters of `layer`.
    fn reset(&mut self, layer: &Layer<f64>, outputs: &RowMajor<f64>) {
        for (row, &place) in self.places.iter().enumerate() {
            self.space.s.row_mut(row).copy_from_slice(outputs.row(place));
            for ((kind, mut to), (_, from)) in self.layer.parameters_mut().zip(layer.parameters()) {
                if kind != Parameter::Weight {
                    to.unit_mut(row).copy_from_slice(from.unit(place));
                }
            }
        }
    }

    /// The affine output of the unit whose parameters move.
    fn s_mut(&mut self) -> &mut [f64] {
        self.space.s.row_mut(self.row)
    }

    /// The parameters of one kind of this unit.
    fn parameter_mut(&mut self, kind: Parameter) -> &mut [f64] {
        let row = self.row;
        let found = self.layer.parameters_mut().find(|(found, _)| *found == kind);
        let (_, values) = found.expect("called only for parameters of the layer");
        values.into_unit_mut(row)
    }
}

impl HiddenWorkspace<f64> {
    /// Whether the objective has a kink between this pass and `there`.
    fn kink(&self, there: &Self) -> bool {
        self.activation.function().kink(&self.values.h, &there.values.h)
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
