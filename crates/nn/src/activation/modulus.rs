//! The modulus of pairs of units: h = sqrt(u^2 + v^2 + 0.001), where u and v are the first and the second half of the m
//! units of a layer. The layer has m / 2 outputs, and the constant makes the modulus smooth at 0.
//!
//! The slopes are dh/du = u / h and dh/dv = v / h.

use klayer_linalg::{RowMajor, Scalar, vectorize};

use super::{Function, Values};

/// The constant below the root.
pub const OFFSET: f64 = 0.001;

pub(crate) struct Modulus;

impl<T: Scalar> Function<T> for Modulus {
    fn units(&self) -> usize {
        2
    }

    // Near 0, the curvature is 1 / sqrt(0.001).
    fn bends_sharply(&self) -> bool {
        true
    }

    fn forward(&self, Values { kept, h, .. }: &mut Values<T>) {
        forward(kept.as_mut().expect("not in place"), h);
    }

    fn backward(&self, Values { kept, d_h, d_input, .. }: &mut Values<T>) {
        backward(kept.as_ref().expect("not in place"), d_h, d_input.as_mut().expect("more units than outputs"));
    }
}

/// Computes `h` and replaces `s` by the slopes dh/ds.
///
/// # Shapes
/// `s` m x n, `h` m/2 x n.
pub fn forward<T: Scalar>(s: &mut RowMajor<T>, h: &mut RowMajor<T>) {
    vectorize(
        #[inline(always)]
        || {
            let (half, offset) = (h.nrows(), T::from_f64(OFFSET));
            for i in 0..half {
                for (h, (&u, &v)) in h.row_mut(i).iter_mut().zip(s.row(i).iter().zip(s.row(i + half))) {
                    *h = (u * u + v * v + offset).root();
                }
                for i in [i, i + half] {
                    for (s, &h) in s.row_mut(i).iter_mut().zip(h.row(i % half)) {
                        *s /= h;
                    }
                }
            }
        },
    );
}

/// Computes dJ/ds from `d_h`.
///
/// # Shapes
/// `slopes` (as [`forward`] left them) and `d_s` m x n, `d_h` m/2 x n.
pub fn backward<T: Scalar>(slopes: &RowMajor<T>, d_h: &RowMajor<T>, d_s: &mut RowMajor<T>) {
    vectorize(
        #[inline(always)]
        || {
            let half = d_h.nrows();
            for i in 0..2 * half {
                for (d_s, (&slope, &d_h)) in d_s.row_mut(i).iter_mut().zip(slopes.row(i).iter().zip(d_h.row(i % half)))
                {
                    *d_s = d_h * slope;
                }
            }
        },
    );
}
