//! The cosine transform against its definition.

use std::f64::consts::PI;

use klayer_linalg::dct::{Dct, matrix};
use klayer_linalg::random::stream;
use klayer_linalg::{ColMajor, Par, Scalar};
use proptest::prelude::*;
use rand::RngExt;

/// Shapes (channels, height, width): whole vectors, partial ones, odd and even sides, single pixels.
const SHAPES: [(usize, usize, usize); 9] =
    [(3, 32, 32), (1, 28, 28), (2, 5, 7), (1, 1, 1), (3, 1, 9), (2, 9, 1), (1, 33, 17), (4, 16, 66), (1, 2, 35)];

fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut rng = stream(seed, "dct");
    (0..count).map(|_| rng.random_range(-2.0..2.0)).collect()
}

fn cosine(length: usize, k: usize, n: usize) -> f64 {
    let norm = (if k == 0 { 1.0 } else { 2.0 } / length as f64).sqrt();
    norm * (PI * (2 * n + 1) as f64 * k as f64 / (2 * length) as f64).cos()
}

/// Each coefficient of each channel as a sum over all pixels.
fn plain(image: &[f64], height: usize, width: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for channel in image.chunks(height * width) {
        for (k, l) in (0..height).flat_map(|k| (0..width).map(move |l| (k, l))) {
            let pixels = channel.iter().enumerate();
            out.push(pixels.map(|(at, x)| x * cosine(height, k, at / width) * cosine(width, l, at % width)).sum());
        }
    }
    out
}

fn transform<T: Scalar>((channels, height, width): (usize, usize, usize), image: &[f64]) -> Vec<f64> {
    let dct = Dct::<T>::new(height, width);
    let mut image: Vec<T> = image.iter().map(|&x| T::from_f64(x)).collect();
    let count = channels * height * width;
    let (one, zero) = (vec![T::from_f64(1.0); count], vec![T::from_f64(0.0); count]);
    dct.forward(&mut image, &one, &zero, &mut dct.memory());
    image.into_iter().map(Scalar::to_f64).collect()
}

#[test]
fn the_transform_equals_a_sum_over_all_pixels() {
    for shape @ (channels, height, width) in SHAPES {
        let image = numbers(channels * height * width, 1);
        let expected = plain(&image, height, width);
        let size = ((height * width) as f64).sqrt();
        for (found, tolerance) in [(transform::<f64>(shape, &image), 1e-14), (transform::<f32>(shape, &image), 1e-6)] {
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst <= tolerance * size, "{shape:?}: {worst}");
        }
    }
}

#[test]
fn coefficients_are_scaled_and_shifted() {
    let dct = Dct::<f64>::new(5, 7);
    let [mut image, scale, shift] = [1, 2, 3].map(|seed| numbers(70, seed));
    let plain = plain(&image, 5, 7);
    dct.forward(&mut image, &scale, &shift, &mut dct.memory());
    for i in 0..70 {
        assert!((image[i] - (plain[i] * scale[i] + shift[i])).abs() < 1e-14);
    }
}

proptest! {
    #![proptest_config(crate::cases(32))]

    /// A transform that is not orthonormal changes lengths, and its transpose does not invert it.
    #[test]
    fn the_transform_keeps_lengths(height in 1..40_usize, width in 1..40_usize, channels in 1..4_usize, seed: u64) {
        let image = numbers(channels * height * width, seed);
        let found = transform::<f64>((channels, height, width), &image);
        let length = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
        prop_assert!((length(&found) / length(&image) - 1.0).abs() < 1e-12);
        let d = matrix(height);
        for (i, j) in (0..height).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let dot: f64 = d.row(i).iter().zip(d.row(j)).map(|(a, b)| a * b).sum();
            prop_assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-13);
        }
    }
}

#[test]
fn each_thread_has_its_own_memory() {
    for threads in [1, 2, 3, 7] {
        let par = Par::threads(threads).unwrap();
        for (columns, used) in [(10, 10), (10, 3), (4, 0), (1, 1)] {
            let mut matrix = ColMajor::<f64>::zeros(3, columns);
            let mut own = vec![0; threads];
            par.install(|| {
                matrix.for_columns(used, &mut own, &par, &|j, column, own| {
                    column.fill(j as f64 + 1.0);
                    *own += 1;
                });
            });
            assert_eq!(own.iter().sum::<usize>(), used);
            for j in 0..columns {
                assert_eq!(matrix.col(j), [if j < used { j as f64 + 1.0 } else { 0.0 }; 3]);
            }
            assert_eq!(matrix.as_ref().first(used).ncols(), used);
        }
    }
}
