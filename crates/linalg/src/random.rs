//! Independent, named streams of random numbers from one root seed.

use rand::{Rng, RngExt, SeedableRng};
use rand_distr::StandardNormal;
pub use rand_pcg::Pcg64;

use crate::{RowMajor, Scalar};

/// Returns the generator of the stream `name` for the root seed `seed`.
///
/// Each consumer uses its own name ("init", "shuffle", ...), so adding a consumer does not change the numbers of the
/// others. The seed and the name are hashed into the seed of the generator (FNV-1a, 64 bits), because generators that
/// differ only in their stream parameter would be correlated.
///
/// ```
/// use klayer_linalg::random::stream;
/// use rand::RngExt;
///
/// assert_eq!(stream(1, "init").random::<u64>(), stream(1, "init").random::<u64>());
/// assert_ne!(stream(1, "init").random::<u64>(), stream(1, "shuffle").random::<u64>());
/// ```
pub fn stream(seed: u64, name: &str) -> Pcg64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    Pcg64::seed_from_u64(bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
}

/// Returns 64 random bits that depend only on `key` and `counters`: for choices without state, such as the one for
/// image i in step t.
///
/// Each counter selects a number of the SplitMix64 generator whose state is the number before (Steele, Lea and Flood,
/// 2014).
///
/// ```
/// use klayer_linalg::random::at;
///
/// assert_eq!(at(1, [5, 7]), at(1, [5, 7]));
/// assert_ne!(at(1, [5, 7]), at(1, [7, 5]));
/// ```
pub fn at<const N: usize>(key: u64, counters: [u64; N]) -> u64 {
    counters.into_iter().fold(key, |state, counter| {
        let mut z = state.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Fills `matrix` row by row with draws from N(0, `deviation`^2).
///
/// Draws in `f64` and rounds, so networks in `f32` and `f64` start from the same weights.
pub fn fill_normal<T: Scalar>(matrix: &mut RowMajor<T>, deviation: f64, rng: &mut impl Rng) {
    for i in 0..matrix.nrows() {
        for value in matrix.row_mut(i) {
            *value = T::from_f64(deviation * rng.sample::<f64, _>(StandardNormal));
        }
    }
}
