use std::env;
use std::ops::AddAssign;
use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

/// Environment variable that limits the width of vectors, to compare results: a number of bits.
const LIMIT: &str = "KLAYER_VECTOR_BITS";

/// The widest vectors that the processor supports, unless the environment limits them.
#[inline(always)]
pub(crate) fn arch() -> Arch {
    static ARCH: LazyLock<Arch> = LazyLock::new(|| {
        let limit = env::var(LIMIT).ok().and_then(|bits| bits.parse().ok()).unwrap_or(u32::MAX);
        let narrower = widths().into_iter().filter(|&arch| bits(arch) <= limit);
        narrower.max_by_key(|&arch| bits(arch)).unwrap_or(Arch::Scalar)
    });
    *ARCH
}

/// All vector widths that this processor supports, and scalar code.
pub(crate) fn widths() -> Vec<Arch> {
    let mut widths = vec![Arch::Scalar, Arch::new()];
    #[cfg(target_arch = "x86_64")]
    widths.extend(pulp::x86::V3::try_new().map(Arch::V3));
    widths
}

/// Runs `work`, compiled for the widest vectors that the processor supports (detected at run time).
///
/// The compiler vectorizes plain loops over slices inside `work`. This requires that `work` and all functions that it
/// calls are inlined: mark them `#[inline(always)]`. Results do not depend on the vector width: sums use a fixed number
/// of lanes (see [`reduce`](crate::reduce)), and no operations are fused or reordered.
#[inline(always)]
pub fn vectorize<R>(work: impl FnOnce() -> R) -> R {
    arch().dispatch(work)
}

/// Adds lanes, whose number is a power of two, in halves: the second half to the first.
#[inline(always)]
pub(crate) fn add_lanes<T: Copy + AddAssign>(sums: &mut [T]) -> T {
    let mut width = sums.len();
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            let other = sums[lane + width];
            sums[lane] += other;
        }
    }
    sums[0]
}

/// The width in bits of the vectors, or 32 (a single number) without vectors.
fn bits(arch: Arch) -> u32 {
    struct Bits;

    impl WithSimd for Bits {
        type Output = u32;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> u32 {
            8 * size_of::<S::f32s>() as u32
        }
    }

    arch.dispatch(Bits)
}
