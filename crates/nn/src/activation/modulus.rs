//! The modulus of pairs of units: h = sqrt(u^2 + v^2 + 0.001), where u and v are the first and the second half of the m
//! units of a layer. The layer has m / 2 outputs, and the constant makes the modulus smooth at 0.
//!
//! The slopes are dh/du = u / h and dh/dv = v / h.

use klayer_linalg::{Par, RowMajor, RowsMut, Scalar, for_rows};

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

    fn forward(&self, Values { kept, h, .. }: &mut Values<T>, par: &Par) {
        forward(kept.as_mut().expect("not in place"), h, par);
    }

    fn backward(&self, Values { kept, d_h, d_input, .. }: &mut Values<T>, par: &Par) {
        backward(kept.as_ref().expect("not in place"), d_h, d_input.as_mut().expect("more units than outputs"), par);
    }
}

/// Computes `h` and replaces `s` by the slopes dh/ds.
///
/// # Shapes
/// `s` m x n, `h` m/2 x n.
pub fn forward<T: Scalar>(s: &mut RowMajor<T>, h: &mut RowMajor<T>, par: &Par) {
    let [u, v] = RowsMut::from(s).halves();
    for_rows(
        par,
        h.ncols(),
        [h.into(), u, v],
        #[inline(always)]
        |_, [h, u, v]| {
            let offset = T::from_f64(OFFSET);
            for (h, (u, v)) in h.iter_mut().zip(u.iter_mut().zip(v)) {
                *h = (*u * *u + *v * *v + offset).root();
                *u /= *h;
                *v /= *h;
            }
        },
    );
}

/// Computes dJ/ds from `d_h`.
///
/// # Shapes
/// `slopes` (as [`forward`] left them) and `d_s` m x n, `d_h` m/2 x n.
pub fn backward<T: Scalar>(slopes: &RowMajor<T>, d_h: &RowMajor<T>, d_s: &mut RowMajor<T>, par: &Par) {
    for_rows(
        par,
        d_s.ncols(),
        [d_s.into()],
        #[inline(always)]
        |i, [d_s]| {
            let d_h = d_h.row(i % d_h.nrows());
            for (d_s, (&slope, &d_h)) in d_s.iter_mut().zip(slopes.row(i).iter().zip(d_h)) {
                *d_s = d_h * slope;
            }
        },
    );
}
