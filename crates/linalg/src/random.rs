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
