//! The rectifier h = max(s, 0), whose gradient is passed on where h > 0.
//!
//! Both loops load a value, choose, and store the choice. They add 0 to it, which changes nothing but the sign of a
//! zero: a loop that would store the same value again stores on one side alone, by a branch that no processor can
//! predict or under a mask that takes as long as the rest of the layer.

use klayer_linalg::{RowMajor, Scalar, vectorize};

/// `s = max(s, 0)`, in place. A NaN stays one, so that a diverged network is noticed in its loss.
///
/// # Shapes
/// `s` m x n.
pub fn forward<T: Scalar>(s: &mut RowMajor<T>) {
    vectorize(
        #[inline(always)]
        || {
            let zero = T::from_f64(0.0);
            for i in 0..s.nrows() {
                for s in s.row_mut(i) {
                    let value = *s;
                    *s = if value < zero { zero } else { value + zero };
                }
            }
        },
    );
}

/// Turns `g` from dJ/dh into dJ/ds, in place.
///
/// # Shapes
/// `h` (the output of [`forward`]) and `g` m x n.
pub fn backward<T: Scalar>(h: &RowMajor<T>, g: &mut RowMajor<T>) {
    vectorize(
        #[inline(always)]
        || {
            let zero = T::from_f64(0.0);
            for i in 0..g.nrows() {
                for (g, &h) in g.row_mut(i).iter_mut().zip(h.row(i)) {
                    let value = *g;
                    *g = if h > zero { value + zero } else { zero };
                }
            }
        },
    );
}
