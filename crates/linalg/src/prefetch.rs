//! Prefetching. The intrinsics for it are `unsafe` on every processor.
//!
//! Images are scattered in memory, and the rows of a wide layer's weights are pages apart: without prefetching, waiting
//! for either takes a tenth of a training step.

/// Prefetches the cache line of `values[at]` without waiting for it; does nothing if `at` is out of bounds.
///
/// This only affects speed. It is a no-op on processors other than x86-64.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the prefetch intrinsic has no safe form"))]
pub(crate) fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = values.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor supports the instruction, and it has no effect that a program can observe: it
        // reads nothing into a register, writes nothing, and never faults, whatever the address. Here, the address is
        // that of an element of a live slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}
