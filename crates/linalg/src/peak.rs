//! The peak multiply-add rate of a core, as a reference for the speed of the products.

use std::hint::black_box;

use pulp::{Simd, WithSimd};

use crate::Scalar;
use crate::simd::arch;

/// Number of independent chains, enough to hide the latency of a multiply-add.
const CHAINS: usize = 12;

/// Runs `rounds` rounds of fused multiply-adds on the widest vectors, entirely in registers, and returns the number of
/// operations. A multiply-add of two numbers counts as two operations.
///
/// ```
/// assert!(klayer_linalg::peak::multiply_adds::<f32>(10) >= 10 * 12 * 2);
/// ```
pub fn multiply_adds<T: Scalar>(rounds: u64) -> u64 {
    struct Rounds<T>(u64, T);

    impl<T: Scalar> WithSimd for Rounds<T> {
        type Output = u64;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> u64 {
            let Self(rounds, start) = self;
            let (factor, term) = (T::splat(simd, black_box(T::from_f64(0.999))), T::splat(simd, black_box(start)));
            let mut sums = [term; CHAINS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = T::mul_add(simd, *sum, factor, term);
                }
            }
            black_box(sums.map(|sum| T::sum(simd, sum)));
            rounds * (CHAINS * 2 * (size_of::<T::Vector<S>>() / size_of::<T>())) as u64
        }
    }

    arch().dispatch(Rounds(rounds, T::from_f64(1e-3)))
}
