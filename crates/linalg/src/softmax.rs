//! Softmax and log-sum-exp of the columns of a matrix.
//!
//! With M the largest logit of a column, softmax(s)_i = exp(s_i - M) / sum_k exp(s_k - M), and
//! log sum_k exp(s_k) = M + log sum_k exp(s_k - M). Every exponent is at most 0 and one of them is 0, so nothing
//! overflows and no sum is 0, however large the logits are.

use crate::{RowMajor, Scalar, vectorize};

/// Number of columns summed at the same time.
const COLUMNS: usize = 16;

/// Replaces each column of `logits` (classes x n) by its softmax, and writes its log-sum-exp to `log_sum_exp` (n).
///
/// # Panics
/// If `log_sum_exp` has fewer elements than the matrix has columns, or there are no classes.
///
/// ```
/// use klayer_linalg::{RowMajor, softmax::softmax};
///
/// let mut p = RowMajor::from_rows(2, 1, &[1000.0, 1000.0]);
/// let mut log_sum_exp = [0.0];
/// softmax(&mut p, &mut log_sum_exp);
/// assert_eq!(p.row(0), [0.5]);
/// assert_eq!(log_sum_exp[0], 1000.0 + 2.0_f64.ln());
/// ```
pub fn softmax<T: Scalar>(logits: &mut RowMajor<T>, log_sum_exp: &mut [T]) {
    vectorize(
        #[inline(always)]
        || {
            let n = logits.ncols();
            let largest = &mut log_sum_exp[..n];
            largest.copy_from_slice(logits.row(0));
            for i in 1..logits.nrows() {
                for (largest, &s) in largest.iter_mut().zip(logits.row(i)) {
                    *largest = if s > *largest { s } else { *largest };
                }
            }
            for i in 0..logits.nrows() {
                for (s, &largest) in logits.row_mut(i).iter_mut().zip(&*largest) {
                    *s = (*s - largest).exponential();
                }
            }
            for (block, largest) in largest.chunks_mut(COLUMNS).enumerate() {
                let columns = block * COLUMNS..block * COLUMNS + largest.len();
                let mut sums = [T::from_f64(0.0); COLUMNS];
                for i in 0..logits.nrows() {
                    for (sum, &s) in sums.iter_mut().zip(&logits.row(i)[columns.clone()]) {
                        *sum += s;
                    }
                }
                for i in 0..logits.nrows() {
                    for (s, &sum) in logits.row_mut(i)[columns.clone()].iter_mut().zip(&sums) {
                        *s /= sum;
                    }
                }
                for (largest, sum) in largest.iter_mut().zip(sums) {
                    *largest += sum.logarithm();
                }
            }
        },
    );
}
