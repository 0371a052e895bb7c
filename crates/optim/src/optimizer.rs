use klayer_linalg::product::{self, Inputs, Scratch};
use klayer_linalg::{Images, Par, RowMajor, Scalar};
use klayer_nn::parameters::{Tensor, TensorMut};
use klayer_nn::{Architecture, Gradients, Network, Parameter, Update, Workspace};
use serde::{Deserialize, Serialize};

use crate::{Error, L2, Method, Rule, Step};

/// Changes the parameters of a network by a [`Rule`], with an L2 penalty on the weights, and keeps the state of the
/// rule. The rule applies to every parameter, the penalty to weights alone.
///
/// Everything is allocated once; a step allocates nothing. Results do not depend on the number of threads.
#[derive(Debug, Clone)]
pub struct Optimizer<T, R = Method> {
    rule: R,
    l2: L2,
    par: Par,
    architecture: Architecture,
    /// The state of each parameter; `None` in plain gradient descent.
    state: Option<Gradients<T>>,
}

/// The state of an [`Optimizer`] between two steps, for a checkpoint.
///
/// Holds one number for each parameter, layer by layer: W, row by row, then b, gamma and beta. Empty in plain
/// gradient descent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent, bound = "T: Scalar")]
pub struct OptimizerState<T> {
    values: Vec<T>,
}

impl<T> OptimizerState<T> {
    /// The numbers, in the order given above.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

impl<T> From<Vec<T>> for OptimizerState<T> {
    /// The state with these numbers, which [`Optimizer::restore`] validates.
    fn from(values: Vec<T>) -> Self {
        Self { values }
    }
}

impl<T: Scalar, R: Rule> Optimizer<T, R> {
    /// Creates an optimizer of networks of `architecture` that updates the weights on the threads of `par`.
    pub fn new(architecture: &Architecture, rule: R, l2: L2, par: Par) -> Self {
        let keeps = rule.as_sgd().is_none();
        Self { state: keeps.then(|| Gradients::zeros(architecture)), architecture: architecture.clone(), rule, l2, par }
    }

    /// The rule.
    pub fn rule(&self) -> &R {
        &self.rule
    }

    /// The penalty.
    pub fn l2(&self) -> L2 {
        self.l2
    }

    /// The threads that update the weights.
    pub fn par(&self) -> &Par {
        &self.par
    }

    /// Runs the backward pass and an update step with learning rate `rate` at once. Call `forward_train` and
    /// `cross_entropy` on `x` first.
    ///
    /// Equivalent to [`Network::backward`] followed by [`Optimizer::step`], without storing the gradients of the
    /// weights. The results are bitwise identical, in plain gradient descent only where klayer-linalg uses its kernels.
    ///
    /// # Shapes
    /// `x` d x n.
    ///
    /// # Errors
    /// Those of [`Network::backward`]; in all cases, the network and the state are unchanged.
    pub fn descend<'x>(
        &mut self,
        network: &mut Network<T>,
        x: impl Into<Images<'x, T>>,
        workspace: &mut Workspace<T>,
        rate: f64,
    ) -> Result<(), klayer_nn::Error> {
        if network.architecture() != &self.architecture {
            return Err(klayer_nn::Error::OtherNetwork {
                what: "the optimizer",
                found: Box::new(self.architecture.clone()),
                expected: Box::new(network.architecture().clone()),
            });
        }
        network.update(x, workspace, &mut Descent { optimizer: self, rate })
    }

    /// Performs an update step with learning rate `rate`. `gradients` are those of the loss, without the penalty.
    ///
    /// # Panics
    /// If the network or `gradients` are of another architecture.
    pub fn step(&mut self, network: &mut Network<T>, gradients: &Gradients<T>, rate: f64) {
        assert_eq!(network.architecture(), gradients.architecture(), "gradients of another network");
        assert_eq!(network.architecture(), &self.architecture, "an optimizer of another network");
        let mut descent = Descent { optimizer: self, rate };
        for (part, gradient) in network.parameters_mut().zip(gradients.parameters()) {
            match (part.values, gradient.values) {
                (TensorMut::Matrix(weight), Tensor::Matrix(gradient)) => {
                    descent.weight_along(part.layer, weight, gradient);
                }
                (TensorMut::Vector(values), Tensor::Vector(gradient)) => {
                    descent.vector(part.layer, part.kind, values, gradient);
                }
                _ => unreachable!("a parameter and its gradient have the same shape"),
            }
        }
    }

