//! Gradient checking: compares the analytic gradient with central differences, for every parameter.
//!
//! The numerical gradient of the loss L with respect to a parameter p is (L(p + h) - L(p - h)) / 2h, in `f64`. L is
//! the mean of the objective, computed by the forward pass of the network in training mode, with the dropout masks of
//! step 0, skipping everything that p does not affect (see the module `probe`). Networks with the modulus, which bends
//! sharply near 0, use (4 D(h) - D(2h)) / 3 for this difference D(h): its error is of order h^4.
//!
//! If the input of a ReLU changes sign between p - h and p + h, L has a kink there and the difference does not
//! approximate the gradient. The check detects such parameters by comparing the active units on both sides, counts
//! them, and skips them.

use std::ops::ControlFlow;

use klayer_linalg::Columns;

pub use crate::parameters::Parameter;
use crate::probe::Probe;
use crate::{Error, Gradients, Network, Objective};

/// The numerical gradient of the objective, computed by [`numerical_gradient`].
#[derive(Debug, Clone)]
pub struct NumericalGradient {
    /// One number per parameter; NaN at a kink of a ReLU.
    gradients: Gradients<f64>,
    step: f64,
}

/// The comparison of the analytic and numerical gradients of one kind of parameter in one layer.
///
/// Sums and maxima are over the checked parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The layer, from 0.
    pub layer: usize,
    /// The kind of parameter.
    pub parameter: Parameter,
    /// The number of parameters compared.
    pub checked: usize,
    /// The number of parameters skipped because of a kink of a ReLU.
    pub kinks: usize,
    /// Sum of the numerical gradient.
    pub sum_numerical: f64,
    /// Sum of the analytic gradient.
    pub sum_analytic: f64,
    /// Sum of the relative errors |ga - gn| / max(floor, |ga| + |gn|).
    pub sum_relative_error: f64,
    /// Largest relative error.
    pub max_relative_error: f64,
    /// Largest absolute error |ga - gn|.
    pub max_absolute_error: f64,
}

/// Returns the relative error |ga - gn| / max(floor, |ga| + |gn|) of an analytic gradient ga and a numerical one gn.
pub fn relative_error(analytic: f64, numerical: f64, floor: f64) -> f64 {
    (analytic - numerical).abs() / floor.max(analytic.abs() + numerical.abs())
}

/// Computes the numerical gradient of any function `f` at `x`, by central differences with step `h`. Use it to check
/// the gradients of your own layers and losses.
///
/// ```
/// use klayer_nn::gradient_check::{differences, relative_error};
///
/// let gradient = differences(|x| x[0] * x[1].exp(), &[2.0, 0.5], 1e-5);
/// assert!(relative_error(0.5_f64.exp(), gradient[0], 1e-4) < 1e-6);
/// assert!(relative_error(2.0 * 0.5_f64.exp(), gradient[1], 1e-4) < 1e-6);
/// ```
pub fn differences(f: impl Fn(&[f64]) -> f64, x: &[f64], h: f64) -> Vec<f64> {
    let mut moved = x.to_vec();
    let mut difference = |i: usize| {
        moved[i] = x[i] + h;
        let ahead = f(&moved);
        moved[i] = x[i] - h;
        let behind = f(&moved);
        moved[i] = x[i];
        (ahead - behind) / (2.0 * h)
    };
    (0..x.len()).map(&mut difference).collect()
}

/// Checks the step of the differences.
///
/// # Errors
/// [`Error::NotPositive`] if it is not positive and finite.
pub fn check_step(step: f64) -> Result<(), Error> {
    if step.is_finite() && step > 0.0 {
        return Ok(());
    }
    Err(Error::NotPositive { name: "the step of the differences", value: step })
}

