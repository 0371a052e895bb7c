//! Tests that the gradient check detects bugs planted in a backward pass of plain loops.

use klayer_linalg::Scalar;
use klayer_nn::gradient_check::Comparison;
use klayer_nn::{Activation, Gradients, Network, Objective};

use crate::gradients::{FLOOR, TOLERANCE, analytic, max_relative_error, numerical};
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
    /// The slope of GELU without its density.
    GeluWithoutDensity,
    /// The gradient of the first half of the units of a modulus given to the second.
    ModulusOfOneHalf,
    /// Gradients pass through dropped outputs.
    OpenDropout,
    /// The gradient of dropout without 1 / (1 - p).
    DropoutWithoutScale,
    /// Label smoothing without the share of the other classes.
    SmoothingOfTheLabelAlone,
    /// The gradient of the plain cross-entropy.
    DropSmoothing,
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

const BUGS: [Bug; 17] = [
    Bug::DropMeanTerm,
    Bug::DropVarianceTerm,
    Bug::DropGamma,
    Bug::GammaOfOutput,
    Bug::UnbiasedVariance,
    Bug::OpenRelu,
    Bug::GeluWithoutDensity,
    Bug::ModulusOfOneHalf,
    Bug::OpenDropout,
    Bug::DropoutWithoutScale,
    Bug::SmoothingOfTheLabelAlone,
    Bug::DropSmoothing,
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
    /// What dropout multiplies the outputs by.
    mask: Rows,
}

/// The masks of the hidden layers: those of GELU, whose outputs are 0 only if they are dropped.
fn masks(shape: &Shape) -> Vec<Rows> {
    let hidden: Vec<usize> = shape.architecture().outputs().collect();
    let gelu = Shape { hidden, activations: vec![Activation::Gelu], ..shape.clone() };
    let (mut workspace, (x, _)) = (gelu.workspace(), gelu.batch());
    gelu.network::<f64>().forward_train(x.as_ref(), &mut workspace).unwrap();
    let factor = |&h: &f64| if h == 0.0 { 0.0 } else { 1.0 / (1.0 - shape.objective.dropout()) };
    let layers = (0..shape.hidden.len()).map(|l| workspace.hidden(l).rows());
    layers.map(|rows| rows.map(|row| row.iter().map(factor).collect()).collect()).collect()
}

fn activated(activation: Activation, s: &Rows) -> Rows {
    let of = |f: fn(f64) -> f64| s.iter().map(|row| row.iter().copied().map(f).collect()).collect();
    match activation {
        Activation::Relu => of(|s| s.max(0.0)),
        Activation::Gelu => of(|s| s * s.normal_distribution().0),
        Activation::Modulus => {
            let (u, v) = s.split_at(s.len() / 2);
            let modulus = |(u, v): (&f64, &f64)| (u * u + v * v + 0.001).sqrt();
            u.iter().zip(v).map(|(u, v)| u.iter().zip(v).map(modulus).collect()).collect()
        }
    }
}

/// dJ/ds of an activation from dJ/dh.
fn through(activation: Activation, s: &Rows, g: &Rows, bug: Bug) -> Rows {
    let h = activated(activation, s);
    let slope = |i: usize, j: usize| match activation {
        Activation::Relu => f64::from(u8::from(s[i][j] > 0.0 || bug == Bug::OpenRelu)),
        Activation::Gelu => {
            let (below, density) = s[i][j].normal_distribution();
            below + if bug == Bug::GeluWithoutDensity { 0.0 } else { s[i][j] * density }
        }
        Activation::Modulus => s[if bug == Bug::ModulusOfOneHalf { i % h.len() } else { i }][j] / h[i % h.len()][j],
    };
    let row = |i: usize| g[i % h.len()].iter().enumerate().map(|(j, g)| g * slope(i, j)).collect();
    (0..s.len()).map(row).collect()
}

