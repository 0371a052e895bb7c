use pulp::{Arch, Simd, WithSimd};

/// Runs `work`, compiled for the widest vectors that the processor supports (detected at run time).
///
/// The compiler vectorizes plain loops over slices inside `work`. This requires that `work` and all functions that it
/// calls are inlined: mark them `#[inline(always)]`. Results do not depend on the vector width: sums use a fixed number
/// of lanes (see [`reduce`](crate::reduce)), and no operations are fused or reordered.
#[inline(always)]
pub fn vectorize<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Returns the width in bits of the widest vectors that the processor supports, or 32 (a single number) if it has
/// none. The kernels of [`product`](crate::product) use this width, and the last bits of their sums depend on it.
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
