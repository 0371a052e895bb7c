//! A network of K affine layers: forward pass, inference, backward pass.

use std::mem;

use klayer_linalg::product::Inputs;
use klayer_linalg::random::Pcg64;
use klayer_linalg::{Images, RowMajor, Scalar};

use crate::affine::Affine;
use crate::batch_norm::BatchNorm;
use crate::layer::{Layer, Mode};
use crate::workspace::Stage;
use crate::{Architecture, Error, Gradients, Init, Parameter, Update, Workspace};

/// The parameters of a network and the running statistics of batch norm.
#[derive(Debug, Clone)]
pub struct Network<T> {
    architecture: Architecture,
    pub(crate) layers: Vec<Layer<T>>,
}

/// The outputs of the last layer for a mini-batch, before softmax.
#[derive(Debug)]
pub struct Logits<'w, T> {
    workspace: &'w mut Workspace<T>,
}

impl<T: Scalar> Network<T> {
    /// Creates a network with weights drawn from `rng`, layer by layer.
    ///
    /// # Errors
    /// [`Error::NotPositive`] if the standard deviation of `init` is not a positive, finite `f32`.
    pub fn new(architecture: &Architecture, init: Init, rng: &mut Pcg64) -> Result<Self, Error> {
        init.check(architecture.inputs())?;
        let mut network = Self::zeros(architecture);
        let last = architecture.depth() - 1;
        for (l, layer) in network.layers.iter_mut().enumerate() {
            layer.affine.draw(init.deviation(layer.affine.weight.ncols(), l == last), rng);
        }
        Ok(network)
    }

    /// Creates a network with all weights 0, for example to load parameters into.
    pub fn zeros(architecture: &Architecture) -> Self {
        let last = architecture.depth() - 1;
        let layers = architecture.layers().enumerate().map(|(l, (inputs, outputs))| Layer {
            affine: Affine::zeros(inputs, outputs),
            batch_norm: architecture.batch_norm_eps().filter(|_| l < last).map(|eps| BatchNorm::new(outputs, eps)),
        });
        Self { layers: layers.collect(), architecture: architecture.clone() }
    }

    /// The architecture of the network.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The layers, from first to last.
    pub fn layers(&self) -> &[Layer<T>] {
        &self.layers
    }

    /// The layers, mutable. Do not change the shapes of the parameters.
    pub fn layers_mut(&mut self) -> &mut [Layer<T>] {
        &mut self.layers
    }

