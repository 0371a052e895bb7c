use std::panic::{AssertUnwindSafe, catch_unwind};

use klayer_linalg::product::{input_gradient, outputs, weight_gradient};
use klayer_linalg::{MatRef, Par, RowMajor, Scalar};
use proptest::prelude::*;
use proptest::sample::select;

use crate::{cases, normal, normal_columns};

/// Few features, which go to faer, and numbers around blocks and vectors of the kernels.
fn features() -> impl Strategy<Value = usize> {
    prop_oneof![1..40_usize, select(vec![255, 256, 257, 300, 1023, 1024, 1025, 1200, 3072])]
}

/// Asserts that `found` is `a b` as a triple loop in f64 has it, within the rounding of a sum of that many terms.
fn assert_product<T: Scalar>(found: MatRef<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>, unit: f64) {
    assert_eq!((found.nrows(), found.ncols()), (a.nrows(), b.ncols()));
    for i in 0..a.nrows() {
        for j in 0..b.ncols() {
            let (mut sum, mut size) = (0.0, 0.0);
            for k in 0..a.ncols() {
                let term = a[(i, k)].to_f64() * b[(k, j)].to_f64();
                sum += term;
                size += term.abs();
            }
            let error = (found[(i, j)].to_f64() - sum).abs();
            assert!(error <= unit * a.ncols() as f64 * size, "({i}, {j}): {} is not {sum}", found[(i, j)]);
        }
    }
}

/// The three products of a layer of m units over k inputs for n images, and all their bits.
fn layer_products<T: Scalar>(m: usize, k: usize, n: usize, unit: f64, par: &Par) -> Vec<u64> {
    let (w, x, g) = (normal::<T>(m, k, 1), normal_columns::<T>(k, n, 2), normal::<T>(m, n, 3));
    let mut s = RowMajor::zeros(m, n);
    outputs(&mut s, &w, x.as_ref(), par);
    assert_product(s.as_ref(), w.as_ref(), x.as_ref(), unit);

    let mut d_w = RowMajor::zeros(m, k);
    weight_gradient(&mut d_w, &g, x.as_ref(), par);
    assert_product(d_w.as_ref(), g.as_ref(), x.as_ref().transpose(), unit);

    let mut d_x = RowMajor::zeros(k, n);
    input_gradient(&mut d_x, &w, &g, par);
    assert_product(d_x.as_ref(), w.as_ref().transpose(), g.as_ref(), unit);

    // Inputs whose rows are contiguous, as those of hidden layers, never meet a kernel.
    let mut rows = RowMajor::zeros(k, n);
    rows.as_mut().copy_from(x.as_ref());
    let (mut s_rows, mut d_w_rows) = (RowMajor::zeros(m, n), RowMajor::zeros(m, k));
    outputs(&mut s_rows, &w, rows.as_ref(), par);
    assert_product(s_rows.as_ref(), w.as_ref(), x.as_ref(), unit);
    weight_gradient(&mut d_w_rows, &g, rows.as_ref(), par);
    assert_product(d_w_rows.as_ref(), g.as_ref(), x.as_ref().transpose(), unit);

    let products = [s, d_w, d_x, s_rows, d_w_rows];
    products.iter().flat_map(|product| product.rows()).flatten().map(|value| value.to_f64().to_bits()).collect()
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn the_three_products_of_a_layer_agree_with_a_triple_loop(m in 1..20_usize, k in features(), n in 1..30_usize) {
        layer_products::<f64>(m, k, n, f64::EPSILON, &Par::Seq);
        layer_products::<f32>(m, k, n, f32::EPSILON.into(), &Par::Seq);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_product() {
    for (m, k, n) in [(5, 385, 7), (33, 1937, 100), (50, 768, 1), (130, 300, 12)] {
        let alone = layer_products::<f32>(m, k, n, f32::EPSILON.into(), &Par::Seq);
        for threads in [2, 3, 4] {
            let par = Par::threads(threads).unwrap();
            assert_eq!(par.count(), threads);
            assert!(alone == layer_products::<f32>(m, k, n, f32::EPSILON.into(), &par), "{threads} threads");
        }
    }
}

/// A product of shapes that do not agree panics, rather than leave out what does not fit.
#[test]
fn shapes_that_do_not_agree_are_never_multiplied() {
    let mut multiplied = Vec::new();
    // With features so few that faer multiplies, and so many that the kernels do.
    for k in [5, 773] {
        // Each off by one somewhere: out, a and b.
        let shapes = [
            ((3, 4), (2, k), (k, 4)),
            ((1, 4), (2, k), (k, 4)),
            ((2, 5), (2, k), (k, 4)),
            ((2, 3), (2, k), (k, 4)),
            ((2, 4), (2, k), (k - 1, 4)),
            ((2, 4), (2, k), (k + 1, 4)),
        ];
        for (out, a, b) in shapes {
            let (x, y) = (normal::<f64>(a.0, a.1, 1), normal_columns::<f64>(b.0, b.1, 2));
            let product = || outputs(&mut RowMajor::zeros(out.0, out.1), &x, y.as_ref(), &Par::Seq);
            multiplied.extend(catch_unwind(AssertUnwindSafe(product)).map(|()| ("outputs", out, a, b)));
        }
        let shapes = [
            ((3, k), (2, 4), (k, 4)),
            ((1, k), (2, 4), (k, 4)),
            ((2, k), (2, 3), (k, 4)),
            ((2, k), (2, 4), (k - 1, 4)),
            ((2, k), (2, 4), (k + 1, 4)),
        ];
        for (out, a, b) in shapes {
            let (g, x) = (normal::<f64>(a.0, a.1, 1), normal_columns::<f64>(b.0, b.1, 2));
            let product = || weight_gradient(&mut RowMajor::zeros(out.0, out.1), &g, x.as_ref(), &Par::Seq);
            multiplied.extend(catch_unwind(AssertUnwindSafe(product)).map(|()| ("weight_gradient", out, a, b)));
        }
    }
    assert!(multiplied.is_empty(), "{multiplied:#?}");
}
