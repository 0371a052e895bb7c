/// Runs `work` compiled for the widest vectors that the processor offers, chosen when the program runs.
///
/// Plain loops over slices inside `work` are then vectorized by the compiler. It and the functions that it calls
/// take part only if they are inlined: mark them `#[inline(always)]`. The values do not depend on the width: loops
/// that sum do so in a fixed number of lanes (see [`reduce`](crate::reduce)), and nothing is fused or reordered.
#[inline(always)]
pub fn vectorize<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
