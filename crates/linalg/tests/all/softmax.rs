use klayer_linalg::softmax::softmax;
use klayer_linalg::{RowMajor, Scalar};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::cases;

/// Softmax and log-sum-exp of each column of a matrix with `columns` columns.
fn softmax_of<T: Scalar>(values: &[T], columns: usize) -> (RowMajor<T>, Vec<T>) {
    let mut matrix = RowMajor::from_rows(values.len() / columns, columns, values);
    let mut log_sum_exp = vec![T::from_f64(0.0); columns];
    softmax(&mut matrix, &mut log_sum_exp);
    (matrix, log_sum_exp)
}

/// Logits of 1 to 12 classes for 1 to 40 images.
fn logits(size: f64) -> impl Strategy<Value = (usize, Vec<f64>)> {
    (1..12_usize, 1..40_usize)
        .prop_flat_map(move |(classes, images)| (Just(images), vec(-size..size, classes * images)))
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn softmax_columns_sum_to_1_and_are_shift_invariant((images, s) in logits(30.0), by in -100.0..100.0_f64) {
        let (p, log_sum_exp) = softmax_of(&s, images);
        let shifted: Vec<f64> = s.iter().map(|s| s + by).collect();
        let (p_shifted, log_sum_exp_shifted) = softmax_of(&shifted, images);
        for j in 0..images {
            let sum: f64 = p.rows().map(|row| row[j]).sum();
            prop_assert!((sum - 1.0).abs() < 1e-14, "sum {sum}");
            prop_assert!((log_sum_exp_shifted[j] - log_sum_exp[j] - by).abs() < 1e-12);
            for (p, shifted) in p.rows().zip(p_shifted.rows()) {
                prop_assert!(p[j] > 0.0 && (p[j] - shifted[j]).abs() < 1e-13, "{} {}", p[j], shifted[j]);
            }
        }
    }

    #[test]
    fn large_logits_do_not_overflow((images, s) in logits(1e4)) {
        let s: Vec<f32> = s.iter().map(|&s| s as f32).collect();
        let (p, log_sum_exp) = softmax_of(&s, images);
        for j in 0..images {
            let column: Vec<f64> = s.iter().skip(j).step_by(images).map(|&s| s.into()).collect();
            let largest = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = column.iter().map(|s| (s - largest).exp()).sum();
            let expected = largest + sum.ln();
            let tolerance = 4.0 * f64::from(f32::EPSILON) * expected.abs().max(1.0);
            prop_assert!((f64::from(log_sum_exp[j]) - expected).abs() <= tolerance, "{} {expected}", log_sum_exp[j]);
            for (row, s) in p.rows().zip(&column) {
                let expected = (s - largest).exp() / sum;
                prop_assert!((f64::from(row[j]) - expected).abs() < 1e-5, "{} {expected}", row[j]);
            }
        }
    }
}

/// A NaN logit of any class propagates.
#[test]
fn a_nan_logit_affects_only_its_own_column() {
    for class in 0..3 {
        let mut s = [1.0_f32, 2.0, -1.0, 0.0, 5.0, 3.0];
        s[2 * class + 1] = f32::NAN;
        let (p, log_sum_exp) = softmax_of(&s, 2);
        assert!(log_sum_exp[1].is_nan() && p.rows().all(|row| row[1].is_nan()), "class {class}");
        assert!(log_sum_exp[0].is_finite() && p.rows().all(|row| row[0].is_finite()), "class {class}");
    }
}
