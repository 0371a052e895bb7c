//! Write a layer and check its gradient: `cargo run --release --example 02_gradient_of_a_layer`.
//!
//! The layer is softplus, h = ln(1 + e^s), whose derivative is the logistic function. Like the layers of klayer-nn, it
//! has a forward and a backward pass on matrices of units x images, generic over `Scalar`.

use klayer_linalg::random::stream;
use klayer_linalg::{RowMajor, Scalar};
use klayer_nn::gradient_check::{differences, relative_error};
use rand_distr::{Distribution, StandardNormal};

/// h = ln(1 + e^s), in place.
fn forward<T: Scalar>(s: &mut RowMajor<T>) {
    for i in 0..s.nrows() {
        s.row_mut(i).iter_mut().for_each(|s| *s = T::from_f64(s.to_f64().exp().ln_1p()));
    }
}

/// Converts `g` from dL/dh to dL/ds, in place. The derivative follows from the output: dh/ds = 1 - e^-h.
fn backward<T: Scalar>(h: &RowMajor<T>, g: &mut RowMajor<T>) {
    for i in 0..g.nrows() {
        for (g, h) in g.row_mut(i).iter_mut().zip(h.row(i)) {
            *g = T::from_f64(g.to_f64() * -(-h.to_f64()).exp_m1());
        }
    }
}

fn main() {
    let (units, images) = (5, 7);
    let mut random = StandardNormal.sample_iter(stream(42, "example"));
    let mut draw = || -> Vec<f64> { random.by_ref().take(units * images).collect() };
    let (s, weights) = (draw(), draw());

    // A loss that depends on every output: L = sum of weight * h, so dL/dh is the weights.
    let loss = |s: &[f64]| -> f64 {
        let mut h = RowMajor::from_rows(units, images, s);
        forward(&mut h);
        h.rows().flatten().zip(&weights).map(|(h, weight)| h * weight).sum()
    };
    let mut h = RowMajor::from_rows(units, images, &s);
    forward(&mut h);
    let mut analytic = RowMajor::from_rows(units, images, &weights);
    backward(&h, &mut analytic);

    let numerical = differences(loss, &s, 1e-5);
    let errors = analytic.rows().flatten().zip(&numerical).map(|(&ga, &gn)| relative_error(ga, gn, 1e-4));
    let largest = errors.fold(0.0, f64::max);
    println!("largest relative error of {} gradients: {largest:.1e}", s.len());
    assert!(largest < 1e-6, "the gradient is wrong");
}
