use klayer_linalg::random::Pcg64;
use rand::seq::SliceRandom;

use crate::Error;

/// Draws mini-batches without replacement: the images are permuted anew every epoch.
///
/// All batches have the same size; what remains of an epoch when no full batch is left is dropped (and comes up in
/// other epochs, as the order changes).
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
#[derive(Clone, Debug)]
pub struct Shuffle {
    rng: Pcg64,
    order: Vec<u32>,
    batch: usize,
    /// Images of this epoch that are already drawn.
    drawn: usize,
}

impl Shuffle {
    /// Batches of `batch` out of `len` images, in an order that `rng` determines.
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

    /// The indices of the next batch.
    pub fn next_batch(&mut self) -> &[u32] {
        if self.order.len() - self.drawn < self.batch {
            self.order.shuffle(&mut self.rng);
            self.drawn = 0;
        }
        let start = self.drawn;
        self.drawn += self.batch;
        &self.order[start..self.drawn]
    }

    /// Passes over `batches` batches, so that an interrupted run goes on where it stopped.
    pub fn skip(&mut self, batches: u64) {
        for _ in 0..batches {
            self.next_batch();
        }
    }

    /// How many batches an epoch has.
    pub fn batches_per_epoch(&self) -> usize {
        self.order.len() / self.batch
    }
}
