use std::panic::{AssertUnwindSafe, catch_unwind};

use klayer_linalg::product::{
    Inputs, Scratch, descend, descend_along, input_gradient, outputs, update, update_along, weight_gradient,
};
use klayer_linalg::{ColMajor, Images, MatRef, Par, Pixels, RowMajor, Scalar};
use proptest::prelude::*;
use proptest::sample::select;

use crate::{cases, normal, normal_columns};

/// Small numbers of features, and numbers near the block and vector sizes of the kernels.
fn features() -> impl Strategy<Value = usize> {
    prop_oneof![1..40_usize, select(vec![255, 256, 257, 300, 767, 768, 769, 1537, 3072])]
}

/// Small numbers of units, and numbers near the group sizes of the kernels.
fn units() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..20_usize, 1 => select(vec![60, 61, 125, 129, 260])]
}

/// Small numbers of images, and more than the terms that a kernel adds in one pass.
fn images() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 1..30_usize, 1 => select(vec![128, 129, 260])]
}

/// Asserts that `found` equals `a b`, computed by a triple loop in f64, within the rounding error of such a sum.
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

/// Checks all products of a layer of m units and k inputs for n images, and returns their bits.
fn layer_products<T: Scalar>(m: usize, k: usize, n: usize, unit: f64, par: &Par) -> Vec<u64> {
    let (w, images, g) = (normal::<T>(m, k, 1), normal_columns::<T>(k, n, 2), normal::<T>(m, n, 3));
    let mut hidden = RowMajor::zeros(k, n);
    hidden.as_mut().copy_from(images.as_ref().as_mat());
    let x = images.as_ref().as_mat();
    let mut scratch = Scratch::new([(k, m), (k, m)], n, par);
    let mut products = Vec::new();
    for inputs in [Inputs::Images(images.as_ref().into()), Inputs::Hidden(&hidden)] {
        let mut s = RowMajor::zeros(m, n);
        outputs(&mut s, &w, inputs, &mut scratch, par);
        assert_product(s.as_ref(), w.as_ref(), x, unit);

        let mut d_w = RowMajor::zeros(m, k);
        weight_gradient(&mut d_w, &g, inputs, &mut scratch, par);
        assert_product(d_w.as_ref(), g.as_ref(), x.transpose(), unit);

        let (decay, rate) = (T::from_f64(0.75), T::from_f64(0.1));
        let (mut at_once, mut after) = (w.clone(), w.clone());
        descend(&mut at_once, &g, inputs, (decay, rate), &mut scratch, par);
        descend_along(&mut after, &d_w, decay, rate, par);
        for (i, (at_once, after)) in at_once.rows().zip(after.rows()).enumerate() {
            for (j, (a, b)) in at_once.iter().zip(after).enumerate() {
                let expected = 0.75 * w.row(i)[j].to_f64() - 0.1 * d_w.row(i)[j].to_f64();
                let size = expected.abs() + d_w.row(i)[j].to_f64().abs() + 1.0;
                assert!((a.to_f64() - expected).abs() <= 4.0 * unit * size, "({i}, {j}): {a} is not {expected}");
                assert!(
                    a == b || (m < 128 && m * k > 128 * 128 && matches!(inputs, Inputs::Hidden(_))),
                    "({i}, {j}): {a} and {b}"
                );
            }
        }

        // A rule with a state, in one pass and in two.
        let rule = |w: &mut [T], d_w: &[T], state: &mut [T]| {
            for ((w, &d), state) in w.iter_mut().zip(d_w).zip(state) {
                *state = decay * *state + d;
                *w -= rate * *state;
            }
        };
        let (mut fused, mut state) = (w.clone(), normal(m, k, 4));
        let (mut apart, mut state_apart) = (w.clone(), state.clone());
        update(&mut fused, &mut state, &g, inputs, &mut scratch, par, rule);
        update_along(&mut apart, &mut state_apart, &d_w, rule);
        assert!(fused.rows().eq(apart.rows()) && state.rows().eq(state_apart.rows()), "{m} x {k} x {n}");
        products.extend([s, d_w, at_once, fused, state]);
    }
    let mut d_x = RowMajor::zeros(k, n);
    input_gradient(&mut d_x, &w, &g, &mut scratch, par);
    assert_product(d_x.as_ref(), w.as_ref().transpose(), g.as_ref(), unit);
    products.push(d_x);
    products.iter().flat_map(|product| product.rows()).flatten().map(|value| value.to_f64().to_bits()).collect()
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn layer_products_agree_with_a_triple_loop(m in units(), k in features(), n in images()) {
        layer_products::<f64>(m, k, n, f64::EPSILON, &Par::Seq);
        layer_products::<f32>(m, k, n, f32::EPSILON.into(), &Par::Seq);
    }
}

#[test]
fn products_do_not_depend_on_the_thread_count() {
    for (m, k, n) in
        [(5, 385, 7), (33, 3072, 100), (50, 768, 1), (200, 200, 12), (257, 769, 3), (260, 3072, 5), (150, 300, 260)]
    {
        let alone = layer_products::<f32>(m, k, n, f32::EPSILON.into(), &Par::Seq);
        for threads in [2, 3, 4] {
            let par = Par::threads(threads).unwrap();
            assert_eq!(par.count(), threads);
            assert!(alone == layer_products::<f32>(m, k, n, f32::EPSILON.into(), &par), "{threads} threads");
        }
    }
}

