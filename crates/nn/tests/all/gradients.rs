use std::ops::ControlFlow;

use klayer_linalg::{ColMajor, RowMajor};
use klayer_nn::gradient_check::{Comparison, NumericalGradient, Parameter, numerical_gradient};
use klayer_nn::{Activation, Error, Gradients, Network, Objective};
use proptest::prelude::*;

use crate::shapes::{Shape, cases, shapes};

/// The step of the differences.
pub(crate) const STEP: f64 = 1e-5;
/// The floor of the relative error.
pub(crate) const FLOOR: f64 = 1e-4;
/// The largest relative error of a correct gradient.
pub(crate) const TOLERANCE: f64 = 1e-6;

/// The gradient of the objective of `shape` at `network`, on the images of `shape`.
pub(crate) fn analytic(shape: &Shape, network: &Network<f64>) -> Gradients<f64> {
    analytic_on(shape.batch(), shape, network)
}

pub(crate) fn numerical(shape: &Shape, network: &Network<f64>) -> NumericalGradient {
    numerical_on(shape.batch(), shape, network)
}

fn analytic_on((x, labels): (ColMajor<f64>, Vec<u8>), shape: &Shape, network: &Network<f64>) -> Gradients<f64> {
    let (mut workspace, mut gradients) = (shape.workspace(), Gradients::zeros(network.architecture()));
    network.clone().forward_train(x.as_ref(), &mut workspace).unwrap().cross_entropy(&labels).unwrap();
    network.backward(x.as_ref(), &mut workspace, &mut gradients).unwrap();
    gradients
}

fn numerical_on((x, labels): (ColMajor<f64>, Vec<u8>), shape: &Shape, network: &Network<f64>) -> NumericalGradient {
    let go_on = |_| ControlFlow::Continue(());
    numerical_gradient(network, x.as_ref(), &labels, shape.objective, STEP, go_on).unwrap()
}

/// The largest relative error, or NaN if any error is NaN.
pub(crate) fn max_relative_error(rows: &[Comparison]) -> f64 {
    let errors = rows.iter().map(|row| row.max_relative_error);
    errors.fold(0.0, |worst, error| if worst.is_nan() || error <= worst { worst } else { error })
}

/// Centred differences without shortcuts: moves each parameter in a copy of the network and recomputes everything.
fn plain_differences(shape: &Shape, network: &Network<f64>) -> Gradients<f64> {
    let (x, labels) = shape.batch();
    let moved = |change: &dyn Fn(&mut Network<f64>, f64), h| {
        let (mut network, mut workspace) = (network.clone(), shape.workspace());
        change(&mut network, h);
        network.forward_train(x.as_ref(), &mut workspace).unwrap().cross_entropy(&labels).unwrap();
        workspace.image_objectives().iter().sum::<f64>() / shape.images as f64
    };
    let difference = |change: &dyn Fn(&mut Network<f64>, f64)| {
        let central = |h: f64| (moved(change, h) - moved(change, -h)) / (2.0 * h);
        if shape.activations.contains(&Activation::Modulus) {
            (4.0 * central(STEP) - central(2.0 * STEP)) / 3.0
        } else {
            central(STEP)
        }
    };
    let mut gradients = Gradients::zeros(network.architecture());
    for (l, layer) in gradients.layers.iter_mut().enumerate() {
        for i in 0..layer.affine.bias.len() {
            layer.affine.bias[i] = difference(&|network, h| network.layers_mut()[l].affine.bias[i] += h);
            for j in 0..layer.affine.weight.ncols() {
                let change = |network: &mut Network<f64>, h| network.layers_mut()[l].affine.weight.row_mut(i)[j] += h;
                layer.affine.weight.row_mut(i)[j] = difference(&change);
            }
            if let Some(gradient) = &mut layer.batch_norm {
                let batch_norm = |network: &mut Network<f64>, change: &dyn Fn(&mut f64, &mut f64)| {
                    let batch_norm = network.layers_mut()[l].batch_norm.as_mut().unwrap();
                    change(&mut batch_norm.gamma[i], &mut batch_norm.beta[i]);
                };
                gradient.gamma[i] = difference(&|network, h| batch_norm(network, &|gamma, _| *gamma += h));
                gradient.beta[i] = difference(&|network, h| batch_norm(network, &|_, beta| *beta += h));
            }
        }
    }
    gradients
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn gradients_agree_with_finite_differences(shape in shapes()) {
        let network = shape.network();
        let analytic = analytic(&shape, &network);
        let rows = numerical(&shape, &network).compare(&network, &analytic, |_| 0.0, FLOOR).unwrap();
        let worst = max_relative_error(&rows);
        prop_assert!(worst < TOLERANCE, "{worst:.1e}: {rows:#?}");

        let (checked, kinks) = rows.iter().fold((0, 0), |sum, row| (sum.0 + row.checked, sum.1 + row.kinks));
        prop_assert_eq!(checked + kinks, shape.architecture().parameters());
        prop_assert!(10 * kinks <= checked, "{} kinks and {} checked", kinks, checked);
    }

    #[test]
    fn partial_recomputation_gives_the_same_differences(shape in shapes()) {
        let network = shape.network();
        let plain = plain_differences(&shape, &network);
        let rows = numerical(&shape, &network).compare(&network, &plain, |_| 0.0, FLOOR).unwrap();
        let worst = rows.iter().map(|row| row.max_absolute_error).fold(0.0, f64::max);
        // A few rounding errors of the loss, divided by twice the step.
        prop_assert!(worst < 20.0 * f64::EPSILON / STEP, "{worst:.1e}: {rows:#?}");
    }
}

