//! Tests that the gradient check detects bugs planted in a backward pass of plain loops.

use klayer_linalg::Columns;
use klayer_nn::gradient_check::Comparison;
use klayer_nn::{Gradients, Init, Network};

use crate::gradients::{FLOOR, STEP, TOLERANCE, analytic, max_relative_error, numerical};
use crate::shapes::Shape;

const LAMBDA: f64 = 0.05;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bug {
    None,
    /// Batch norm's backward pass without the contribution of the mean.
    DropMeanTerm,
    /// Batch norm's backward pass without the contribution of the variance.
    DropVarianceTerm,
    /// Batch norm's backward pass without gamma.
    DropGamma,
    /// dJ/dgamma with s_tilde instead of s_hat.
    GammaOfOutput,
    /// The variance divided by n - 1.
    UnbiasedVariance,
    /// Gradients pass through inactive units.
    OpenRelu,
    /// lambda W instead of 2 lambda W.
    PenaltyWithoutFactor,
    /// A penalty on the biases too.
    PenaltyOnBiases,
    /// The bias gradient divided by n once more.
    BiasDividedTwice,
    /// The sum over the images instead of the mean.
    SumOfLosses,
    /// softmax without the one-hot labels.
    DropLabels,
}

const BUGS: [Bug; 11] = [
    Bug::DropMeanTerm,
    Bug::DropVarianceTerm,
    Bug::DropGamma,
    Bug::GammaOfOutput,
    Bug::UnbiasedVariance,
    Bug::OpenRelu,
    Bug::PenaltyWithoutFactor,
    Bug::PenaltyOnBiases,
    Bug::BiasDividedTwice,
    Bug::SumOfLosses,
    Bug::DropLabels,
];

type Rows = Vec<Vec<f64>>;

/// The values of a layer in a forward pass; one row per unit.
struct Seen {
    input: Rows,
    s_hat: Rows,
    s_tilde: Rows,
    deviations: Vec<f64>,
}

fn forward(network: &Network<f64>, x: Columns<'_, f64>, bug: Bug) -> Vec<Seen> {
    let n = x.ncols();
    let mut h: Rows = (0..x.nrows()).map(|i| (0..n).map(|j| x.col(j)[i]).collect()).collect();
    let mut seen = Vec::new();
    for layer in network.layers() {
        let weights = layer.affine.weight.rows().zip(&layer.affine.bias);
        let s: Rows = weights
            .map(|(w, b)| (0..n).map(|j| b + w.iter().zip(&h).map(|(w, h)| w * h[j]).sum::<f64>()).collect())
            .collect();
        let (mut s_hat, mut s_tilde, mut deviations) = (s.clone(), s, Vec::new());
        if let Some(norm) = &layer.batch_norm {
            for i in 0..s_hat.len() {
                let mean = s_hat[i].iter().sum::<f64>() / n as f64;
                let squares: f64 = s_hat[i].iter().map(|s| (s - mean).powi(2)).sum();
                let variance = squares / if bug == Bug::UnbiasedVariance { n - 1 } else { n } as f64;
                deviations.push((variance + norm.eps()).sqrt());
                for j in 0..n {
                    s_hat[i][j] = (s_hat[i][j] - mean) / deviations[i];
                    s_tilde[i][j] = norm.gamma[i] * s_hat[i][j] + norm.beta[i];
                }
            }
        }
        let output = s_tilde.iter().map(|row| row.iter().map(|s| s.max(0.0)).collect()).collect();
        seen.push(Seen { input: h, s_hat, s_tilde, deviations });
        h = output;
    }
    seen
}