    /// Computes the logits of a mini-batch in training mode: batch norm uses the statistics of the batch and updates
    /// the running statistics, and the dropout of the workspace is on.
    ///
    /// # Shapes
    /// `x` d x n, with the n of the workspace.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OtherNetwork`], [`Error::BatchTooSmall`]; in all cases, the network is unchanged.
    pub fn forward_train<'w, 'x>(
        &mut self,
        x: impl Into<Images<'x, T>>,
        workspace: &'w mut Workspace<T>,
    ) -> Result<Logits<'w, T>, Error> {
        let x = x.into();
        self.check(x, workspace)?;
        let images = workspace.images;
        if images < 2 && self.layers[0].batch_norm.is_some() {
            return Err(Error::BatchTooSmall { images });
        }
        workspace.draw_masks();
        self.forward(x, workspace, Mode::Training);
        for (layer, space) in self.layers.iter_mut().zip(&workspace.hidden) {
            if let Some(batch_norm) = &mut layer.batch_norm {
                batch_norm.update_running(&space.batch);
            }
        }
        workspace.stage = Stage::Forward;
        Ok(Logits { workspace })
    }

    /// Runs the forward pass from the mini-batch to the logits.
    fn forward(&self, x: Images<'_, T>, workspace: &mut Workspace<T>, mode: Mode) {
        let Workspace { hidden, logits, scratch, par, .. } = &mut *workspace;
        let s = hidden.first_mut().map_or(logits, |space| &mut space.s);
        self.layers[0].affine.forward(Inputs::Images(x), s, scratch, par);
        self.forward_from(0, workspace, mode);
    }

    /// Runs the forward pass from the affine output of layer `first`, in the workspace, to the logits. Does not update
    /// the running statistics.
    pub(crate) fn forward_from(&self, first: usize, workspace: &mut Workspace<T>, mode: Mode) {
        let Workspace { hidden, logits, scratch, par, .. } = workspace;
        for l in first..hidden.len() {
            let (below, above) = hidden.split_at_mut(l + 1);
            let space = &mut below[l];
            self.layers[l].forward(space, mode, par);
            let s = above.first_mut().map_or(&mut *logits, |above| &mut above.s);
            self.layers[l + 1].affine.forward(Inputs::Hidden(&space.values.h), s, scratch, par);
        }
    }

    /// Computes the logits of a mini-batch in evaluation mode: batch norm uses the running statistics, there is no
    /// dropout, and the network is unchanged.
    ///
    /// # Shapes
    /// `x` d x n, with the n of the workspace.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OtherNetwork`].
    pub fn infer<'w, 'x>(
        &self,
        x: impl Into<Images<'x, T>>,
        workspace: &'w mut Workspace<T>,
    ) -> Result<Logits<'w, T>, Error> {
        let x = x.into();
        self.check(x, workspace)?;
        workspace.stage = Stage::Idle;
        self.forward(x, workspace, Mode::Inference);
        Ok(Logits { workspace })
    }

    /// Computes the gradients of the objective: the mean cross-entropy, with the dropout and label smoothing of the
    /// workspace. Call `forward_train` and `cross_entropy` on `x` first.
    ///
    /// # Shapes
    /// `x` d x n.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OtherNetwork`]; [`Error::NoLoss`] without a loss in the workspace.
    pub fn backward<'x>(
        &self,
        x: impl Into<Images<'x, T>>,
        workspace: &mut Workspace<T>,
        gradients: &mut Gradients<T>,
    ) -> Result<(), Error> {
        let x = x.into();
        self.check(x, workspace)?;
        if gradients.architecture() != &self.architecture {
            return Err(self.other_network("the gradients", gradients.architecture()));
        }
        workspace.check_loss()?;
        for (l, (layer, gradient)) in self.layers.iter().zip(&mut gradients.layers).enumerate().rev() {
            let back = layer.backward(l, x, workspace);
            Affine::backward(back.inputs, back.g, &mut gradient.affine, back.scratch, back.par);
            if let (Some(gradient), Some(found)) = (&mut gradient.batch_norm, back.norm_gradient) {
                gradient.copy_from(found);
            }
        }
        Ok(())
    }

    /// Runs the backward pass and hands the gradients to `update`, which changes the parameters. Call `forward_train`
    /// and `cross_entropy` on `x` first. Does not store the gradients of the weights, which saves a pass through
    /// memory.
    ///
    /// # Shapes
    /// `x` d x n.
    ///
    /// # Errors
    /// Those of [`Network::backward`]; in all cases, the network is unchanged.
    pub fn update<'x>(
        &mut self,
        x: impl Into<Images<'x, T>>,
        workspace: &mut Workspace<T>,
        update: &mut impl Update<T>,
    ) -> Result<(), Error> {
        let x = x.into();
        self.check(x, workspace)?;
        workspace.check_loss()?;
        workspace.stage = Stage::Idle;
        for (l, layer) in self.layers.iter_mut().enumerate().rev() {
            // The layer below needs the weights of the forward pass, so this precedes the update.
            let back = layer.backward(l, x, workspace);
            update.weight(l, &mut layer.affine.weight, back.g, back.inputs, back.scratch);
            Affine::backward_bias(back.g, back.bias_gradient, back.par);
            update.vector(l, Parameter::Bias, &mut layer.affine.bias, back.bias_gradient);
            if let (Some(norm), Some(gradient)) = (&mut layer.batch_norm, back.norm_gradient) {
                update.vector(l, Parameter::Gamma, &mut norm.gamma, &gradient.gamma);
                update.vector(l, Parameter::Beta, &mut norm.beta, &gradient.beta);
            }
        }
        Ok(())
    }

    fn check(&self, x: Images<'_, T>, workspace: &Workspace<T>) -> Result<(), Error> {
        if workspace.architecture != self.architecture {
            return Err(self.other_network("the workspace", &workspace.architecture));
        }
        let (expected_rows, expected_cols) = (self.architecture.inputs(), workspace.images);
        if (x.nrows(), x.ncols()) != (expected_rows, expected_cols) {
            return Err(Error::Shape {
                what: "the mini-batch",
                found_rows: x.nrows(),
                found_cols: x.ncols(),
                expected_rows,
                expected_cols,
            });
        }
        Ok(())
    }

    fn other_network(&self, what: &'static str, other: &Architecture) -> Error {
        Error::OtherNetwork { what, found: other.clone().into(), expected: self.architecture.clone().into() }
    }
}

impl<T: Scalar> Logits<'_, T> {
    /// The logits, classes x n.
    pub fn as_matrix(&self) -> &RowMajor<T> {
        self.workspace.outputs()
    }

    /// Writes the class with the largest logit for each image to `classes`. Ties go to the first class.
    ///
    /// # Panics
    /// If the length of `classes` is not the number of images.
    pub fn predict(&self, classes: &mut [u8]) {
        let logits = self.as_matrix();
        assert_eq!(classes.len(), logits.ncols(), "expected one element per image");
        for (j, class) in classes.iter_mut().enumerate() {
            let mut best = 0;
            for i in 1..logits.nrows() {
                if logits.row(i)[j] > logits.row(best)[j] {
                    best = i;
                }
            }
            *class = u8::try_from(best).expect("an architecture has at most 256 classes");
        }
    }

    /// Computes the mean cross-entropy of the mini-batch, without label smoothing. After `forward_train`, also prepares
    /// the workspace for `backward`.
    ///
    /// # Errors
    /// [`Error::LabelCount`], [`Error::Label`], [`Error::NonFiniteLoss`].
    pub fn cross_entropy(self, labels: &[u8]) -> Result<f64, Error> {
        let stage = mem::replace(&mut self.workspace.stage, Stage::Idle);
        let loss = self.workspace.cross_entropy(labels)?;
        if stage == Stage::Forward {
            self.workspace.stage = Stage::Loss;
        }
        Ok(loss)
    }
}
