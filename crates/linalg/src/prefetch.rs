//! A hint that memory will be read, which the compiler offers for no processor but as `unsafe`.
//!
//! Images lie anywhere in memory, and rows of weights of a wide layer pages apart: to wait for either takes a tenth of a
//! step.

/// Asks the processor to fetch the cache line of value `at`, if there is one, and waits for nothing.
///
/// It changes nothing but how soon the value can be read. Does nothing on processors whose hint is unknown here.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "a hint of the processor has no safe form"))]
pub(crate) fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = values.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is part of every x86-64 processor and has no effect that a program could observe: it
        // reads nothing into a register, writes nothing, and never faults, whatever the address. This one is that of a
        // value of a living slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}
