use pulp::{Arch, Simd, WithSimd};

/// Runs `work` compiled for the widest vectors that the processor offers, chosen when the program runs.
///
/// Plain loops over slices inside `work` are then vectorized by the compiler. It and the functions that it calls
/// take part only if they are inlined: mark them `#[inline(always)]`. The values do not depend on the width: loops
/// that sum do so in a fixed number of lanes (see [`reduce`](crate::reduce)), and nothing is fused or reordered.
#[inline(always)]
pub fn vectorize<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Bits of the widest vectors that the processor offers: those of the kernels of [`product`](crate::product), whose
/// sums differ in the last bits from one width to another. 32, a single number, where there are no vectors.
///
/// ```
/// assert!(klayer_linalg::vector_bits().is_power_of_two());
/// ```
pub fn vector_bits() -> u32 {
    struct Bits;

    impl WithSimd for Bits {
        type Output = u32;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> u32 {
            8 * size_of::<S::f32s>() as u32
        }
    }

    Arch::new().dispatch(Bits)
}
