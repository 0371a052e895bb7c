//! A network of K affine layers: forward pass, inference, backward pass.

use std::mem;

use klayer_linalg::product::Inputs;
use klayer_linalg::random::Pcg64;
use klayer_linalg::{Images, RowMajor, Scalar};

use crate::affine::Affine;
use crate::batch_norm::BatchNorm;
use crate::gradient_check::Parameter;
use crate::workspace::{LayerWorkspace, Stage};
use crate::{Architecture, Error, Gradients, Init, Update, Workspace, relu};

/// The parameters of a network and the running statistics of batch norm.
#[derive(Debug, Clone)]
pub struct Network<T> {
    architecture: Architecture,
    pub(crate) layers: Vec<Layer<T>>,
}

/// An affine map, followed in hidden layers by batch norm (if any) and ReLU.
#[derive(Debug, Clone)]
pub struct Layer<T> {
    /// W and b.
    pub affine: Affine<T>,
    /// gamma, beta and the running statistics; `None` in the last layer and in networks without batch norm.
    pub batch_norm: Option<BatchNorm<T>>,
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
        for layer in &mut network.layers {
            layer.affine.draw(init, rng);
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
    /// the running statistics.
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
        let Workspace { layers, sums, par, .. } = &mut *workspace;
        self.layers[0].affine.forward(Inputs::Images(x), &mut layers[0].s, sums, par);
        self.forward_from(0, workspace);
        for (layer, space) in self.layers.iter_mut().zip(&workspace.layers) {
            if let Some(batch_norm) = &mut layer.batch_norm {
                batch_norm.update_running(&space.batch);
            }
        }
        workspace.stage = Stage::Forward;
        Ok(Logits { workspace })
    }

    /// Runs the forward pass in training mode from the affine output of layer `first`, in the workspace, to the logits.
    /// Does not update the running statistics.
    pub(crate) fn forward_from(&self, first: usize, workspace: &mut Workspace<T>) {
        let Workspace { layers, sums, par, .. } = workspace;
        for (l, layer) in self.layers.iter().enumerate().skip(first) {
            let (below, here) = layers.split_at_mut(l);
            let space = &mut here[0];
            if l > first {
                layer.affine.forward(Inputs::Hidden(&below[l - 1].h), &mut space.s, sums, par);
            }
            if l == self.layers.len() - 1 {
                return;
            }
            match &layer.batch_norm {
                Some(batch_norm) => batch_norm.forward_train(&mut space.s, &mut space.h, &mut space.batch),
                None => space.h.copy_from(&space.s),
            }
            relu::forward(&mut space.h);
        }
    }

    /// Computes the logits of a mini-batch in evaluation mode: batch norm uses the running statistics, and the network
    /// is unchanged.
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
        let Workspace { layers, sums, par, .. } = &mut *workspace;
        for (l, layer) in self.layers.iter().enumerate() {
            let (below, here) = layers.split_at_mut(l);
            let space = &mut here[0];
            layer.affine.forward(input(x, below), &mut space.s, sums, par);
            if l == self.layers.len() - 1 {
                break;
            }
            match &layer.batch_norm {
                Some(batch_norm) => batch_norm.infer(&space.s, &mut space.h),
                None => space.h.copy_from(&space.s),
            }
            relu::forward(&mut space.h);
        }
        Ok(Logits { workspace })
    }

    /// Computes the gradients of the mean cross-entropy. Call `forward_train` and `cross_entropy` on `x` first.
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
        let Workspace { layers, par, .. } = workspace;
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let (below, here) = layers.split_at_mut(l);
            let (space, gradient) = (&mut here[0], &mut gradients.layers[l]);
            let g = layer.output_gradient(space);
            Affine::backward(input(x, below), g, &mut gradient.affine, par);
            if let Some(below) = below.last_mut() {
                layer.affine.backward_input(g, &mut below.gradient, par);
            }
            if let Some(gradient) = &mut gradient.batch_norm {
                gradient.copy_from(&space.norm_gradient);
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
        let Workspace { layers, bias_gradient, par, .. } = workspace;
        for (l, layer) in self.layers.iter_mut().enumerate().rev() {
            let (below, here) = layers.split_at_mut(l);
            let space = &mut here[0];
            let g = layer.output_gradient(space);
            // The layer below needs the weights of the forward pass, so this precedes the update.
            if let Some(below) = below.last_mut() {
                layer.affine.backward_input(g, &mut below.gradient, par);
            }
            let Affine { weight, bias } = &mut layer.affine;
            update.weight(l, weight, g, input(x, below));
            let bias_gradient = &mut bias_gradient[..bias.len()];
            Affine::backward_bias(g, bias_gradient);
            update.vector(l, Parameter::Bias, bias, bias_gradient);
            if let Some(norm) = &mut layer.batch_norm {
                update.vector(l, Parameter::Gamma, &mut norm.gamma, &space.norm_gradient.gamma);
                update.vector(l, Parameter::Beta, &mut norm.beta, &space.norm_gradient.beta);
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
        Error::OtherNetwork { what, found: other.clone(), expected: self.architecture.clone() }
    }
}

/// The input of a layer: the mini-batch, or the output of the topmost of the layers `below`.
fn input<'a, T: Scalar>(x: Images<'a, T>, below: &'a [LayerWorkspace<T>]) -> Inputs<'a, T> {
    below.last().map_or(Inputs::Images(x), |below| Inputs::Hidden(&below.h))
}

impl<T: Scalar> Layer<T> {
    /// Computes dJ/dS of the affine output from the gradient that the layer above wrote. In hidden layers with batch
    /// norm, also writes the gradients of gamma and beta to the workspace.
    fn output_gradient<'w>(&self, space: &'w mut LayerWorkspace<T>) -> &'w RowMajor<T> {
        if space.h.nrows() == 0 {
            // The last layer: the cross-entropy has replaced the logits by their gradient.
            return &space.s;
        }
        relu::backward(&space.h, &mut space.gradient);
        if let Some(batch_norm) = &self.batch_norm {
            batch_norm.backward(&space.s, &space.batch, &mut space.gradient, &mut space.norm_gradient);
        }
        &space.gradient
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

    /// Computes the mean cross-entropy of the mini-batch. After `forward_train`, also prepares the workspace for
    /// `backward`.
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
