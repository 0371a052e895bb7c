//! The Gaussian error linear unit (Hendrycks and Gimpel, 2016), exactly: h = s Phi(s), where Phi is the distribution
//! function of the standard normal distribution, (1 + erf(s / sqrt(2))) / 2.
//!
//! The slope is dh/ds = Phi(s) + s phi(s), where phi is the density. It is computed in the forward pass, because Phi
//! and phi share an exponential.

use klayer_linalg::{Par, RowMajor, Scalar, for_rows};

use super::{Function, Values};

pub(crate) struct Gelu;

impl<T: Scalar> Function<T> for Gelu {
    fn forward(&self, Values { kept, h, .. }: &mut Values<T>, par: &Par) {
        forward(kept.as_mut().expect("not in place"), h, par);
    }

    fn backward(&self, Values { kept, d_h, .. }: &mut Values<T>, par: &Par) {
        backward(kept.as_ref().expect("not in place"), d_h, par);
    }
}

/// Computes `h = s Phi(s)` and replaces `s` by the slope dh/ds.
///
/// # Shapes
/// `s` and `h` m x n.
pub fn forward<T: Scalar>(s: &mut RowMajor<T>, h: &mut RowMajor<T>, par: &Par) {
    for_rows(
        par,
        s.ncols(),
        [s.into(), h.into()],
        #[inline(always)]
        |_, [s, h]| {
            for (s, h) in s.iter_mut().zip(h) {
                let (below, density) = s.normal_distribution();
                *h = *s * below;
                *s = below + *s * density;
            }
        },
    );
}

/// Converts `g` from dJ/dh to dJ/ds, in place.
///
/// # Shapes
/// `slope` (as [`forward`] left it) and `g` m x n.
pub fn backward<T: Scalar>(slope: &RowMajor<T>, g: &mut RowMajor<T>, par: &Par) {
    for_rows(
        par,
        g.ncols(),
        [g.into()],
        #[inline(always)]
        |i, [g]| {
            for (g, &slope) in g.iter_mut().zip(slope.row(i)) {
                *g *= slope;
            }
        },
    );
}