fn forward(shape: &Shape, network: &Network<f64>, bug: Bug) -> Vec<Seen> {
    let (x, _) = shape.batch::<f64>();
    let (n, mut masks) = (x.ncols(), masks(shape).into_iter());
    let mut h: Rows = (0..x.nrows()).map(|i| (0..n).map(|j| x.col(j)[i]).collect()).collect();
    let mut seen = Vec::new();
    for (l, layer) in network.layers().iter().enumerate() {
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
        let activation = network.architecture().activations().get(l);
        let mut output = activation.map_or(Rows::new(), |&activation| activated(activation, &s_tilde));
        let mask = masks.next().unwrap_or_default();
        for (h, mask) in output.iter_mut().zip(&mask) {
            h.iter_mut().zip(mask).for_each(|(h, mask)| *h *= mask);
        }
        seen.push(Seen { input: h, s_hat, s_tilde, deviations, mask });
        h = output;
    }
    seen
}

/// The gradient of J, with `bug` planted.
fn backward(shape: &Shape, network: &Network<f64>, bug: Bug) -> Gradients<f64> {
    let (seen, (_, labels), n) = (forward(shape, network, bug), shape.batch::<f64>(), shape.images);
    let smoothing = if bug == Bug::DropSmoothing { 0.0 } else { shape.objective.smoothing() };
    let mut gradients = Gradients::zeros(network.architecture());
    let last = seen.len() - 1;

    let mut g = seen[last].s_tilde.clone();
    for j in 0..n {
        let sum: f64 = seen[last].s_tilde.iter().map(|row| row[j].exp()).sum();
        for (class, row) in g.iter_mut().enumerate() {
            let label = usize::from(labels[j]) == class && bug != Bug::DropLabels;
            let uniform = if bug == Bug::SmoothingOfTheLabelAlone { 0.0 } else { smoothing / shape.classes as f64 };
            row[j] = (row[j].exp() / sum - (1.0 - smoothing) * f64::from(u8::from(label)) - uniform)
                / if bug == Bug::SumOfLosses { 1.0 } else { n as f64 };
        }
    }
    for l in (0..=last).rev() {
        let (layer, here, gradient) = (&network.layers()[l], &seen[l], &mut gradients.layers[l]);
        if l < last {
            for (g, mask) in g.iter_mut().zip(&here.mask) {
                g.iter_mut().zip(mask).for_each(|(g, mask)| match bug {
                    Bug::OpenDropout => *g /= 1.0 - shape.objective.dropout(),
                    Bug::DropoutWithoutScale if *mask != 0.0 => {}
                    _ => *g *= mask,
                });
            }
            g = through(network.architecture().activations()[l], &here.s_tilde, &g, bug);
        }
        for i in 0..g.len() {
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

fn check(shape: &Shape, network: &Network<f64>, gradients: &Gradients<f64>) -> Vec<Comparison> {
    let penalty = |w| LAMBDA * w * w;
    numerical(shape, network).compare(network, gradients, penalty, FLOOR).unwrap()
}

/// A network with every activation, dropout and label smoothing.
fn shape() -> Shape {
    let objective = Objective::default().with_dropout(0.25, 3).unwrap().with_smoothing(0.3).unwrap();
    let activations = vec![Activation::Modulus, Activation::Gelu, Activation::Relu];
    Shape {
        inputs: 5,
        hidden: vec![8, 5, 4],
        classes: 3,
        images: 9,
        seed: 3,
        activations,
        objective,
        ..Shape::default()
    }
}

#[test]
fn a_correct_backward_pass_passes_the_check() {
    let (shape, network) = (shape(), shape().network());
    let plain = backward(&shape, &network, Bug::None);
    let worst = max_relative_error(&check(&shape, &network, &plain));
    assert!(worst < TOLERANCE, "{worst:.1e}");

    // Without the penalty, it also equals the gradient of the library.
    let library = analytic(&shape, &network);
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
    let (shape, network) = (shape(), shape().network());
    let worst = |bug| max_relative_error(&check(&shape, &network, &backward(&shape, &network, bug)));
    let worst = BUGS.map(|bug| (bug, worst(bug)));
    let missed: Vec<_> = worst.into_iter().filter(|(_, worst)| *worst < 1e4 * TOLERANCE).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
