use klayer_linalg::random::Pcg64;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Draws mini-batches without replacement, from a new permutation of the images in every epoch.
///
/// All batches have the same size. The incomplete batch at the end of an epoch is dropped; its images appear in other
/// epochs, as the order changes.
///
/// ```
/// use klayer_dataset::Shuffle;
/// use klayer_linalg::random::stream;
///
/// let mut shuffle = Shuffle::new(stream(42, "shuffle"), 6, 3)?;
/// let mut epoch: Vec<u32> = (0..shuffle.batches_per_epoch()).flat_map(|_| shuffle.next_batch().to_vec()).collect();
/// epoch.sort();
/// assert_eq!(epoch, [0, 1, 2, 3, 4, 5]);
/// # Ok::<(), klayer_dataset::Error>(())
/// ```
///
/// A deserialized shuffle continues with the same batches. Deserialization requires a valid permutation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Shuffle {
    rng: Pcg64,
    order: Vec<u32>,
    batch: usize,
    /// Number of images drawn in this epoch.
    drawn: usize,
}

/// A deserialized [`Shuffle`] before validation.
#[derive(Deserialize)]
struct Unchecked {
    rng: Pcg64,
    order: Vec<u32>,
    batch: usize,
    drawn: usize,
}

impl Shuffle {
    /// Creates a shuffle for batches of `batch` out of `len` images, in an order determined by `rng`.
    ///
    /// # Errors
    /// [`Error::Batch`] if `batch` is 0 or above `len`, or `len` exceeds 32 bits.
    pub fn new(rng: Pcg64, len: usize, batch: usize) -> Result<Self, Error> {
        let error = Error::Batch { batch, len };
        match u32::try_from(len) {
            Ok(end) if (1..=len).contains(&batch) => Ok(Self { rng, order: (0..end).collect(), batch, drawn: len }),
            _ => Err(error),
        }
    }

    /// Returns the indices of the next batch.
    pub fn next_batch(&mut self) -> &[u32] {
        if self.order.len() - self.drawn < self.batch {
            self.order.shuffle(&mut self.rng);
            self.drawn = 0;
        }
        let start = self.drawn;
        self.drawn += self.batch;
        &self.order[start..self.drawn]
    }

    /// The number of images to draw from.
    pub fn images(&self) -> usize {
        self.order.len()
    }

    /// The batch size.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The number of batches per epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.order.len() / self.batch
    }
}

impl TryFrom<Unchecked> for Shuffle {
    type Error = String;

    fn try_from(Unchecked { rng, order, batch, drawn }: Unchecked) -> Result<Self, String> {
        let mut seen = vec![false; order.len()];
        for &image in &order {
            match seen.get_mut(image as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err("the order of the images is not a permutation".to_owned()),
            }
        }
        if !(1..=order.len()).contains(&batch) || drawn > order.len() {
            return Err(format!("batch size {batch} and {drawn} drawn images do not match {} images", order.len()));
        }
        Ok(Self { rng, order, batch, drawn })
    }
}
