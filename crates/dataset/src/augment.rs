//! Random changes of training images.

use klayer_linalg::Par;
use klayer_linalg::random::{at, stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::view::{self, ViewBuffer};
use crate::{Error, Shape, Subset, View, Views};

/// Which random changes are made to training images, before they are normalized. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Mirror every image with probability 1/2.
    pub flip: bool,
    /// Shift every image by up to that many pixels in both directions, each shift with equal probability.
    pub shift: usize,
}

/// Makes random changes to mini-batches of training images.
///
/// The change of an image depends only on the seed, the number of the mini-batch and the index of the image: not on the
/// number of threads, and there is no state to store in a checkpoint.
///
/// ```
/// use klayer_dataset::{Augment, Augmenter, Dataset, Sizes};
/// use klayer_linalg::Par;
///
/// let dataset = Dataset::generate(1, Sizes { training: 9, validation: 1, test: 1 }, "an example", &())?;
/// let augment = Augment { flip: true, shift: 4 };
/// let mut augmenter = Augmenter::new(augment, dataset.training().shape(), 42)?;
/// let images = augmenter.batch(dataset.training(), &[3, 0, 8], 0, &Par::Seq);
/// assert_eq!((images.len(), images[0].len()), (3, 3072));
/// # Ok::<(), klayer_dataset::Error>(())
/// ```
#[derive(Debug)]
pub struct Augmenter {
    choices: Choices,
    shape: Shape,
    buffer: ViewBuffer,
}

#[derive(Clone, Copy, Debug)]
struct Choices {
    augment: Augment,
    key: u64,
}

impl Augment {
    /// Whether images stay as they are.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Checks that images of `shape` can be changed so.
    ///
    /// # Errors
    /// [`Error::Shift`] if the shift is not smaller than the height and the width.
    pub fn check(self, shape: Shape) -> Result<(), Error> {
        view::check(shape, self.shift)
    }
}

impl Augmenter {
    /// Creates an augmenter of images of `shape`, whose random stream has the root seed `seed`.
    ///
    /// # Errors
    /// [`Error::Shift`] if the shift is not smaller than the height and the width.
    pub fn new(augment: Augment, shape: Shape, seed: u64) -> Result<Self, Error> {
        augment.check(shape)?;
        let choices = Choices { augment, key: stream(seed, "augment").random() };
        Ok(Self { choices, shape, buffer: ViewBuffer::default() })
    }

    /// The change of image `index` in mini-batch `step`.
    pub fn view(&self, step: u64, index: u32) -> View {
        self.choices.view(step, index)
    }

    /// Returns the images of mini-batch `step`, changed: those of `training` at `indices`. Allocates memory only when a
    /// mini-batch is larger than all before; without changes, nothing is copied.
    ///
    /// # Panics
    /// If an index is out of bounds, or the images have another shape.
    pub fn batch<'a>(&'a mut self, training: Subset<'a>, indices: &[u32], step: u64, par: &Par) -> Views<'a> {
        let images = indices.iter().map(|&index| training.image(index as usize));
        if self.choices.augment.is_none() {
            return self.buffer.originals(images);
        }
        let choices = self.choices;
        self.buffer.views(self.shape, images, |j| choices.view(step, indices[j]), par)
    }
}

impl Choices {
    fn view(self, step: u64, index: u32) -> View {
        let Self { augment: Augment { flip, shift }, key } = self;
        let bits = at(key, [step, u64::from(index)]);
        let sides = 2 * shift as u64 + 1;
        // 31 random bits for each shift: one shift is at most `sides` / 2^31 more likely than another.
        let shift = |bits: u64| (((bits & 0x7fff_ffff) * sides) >> 31) as i32 - shift as i32;
        View { mirrored: flip && bits >> 63 == 1, down: shift(bits >> 31), right: shift(bits) }
    }
}
