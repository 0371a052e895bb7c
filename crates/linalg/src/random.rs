//! Named streams of random numbers, all from one root seed.

use rand::{Rng, RngExt, SeedableRng};
use rand_distr::StandardNormal;
pub use rand_pcg::Pcg64;

use crate::{RowMajor, Scalar};

/// The generator of the stream `name` under the root `seed`.
///
/// Each consumer has a name of its own ("init", "shuffle", ...), so a new consumer shifts no other one's numbers.
/// Seed and name are hashed into the generator's seed (FNV-1a, 64 bits): generators that differ in their stream
/// parameter alone would be correlated.
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
/// The draws are made in `f64` and rounded, so a network in `f32` starts from the same weights as one in `f64`.
pub fn fill_normal<T: Scalar>(matrix: &mut RowMajor<T>, deviation: f64, rng: &mut impl Rng) {
    for i in 0..matrix.nrows() {
        for value in matrix.row_mut(i) {
            *value = T::from_f64(deviation * rng.sample::<f64, _>(StandardNormal));
        }
    }
}