    /// A copy of the state.
    pub fn state(&self) -> OptimizerState<T> {
        let parts = self.state.iter().flat_map(Gradients::parameters);
        OptimizerState { values: parts.flat_map(|part| part.values.iter()).copied().collect() }
    }

    /// Replaces the state, to resume training.
    ///
    /// # Errors
    /// [`Error::State`] if `state` is that of another rule or architecture; the optimizer is unchanged.
    pub fn restore(&mut self, state: &OptimizerState<T>) -> Result<(), Error> {
        let expected = self.state.as_ref().map_or(0, |_| self.architecture.parameters());
        if state.values.len() != expected {
            return Err(Error::State { found: state.values.len(), expected });
        }
        let mut rest = &state.values[..];
        for mut part in self.state.iter_mut().flat_map(Gradients::parameters_mut) {
            let (values, after) = rest.split_at(part.values.len());
            part.values.copy_from_slice(values);
            rest = after;
        }
        Ok(())
    }
}

/// A step of an optimizer with learning rate `rate`.
struct Descent<'a, T, R> {
    optimizer: &'a mut Optimizer<T, R>,
    rate: f64,
}

impl<T: Scalar, R: Rule> Descent<'_, T, R> {
    /// Changes the weights along an already computed gradient.
    fn weight_along(&mut self, layer: usize, weight: &mut RowMajor<T>, gradient: &RowMajor<T>) {
        let Optimizer { rule, l2, par, state, .. } = &mut *self.optimizer;
        let rule = *rule;
        let step = Step { rate: self.rate, l2: *l2 };
        match (rule.as_sgd(), state) {
            (None, Some(state)) => {
                let state = &mut state.layers[layer].affine.weight;
                product::update_along(
                    weight,
                    state,
                    gradient,
                    #[inline(always)]
                    move |p, g, state| rule.update(step, p, g, state),
                );
            }
            (sgd, _) => {
                let (decay, rate) = sgd.unwrap_or_default().coefficients(step);
                product::descend_along(weight, gradient, decay, rate, par);
            }
        }
    }
}

impl<T: Scalar, R: Rule> Update<T> for Descent<'_, T, R> {
    fn weight(
        &mut self,
        layer: usize,
        weight: &mut RowMajor<T>,
        g: &RowMajor<T>,
        x: Inputs<'_, T>,
        scratch: &mut Scratch<T>,
    ) {
        let Optimizer { rule, l2, par, state, .. } = &mut *self.optimizer;
        let rule = *rule;
        let step = Step { rate: self.rate, l2: *l2 };
        match (rule.as_sgd(), state) {
            (None, Some(state)) => {
                let state = &mut state.layers[layer].affine.weight;
                product::update(
                    weight,
                    state,
                    g,
                    x,
                    scratch,
                    par,
                    #[inline(always)]
                    move |p, g, state| rule.update(step, p, g, state),
                );
            }
            (sgd, _) => {
                let (decay, rate) = sgd.unwrap_or_default().coefficients(step);
                product::descend(weight, g, x, (decay, rate), scratch, par);
            }
        }
    }

    fn vector(&mut self, layer: usize, parameter: Parameter, values: &mut [T], gradient: &[T]) {
        let Optimizer { rule, state, .. } = &mut *self.optimizer;
        let state = state.as_mut().and_then(|state| {
            let mut parts = state.layers[layer].parameters_mut();
            match parts.find(|(kind, _)| *kind == parameter) {
                Some((_, TensorMut::Vector(state))) => Some(state),
                _ => None,
            }
        });
        let step = Step { rate: self.rate, l2: L2::NONE };
        match (rule.as_sgd(), state) {
            (None, Some(state)) => rule.update(step, values, gradient, state),
            (sgd, _) => sgd.unwrap_or_default().update(step, values, gradient, &mut []),
        }
    }
}