/// The outputs and the updated weights of a layer of m units for images.
fn image_products<T: Scalar>(m: usize, x: Images<'_, T>, par: &Par) -> [RowMajor<T>; 2] {
    let (w, g) = (normal::<T>(m, x.nrows(), 1), normal::<T>(m, x.ncols(), 3));
    let (mut s, mut after) = (RowMajor::zeros(m, x.ncols()), w.clone());
    let mut scratch = Scratch::new([(x.nrows(), m)], x.ncols(), par);
    outputs(&mut s, &w, Inputs::Images(x), &mut scratch, par);
    descend(&mut after, &g, Inputs::Images(x), (T::from_f64(0.75), T::from_f64(0.1)), &mut scratch, par);
    [s, after]
}

/// Asserts that images as bytes give the same bits as numbers, on any number of threads.
fn assert_bytes_are_as_good<T: Scalar>(m: usize, k: usize, n: usize, threads: usize) {
    let bytes: Vec<u8> = (0..k * n).map(|i| (i * i % 251) as u8).collect();
    let images: Vec<&[u8]> = bytes.chunks_exact(k).collect();
    let number = |i: usize| T::from_f64((i % 97) as f64 / 10.0);
    let (mean, scale): (Vec<T>, Vec<T>) = (0..k).map(|i| (number(7 * i), number(3 * i))).unzip();
    let pixels = Pixels::new(&images, &mean, &scale);
    let par = Par::threads(threads).unwrap();
    let mut columns = ColMajor::zeros(k, n);
    pixels.write(&mut columns, &par);
    for (j, image) in images.iter().enumerate() {
        for i in 0..k {
            assert_eq!(columns.col(j)[i], (T::from_f64(image[i].into()) - mean[i]) * scale[i], "({i}, {j})");
        }
    }
    let numbers = image_products(m, columns.as_ref().into(), &Par::Seq);
    for (of_bytes, of_numbers) in image_products(m, pixels.into(), &par).iter().zip(&numbers) {
        assert!(of_bytes.rows().eq(of_numbers.rows()), "{m} x {k} x {n}, {threads} threads");
    }
}

#[test]
fn byte_images_give_the_same_products_as_numbers() {
    // Near the tile, group, block and chunk sizes of the kernels.
    for (m, k, n) in [(1, 1, 1), (7, 385, 5), (50, 3072, 100), (61, 769, 129), (121, 300, 9), (260, 769, 257)] {
        for threads in [1, 2, 3] {
            assert_bytes_are_as_good::<f32>(m, k, n, threads);
            assert_bytes_are_as_good::<f64>(m, k, n, threads);
        }
    }
}

/// A sum of no terms is 0, and overwrites the old value.
#[test]
fn products_without_terms_are_zero() {
    let (none, g) = (ColMajor::<f32>::zeros(5, 0), RowMajor::zeros(2, 0));
    let hidden = RowMajor::zeros(5, 0);
    let (mean, scale) = ([0.0; 5], [1.0; 5]);
    let images = [none.as_ref().into(), Pixels::new(&[], &mean, &scale).into()].map(Inputs::Images);
    for x in images.into_iter().chain([Inputs::Hidden(&hidden)]) {
        let (mut d_w, mut w) = (normal(2, 5, 1), normal(2, 5, 1));
        let mut scratch = Scratch::new([(5, 2)], 0, &Par::Seq);
        weight_gradient(&mut d_w, &g, x, &mut scratch, &Par::Seq);
        descend(&mut w, &g, x, (0.5, 0.1), &mut scratch, &Par::Seq);
        assert!(d_w.rows().flatten().all(|&d| d == 0.0), "{x:?}");
        assert!(w.rows().flatten().zip(normal::<f32>(2, 5, 1).rows().flatten()).all(|(a, b)| *a == 0.5 * b), "{x:?}");
    }
    let (hidden, images, bytes): (_, _, [&[u8]; 3]) = (RowMajor::zeros(0, 3), ColMajor::zeros(0, 3), [&[]; 3]);
    let images = [images.as_ref().into(), Pixels::new(&bytes, &[], &[]).into()].map(Inputs::Images);
    for x in images.into_iter().chain([Inputs::Hidden(&hidden)]) {
        let (w, mut s) = (RowMajor::<f32>::zeros(2, 0), normal(2, 3, 1));
        outputs(&mut s, &w, x, &mut Scratch::new([(0, 2)], 3, &Par::Seq), &Par::Seq);
        assert!(s.rows().flatten().all(|&value| value == 0.0), "{x:?}");
    }
    let mut d_x = normal(4, 3, 1);
    let mut scratch = Scratch::new([(4, 0)], 3, &Par::Seq);
    input_gradient(&mut d_x, &RowMajor::<f32>::zeros(0, 4), &RowMajor::zeros(0, 3), &mut scratch, &Par::Seq);
    assert!(d_x.rows().flatten().all(|&value| value == 0.0));
}

/// Mismatched shapes panic instead of truncating the product.
#[test]
fn products_of_mismatched_shapes_panic() {
    let mut multiplied = Vec::new();
    // Less than a block of features, and more.
    for k in [5, 773] {
        // The shapes of out, a and b, with one extent off by one.
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
                let (mut s, mut scratch) = (RowMajor::zeros(out.0, out.1), Scratch::new([(a.1, a.0)], b.1, &Par::Seq));
                outputs(&mut s, &x, Inputs::Images(y.as_ref().into()), &mut scratch, &Par::Seq);
            };
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
            let product = || {
                let x = Inputs::Images(x.as_ref().into());
                let mut scratch = Scratch::new([(k, 2)], 4, &Par::Seq);
                weight_gradient(&mut RowMajor::zeros(out.0, out.1), &g, x, &mut scratch, &Par::Seq);
            };
            multiplied.extend(catch_unwind(AssertUnwindSafe(product)).map(|()| ("weight_gradient", out, a, b)));
        }
    }
    assert!(multiplied.is_empty(), "{multiplied:#?}");
}