/// The gradient of J, with `bug` planted.
fn backward(network: &Network<f64>, x: Columns<'_, f64>, labels: &[u8], bug: Bug) -> Gradients<f64> {
    let (seen, n) = (forward(network, x, bug), x.ncols());
    let mut gradients = Gradients::zeros(network.architecture());
    let last = seen.len() - 1;

    let mut g = seen[last].s_tilde.clone();
    for j in 0..n {
        let sum: f64 = seen[last].s_tilde.iter().map(|row| row[j].exp()).sum();
        for (class, row) in g.iter_mut().enumerate() {
            let label = usize::from(labels[j]) == class && bug != Bug::DropLabels;
            row[j] = (row[j].exp() / sum - f64::from(u8::from(label)))
                / if bug == Bug::SumOfLosses { 1.0 } else { n as f64 };
        }
    }
    for l in (0..=last).rev() {
        let (layer, here, gradient) = (&network.layers()[l], &seen[l], &mut gradients.layers[l]);
        for i in 0..g.len() {
            if l < last && bug != Bug::OpenRelu {
                g[i].iter_mut().zip(&here.s_tilde[i]).filter(|(_, s)| **s <= 0.0).for_each(|(g, _)| *g = 0.0);
            }
            if let (Some(norm), Some(gradient)) = (&layer.batch_norm, &mut gradient.batch_norm) {
                let output = if bug == Bug::GammaOfOutput { &here.s_tilde[i] } else { &here.s_hat[i] };
                gradient.gamma[i] = g[i].iter().zip(output).map(|(g, s)| g * s).sum();
                gradient.beta[i] = g[i].iter().sum();
                let mut mean = g[i].iter().sum::<f64>() / n as f64;
                let mut slope = g[i].iter().zip(&here.s_hat[i]).map(|(g, s)| g * s).sum::<f64>() / n as f64;
                match bug {
                    Bug::DropMeanTerm => mean = 0.0,
                    Bug::DropVarianceTerm => slope = 0.0,
                    _ => {}
                }
                let gamma = if bug == Bug::DropGamma { 1.0 } else { norm.gamma[i] };
                for (g, s_hat) in g[i].iter_mut().zip(&here.s_hat[i]) {
                    *g = gamma / here.deviations[i] * (*g - mean - s_hat * slope);
                }
            }
            let bias: f64 = g[i].iter().sum();
            gradient.affine.bias[i] = match bug {
                Bug::BiasDividedTwice => bias / n as f64,
                Bug::PenaltyOnBiases => bias + 2.0 * LAMBDA * layer.affine.bias[i],
                _ => bias,
            };
            let factor = if bug == Bug::PenaltyWithoutFactor { 1.0 } else { 2.0 };
            let weights = gradient.affine.weight.row_mut(i).iter_mut().zip(layer.affine.weight.row(i));
            for ((to, w), input) in weights.zip(&here.input) {
                *to = g[i].iter().zip(input).map(|(g, x)| g * x).sum::<f64>() + factor * LAMBDA * w;
            }
        }
        let below = (0..layer.affine.weight.ncols())
            .map(|k| (0..n).map(|j| layer.affine.weight.rows().zip(&g).map(|(w, g)| w[k] * g[j]).sum()).collect());
        g = below.collect();
    }
    gradients
}

fn check(network: &Network<f64>, x: Columns<'_, f64>, labels: &[u8], gradients: &Gradients<f64>) -> Vec<Comparison> {
    let penalty = |w| LAMBDA * w * w;
    numerical(network, x, labels, STEP).compare(network, gradients, penalty, FLOOR).unwrap()
}

fn shape() -> Shape {
    Shape { inputs: 5, hidden: vec![4, 4], classes: 3, batch_norm: true, init: Init::He, images: 9, seed: 3 }
}

#[test]
fn a_correct_backward_pass_passes_the_check() {
    let (network, (x, labels)) = (shape().network(), shape().batch());
    let plain = backward(&network, x.as_ref(), &labels, Bug::None);
    let worst = max_relative_error(&check(&network, x.as_ref(), &labels, &plain));
    assert!(worst < TOLERANCE, "{worst:.1e}");

    // Without the penalty, it also equals the gradient of the library.
    let library = analytic(&network, x.as_ref(), &labels);
    for ((plain, library), layer) in plain.layers.iter().zip(&library.layers).zip(network.layers()) {
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-14);
        for (i, row) in plain.affine.weight.rows().enumerate() {
            let weights = layer.affine.weight.row(i).iter();
            let loss_alone: Vec<f64> = row.iter().zip(weights).map(|(g, w)| g - 2.0 * LAMBDA * w).collect();
            assert!(near(&loss_alone, library.affine.weight.row(i)));
        }
        assert!(near(&plain.affine.bias, &library.affine.bias));
        if let (Some(plain), Some(library)) = (&plain.batch_norm, &library.batch_norm) {
            assert!(near(&plain.gamma, &library.gamma) && near(&plain.beta, &library.beta));
        }
    }
}

#[test]
fn every_planted_bug_fails_the_check() {
    let (network, (x, labels)) = (shape().network(), shape().batch());
    let missed: Vec<_> = BUGS
        .into_iter()
        .map(|bug| {
            (
                bug,
                max_relative_error(&check(
                    &network,
                    x.as_ref(),
                    &labels,
                    &backward(&network, x.as_ref(), &labels, bug),
                )),
            )
        })
        .filter(|(_, worst)| *worst < 1e4 * TOLERANCE)
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}