/// Each activation with and without batch norm, dropout and label smoothing.
#[test]
fn gradients_are_correct_for_every_combination_of_methods() {
    for activations in Activation::ALL.map(|activation| vec![activation]).into_iter().chain([Activation::ALL.to_vec()])
    {
        for (batch_norm, dropout, smoothing) in
            (0..8).map(|i| (i & 1 > 0, 0.3 * f64::from(i & 2), f64::from(i & 4) / 20.0))
        {
            let objective =
                Objective::default().with_dropout(dropout / 2.0, 7).unwrap().with_smoothing(smoothing).unwrap();
            let hidden = if activations.len() == 1 { vec![6] } else { vec![6, 4, 8] };
            let shape = Shape { hidden, activations: activations.clone(), batch_norm, objective, ..Shape::default() };
            let network = shape.network();
            let gradients = analytic(&shape, &network);
            let rows = numerical(&shape, &network).compare(&network, &gradients, |_| 0.0, FLOOR).unwrap();
            assert!(max_relative_error(&rows) < TOLERANCE, "{shape:?}: {rows:#?}");
            let kinks: usize = rows.iter().map(|row| row.kinks).sum();
            assert!(kinks == 0 || activations.contains(&Activation::Relu), "{shape:?}");
        }
    }
}

/// Without the kernels for images, its product is packed.
#[test]
fn the_gradient_check_takes_a_first_layer_of_many_weights() {
    let shape = Shape { inputs: 900, hidden: vec![20], ..Shape::default() };
    let network = shape.network();
    let rows = numerical(&shape, &network).compare(&network, &analytic(&shape, &network), |_| 0.0, FLOOR).unwrap();
    assert!(max_relative_error(&rows) < TOLERANCE, "{rows:#?}");
}

/// The tables of the paper also sum over the checked parameters.
#[test]
fn comparisons_sum_over_the_checked_parameters() {
    let shape = shape(true);
    let network = shape.network();
    let analytic = analytic(&shape, &network);
    let rows = numerical(&shape, &network).compare(&network, &analytic, |_| 0.0, FLOOR).unwrap();
    let parts: Vec<_> = rows.iter().map(|row| (row.layer, row.parameter.symbol(), row.checked, row.kinks)).collect();
    assert_eq!(
        parts,
        [(0, "W", 12, 0), (0, "b", 3, 0), (0, "gamma", 3, 0), (0, "beta", 3, 0), (1, "W", 6, 0), (1, "b", 2, 0)]
    );
    for row in rows {
        let gradients = &analytic.layers[row.layer];
        let batch_norm = gradients.batch_norm.as_ref();
        let sum: f64 = match row.parameter {
            Parameter::Weight => gradients.affine.weight.rows().flatten().sum(),
            Parameter::Bias => gradients.affine.bias.iter().sum(),
            Parameter::Gamma => batch_norm.unwrap().gamma.iter().sum(),
            Parameter::Beta => batch_norm.unwrap().beta.iter().sum(),
        };
        assert!((row.sum_analytic - sum).abs() < 1e-12, "{row:?}");
        assert!((row.sum_numerical - sum).abs() <= row.max_absolute_error * row.checked as f64, "{row:?}");
        assert!(row.max_relative_error <= row.sum_relative_error, "{row:?}");
    }
}

/// If all weights of a layer are 0, every parameter is at a kink unless its change affects no image.
#[test]
fn parameters_at_a_kink_are_counted_and_skipped() {
    let shape = Shape { images: 2, batch_norm: false, ..Shape::default() };
    let mut network = shape.network::<f64>();
    network.layers_mut()[0].affine.weight = RowMajor::zeros(3, 4);
    network.layers_mut()[0].affine.bias.fill(0.0);
    let mut x = ColMajor::zeros(4, 2);
    x.col_mut(0)[2] = 1.0;
    let batch = (x, vec![0, 1]);
    let analytic = analytic_on(batch.clone(), &shape, &network);
    let rows = numerical_on(batch, &shape, &network).compare(&network, &analytic, |_| 0.0, FLOOR).unwrap();
    let counts: Vec<_> = rows.iter().map(|row| (row.parameter.symbol(), row.checked, row.kinks)).collect();
    assert_eq!(counts, [("W", 9, 3), ("b", 0, 3), ("W", 6, 0), ("b", 2, 0)]);
    assert!(max_relative_error(&rows) < TOLERANCE, "{rows:#?}");
}

#[test]
fn a_nan_gradient_gives_a_nan_error() {
    let shape = shape(true);
    let network = shape.network();
    let mut analytic = analytic(&shape, &network);
    analytic.layers[0].affine.weight.row_mut(0)[0] = f64::NAN;
    let rows = numerical(&shape, &network).compare(&network, &analytic, |_| 0.0, FLOOR).unwrap();
    assert!(rows[0].max_relative_error.is_nan() && rows[0].max_absolute_error.is_nan(), "{:?}", rows[0]);
}

#[test]
fn a_gradient_check_reports_progress_and_can_be_stopped() {
    let shape = shape(true);
    let (network, (x, labels)) = (shape.network(), shape.batch());
    let mut told = vec![0];
    numerical_gradient(&network, x.as_ref(), &labels, shape.objective, STEP, |done| {
        told.push(done);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&shape.architecture().parameters()));

    let mut calls = 0;
    let stopped = numerical_gradient(&network, x.as_ref(), &labels, shape.objective, STEP, |_| {
        calls += 1;
        if calls < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!((stopped.unwrap_err(), calls), (Error::Stopped, 2));
}

/// 4 inputs, 3 hidden units, 2 classes.
fn shape(batch_norm: bool) -> Shape {
    Shape { batch_norm, ..Shape::default() }
}
