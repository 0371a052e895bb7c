use std::panic::{AssertUnwindSafe, catch_unwind};

use klayer_linalg::product::{Partials, TILE, sum_over_tiles, tile_by_tile};
use klayer_linalg::{MatRef, Par, RowMajor, Scalar};
use proptest::prelude::*;
use proptest::sample::select;

use crate::{cases, normal, normal_columns};

/// Numbers of features within a tile, around its edges, and over several tiles.
fn features() -> impl Strategy<Value = usize> {
    prop_oneof![1..40_usize, select(vec![TILE - 1, TILE, TILE + 1, 2 * TILE, 3 * TILE + 1, 1024, 1200])]
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
    sum_over_tiles(&mut s, w.as_ref(), x.as_ref(), &mut Partials::new(m, k, n), par);
    assert_product(s.as_ref(), w.as_ref(), x.as_ref(), unit);

    let mut d_w = RowMajor::zeros(m, k);
    tile_by_tile(d_w.as_mut(), g.as_ref(), x.as_ref().transpose(), par);
    assert_product(d_w.as_ref(), g.as_ref(), x.as_ref().transpose(), unit);

    let mut d_x = RowMajor::zeros(k, n);
    tile_by_tile(d_x.as_mut().transpose_mut(), g.as_ref().transpose(), w.as_ref(), par);
    assert_product(d_x.as_ref(), w.as_ref().transpose(), g.as_ref(), unit);
    [s, d_w, d_x].iter().flat_map(|product| product.rows()).flatten().map(|value| value.to_f64().to_bits()).collect()
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
    for (m, k, n) in [(5, TILE + 1, 7), (33, 5 * TILE + 17, 100), (50, 2 * TILE, 1)] {
        let alone = layer_products::<f32>(m, k, n, f32::EPSILON.into(), &Par::Seq);
        for threads in [2, 3, 4] {
            let par = Par::threads(threads).unwrap();
            assert_eq!(par.count(), threads);
            assert!(alone == layer_products::<f32>(m, k, n, f32::EPSILON.into(), &par), "{threads} threads");
        }
    }
}

#[test]
fn partial_sums_for_a_larger_batch_serve_a_smaller_one() {
    let (m, k, n) = (4, 2 * TILE + 5, 6);
    let (w, x) = (normal::<f64>(m, k, 1), normal_columns::<f64>(k, n, 2));
    let mut s = RowMajor::zeros(m, n);
    sum_over_tiles(&mut s, w.as_ref(), x.as_ref(), &mut Partials::new(m, k, n + 9), &Par::Seq);
    assert_product(s.as_ref(), w.as_ref(), x.as_ref(), f64::EPSILON);
}

/// A product of shapes that do not agree panics, rather than leave out what does not fit.
#[test]
fn shapes_that_do_not_agree_are_never_multiplied() {
    let mut multiplied = Vec::new();
    // With 5 features, and with as many more as need several tiles.
    for k in [5, 5 + 2 * TILE] {
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
            let product = || {
                let mut partials = Partials::new(a.0, a.1, b.1);
                sum_over_tiles(&mut RowMajor::zeros(out.0, out.1), x.as_ref(), y.as_ref(), &mut partials, &Par::Seq);
            };
            multiplied.extend(catch_unwind(AssertUnwindSafe(product)).map(|()| ("sum_over_tiles", out, a, b)));
        }
        let shapes = [
            ((3, k), (2, 4), (4, k)),
            ((1, k), (2, 4), (4, k)),
            ((2, k), (2, 3), (4, k)),
            ((2, k), (2, 4), (4, k - 1)),
            ((2, k), (2, 4), (4, k + 1)),
        ];
        for (out, a, b) in shapes {
            let (x, y) = (normal::<f64>(a.0, a.1, 1), normal::<f64>(b.0, b.1, 2));
            let product = || tile_by_tile(RowMajor::zeros(out.0, out.1).as_mut(), x.as_ref(), y.as_ref(), &Par::Seq);
            multiplied.extend(catch_unwind(AssertUnwindSafe(product)).map(|()| ("tile_by_tile", out, a, b)));
        }
    }
    assert!(multiplied.is_empty(), "{multiplied:#?}");
}
