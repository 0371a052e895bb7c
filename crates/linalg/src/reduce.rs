//! Sums over slices in a fixed order.
//!
//! Each sum runs in [`LANES`] independent lanes, which are then added pairwise. The compiler may keep the lanes in
//! vectors of any width: the loops are fast inside [`vectorize`](crate::vectorize), and the result does not depend on
//! the width.

use crate::Scalar;
use crate::simd::add_lanes;

/// Number of independent partial sums.
pub const LANES: usize = 16;

/// Returns the sum of the values.
///
/// ```
/// assert_eq!(klayer_linalg::reduce::sum(&[1.0; 100]), 100.0);
/// ```
#[inline(always)]
pub fn sum<T: Scalar>(values: &[T]) -> T {
    lanes(values, values, |a, _| a)
}

/// Returns the dot product of two slices. If the lengths differ, the rest of the longer slice is ignored.
///
/// ```
/// assert_eq!(klayer_linalg::reduce::dot(&[1.0, 2.0], &[3.0, 4.0]), 11.0);
/// ```
#[inline(always)]
pub fn dot<T: Scalar>(a: &[T], b: &[T]) -> T {
    lanes(a, b, |a, b| a * b)
}

/// Returns the sum of the squared distances of the values from `center`.
///
/// ```
/// assert_eq!(klayer_linalg::reduce::squared_distances(&[1.0, 3.0], 2.0), 2.0);
/// ```
#[inline(always)]
pub fn squared_distances<T: Scalar>(values: &[T], center: T) -> T {
    lanes(values, values, |a, _| (a - center) * (a - center))
}

#[inline(always)]
fn lanes<T: Scalar>(a: &[T], b: &[T], term: impl Fn(T, T) -> T) -> T {
    let length = a.len().min(b.len());
    let (a_chunks, a_rest) = a[..length].as_chunks::<LANES>();
    let (b_chunks, b_rest) = b[..length].as_chunks::<LANES>();
    let mut sums = [T::from_f64(0.0); LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] += term(a, b);
    }
    add_lanes(&mut sums)
}