/// Computes the numerical gradient of `objective` for a mini-batch with respect to every parameter of `network`, by
/// central differences with step `step`. Dropout uses the masks of step 0, as does a new
/// [`Workspace`](crate::Workspace).
///
/// Calls `progress` after every unit with the number of parameters done. `progress` can stop the check.
///
/// # Shapes
/// `x` d x n, `labels` n.
///
/// # Errors
/// Those of [`Network::forward_train`] and [`Logits::cross_entropy`](crate::Logits::cross_entropy);
/// [`Error::NotPositive`] for the step; [`Error::Stopped`] if `progress` stops the check.
pub fn numerical_gradient(
    network: &Network<f64>,
    x: Columns<'_, f64>,
    labels: &[u8],
    objective: Objective,
    step: f64,
    mut progress: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<NumericalGradient, Error> {
    numerical(network, x, labels, objective, step, &mut progress)
}

/// [`numerical_gradient`] without generics, so that it is compiled and optimized in this crate.
fn numerical(
    network: &Network<f64>,
    x: Columns<'_, f64>,
    labels: &[u8],
    objective: Objective,
    step: f64,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<NumericalGradient, Error> {
    check_step(step)?;
    let mut probe = Probe::new(network, x, labels, objective, step)?;
    let mut gradients = Gradients::zeros(network.architecture());
    let mut done = 0;
    for (layer, gradient) in gradients.layers.iter_mut().enumerate() {
        for unit in 0..gradient.affine.bias.len() {
            probe.go_to(layer, unit);
            for (kind, mut values) in gradient.parameters_mut() {
                for (index, value) in values.unit_mut(unit).iter_mut().enumerate() {
                    *value = probe.difference(kind, index)?;
                    done += 1;
                }
            }
            if progress(done).is_break() {
                return Err(Error::Stopped);
            }
        }
    }
    Ok(NumericalGradient { gradients, step })
}

impl NumericalGradient {
    /// Compares this with the `analytic` gradient of J = objective + the sum of `penalty(w)` over all weights w.
    ///
    /// Returns one row for each layer and kind of parameter. The penalty of a weight depends only on that weight, so
    /// its central difference needs only its own term. `floor` is the smallest denominator of the relative error.
    ///
    /// # Errors
    /// [`Error::OtherNetwork`] if the gradients and the network have different architectures.
    pub fn compare(
        &self,
        network: &Network<f64>,
        analytic: &Gradients<f64>,
        penalty: impl Fn(f64) -> f64,
        floor: f64,
    ) -> Result<Vec<Comparison>, Error> {
        for architecture in [network.architecture(), analytic.architecture()] {
            if architecture != self.gradients.architecture() {
                let found = self.gradients.architecture().clone().into();
                let expected = architecture.clone().into();
                return Err(Error::OtherNetwork { what: "the numerical gradient", found, expected });
            }
        }
        let h = self.step;
        let mut rows = Vec::new();
        let parts = self.gradients.parameters().zip(analytic.parameters()).zip(network.parameters());
        for ((numerical, analytic), parameters) in parts {
            let mut row = Comparison::empty(numerical.layer, numerical.kind);
            let gradients = numerical.values.iter().zip(analytic.values.iter());
            for ((&numerical, &analytic), &p) in gradients.zip(parameters.values.iter()) {
                let penalized = match parameters.kind {
                    Parameter::Weight => numerical + (penalty(p + h) - penalty(p - h)) / (2.0 * h),
                    _ => numerical,
                };
                row.add(penalized, analytic, floor);
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

impl Comparison {
    fn empty(layer: usize, parameter: Parameter) -> Self {
        Self {
            layer,
            parameter,
            checked: 0,
            kinks: 0,
            sum_numerical: 0.0,
            sum_analytic: 0.0,
            sum_relative_error: 0.0,
            max_relative_error: 0.0,
            max_absolute_error: 0.0,
        }
    }

    fn add(&mut self, numerical: f64, analytic: f64, floor: f64) {
        if numerical.is_nan() {
            self.kinks += 1;
            return;
        }
        let absolute = (analytic - numerical).abs();
        let relative = relative_error(analytic, numerical, floor);
        self.checked += 1;
        self.sum_numerical += numerical;
        self.sum_analytic += analytic;
        self.sum_relative_error += relative;
        self.max_relative_error = larger(self.max_relative_error, relative);
        self.max_absolute_error = larger(self.max_absolute_error, absolute);
    }
}

/// Returns the larger of two numbers, or NaN if either is NaN, so that a NaN in an analytic gradient propagates.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
}
