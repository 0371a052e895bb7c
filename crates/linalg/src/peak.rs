//! How fast a core could multiply and add if it did nothing else: the measure of what the products reach.

use std::hint::black_box;

use pulp::{Arch, Simd, WithSimd};

use crate::Scalar;

/// Independent chains, which hide how long a multiply-add takes to come out.
const CHAINS: usize = 12;

/// Makes `rounds` rounds of fused multiply-adds of the widest vectors, all in registers, and returns how many
/// operations they were, a multiply-add of two numbers counted as two.
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

    Arch::new().dispatch(Rounds(rounds, T::from_f64(1e-3)))
}
