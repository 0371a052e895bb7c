//! The rectifier h = max(s, 0), whose gradient passes where h > 0.
//!
//! Both loops select a value and store it unconditionally. They add 0 to it, which only changes the sign of a zero:
//! without the addition, the compiler skips stores of unchanged values, with an unpredictable branch or with a masked
//! store that takes as long as the rest of the layer.

use klayer_linalg::{Par, RowMajor, Scalar, for_rows, vectorize};

use super::{Function, Values};

pub(crate) struct Relu;

impl<T: Scalar> Function<T> for Relu {
    fn in_place(&self) -> bool {
        true
    }

    fn forward(&self, values: &mut Values<T>, par: &Par) {
        forward(&mut values.h, par);
    }

    fn backward(&self, Values { h, d_h, .. }: &mut Values<T>, par: &Par) {
        backward(h, d_h, par);
    }

    /// Whether any unit is active for an image in only one of the passes.
    fn kink(&self, here: &RowMajor<T>, there: &RowMajor<T>) -> bool {
        vectorize(
            #[inline(always)]
            || {
                let (zero, mut differ) = (T::from_f64(0.0), false);
                for i in 0..here.nrows() {
                    for (&here, &there) in here.row(i).iter().zip(there.row(i)) {
                        differ |= (here > zero) != (there > zero);
                    }
                }
                differ
            },
        )
    }
}

/// Computes `s = max(s, 0)` in place. NaN propagates, so that a diverged network has a NaN loss.
///
/// # Shapes
/// `s` m x n.
pub fn forward<T: Scalar>(s: &mut RowMajor<T>, par: &Par) {
    for_rows(
        par,
        s.ncols(),
        [s.into()],
        #[inline(always)]
        |_, [s]| {
            let zero = T::from_f64(0.0);
            for s in s {
                let value = *s;
                *s = if value < zero { zero } else { value + zero };
            }
        },
    );
}

/// Converts `g` from dJ/dh to dJ/ds, in place.
///
/// # Shapes
/// `h` (the output of [`forward`]) and `g` m x n.
pub fn backward<T: Scalar>(h: &RowMajor<T>, g: &mut RowMajor<T>, par: &Par) {
    for_rows(
        par,
        g.ncols(),
        [g.into()],
        #[inline(always)]
        |i, [g]| {
            let zero = T::from_f64(0.0);
            for (g, &h) in g.iter_mut().zip(h.row(i)) {
                let value = *g;
                *g = if h > zero { value + zero } else { zero };
            }
        },
    );
}
