//! Normalization: pixel / 255, minus the feature's mean over the training images, divided by its standard deviation.
//!
//! The factor 1/255 cancels: with mean m and standard deviation s of the features in 0..1, the code computes (pixel -
//! 255 m) / (255 s).

use klayer_linalg::{Pixels, Scalar, vectorize};
use serde::{Deserialize, Serialize};

use crate::{Error, Subset};

/// Mean and standard deviation (1/n) of each feature, in units of pixel / 255.
///
/// It is stored with each model trained on images normalized by it. Deserialization requires a finite mean and a
/// finite, non-negative standard deviation for every feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Normalization {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// A deserialized [`Normalization`] before validation.
#[derive(Deserialize)]
struct Unchecked {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// Converts images to normalized numbers of type `T`; see [`Normalization::normalizer`].
#[derive(Clone, Debug)]
pub struct Normalizer<T> {
    /// Means in units of pixels.
    mean: Vec<T>,
    /// Inverse standard deviation in units of pixels; 0 where the standard deviation is 0.
    scale: Vec<T>,
}

impl Normalization {
    /// Computes the normalization of the images in `subset`, from exact integer sums. All zeros if it is empty.
    pub fn fit(subset: Subset<'_>) -> Self {
        let (sums, squares) = sums(subset);
        let n = (subset.len() as u64).max(1);
        let deviation = |(&sum, &square): (&u64, &u64)| {
            // n sum(x^2) - sum(x)^2 is n^2 times the variance, computed without rounding.
            let scaled = u128::from(n) * u128::from(square) - u128::from(sum) * u128::from(sum);
            (scaled as f64).sqrt() / n as f64 / 255.0
        };
        Self {
            mean: sums.iter().map(|&sum| sum as f64 / (n as f64 * 255.0)).collect(),
            deviation: sums.iter().zip(&squares).map(deviation).collect(),
        }
    }

    /// Creates a normalization from the mean and standard deviation of each feature, in units of pixel / 255.
    ///
    /// # Errors
    /// [`Error::Normalization`] unless both have the same number of finite numbers, at least one, and no standard deviation is negative.
    pub fn new(mean: Vec<f64>, deviation: Vec<f64>) -> Result<Self, Error> {
        if mean.is_empty() || mean.len() != deviation.len() {
            let lengths = format!("{} means and {} deviations", mean.len(), deviation.len());
            return Err(Error::Normalization(format!("{lengths}: expected one of each for every feature")));
        }
        if !mean.iter().all(|mean| mean.is_finite()) || !deviation.iter().all(|d| d.is_finite() && *d >= 0.0) {
            return Err(Error::Normalization(
                "invalid mean or standard deviation: must be finite, and not negative for a standard deviation"
                    .to_owned(),
            ));
        }
        Ok(Self { mean, deviation })
    }

    /// The mean of each feature, in 0..=1.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation of each feature, in 0..=0.5.
    pub fn deviation(&self) -> &[f64] {
        &self.deviation
    }

    /// Returns a [`Normalizer`] for numbers of type `T`.
    ///
    /// A constant feature carries no information and has a standard deviation of 0: it becomes 0 in every image.
    pub fn normalizer<T: Scalar>(&self) -> Normalizer<T> {
        let scale = |&deviation: &f64| if deviation > 0.0 { 1.0 / (255.0 * deviation) } else { 0.0 };
        Normalizer {
            mean: self.mean.iter().map(|mean| T::from_f64(255.0 * mean)).collect(),
            scale: self.deviation.iter().map(|deviation| T::from_f64(scale(deviation))).collect(),
        }
    }
}

impl TryFrom<Unchecked> for Normalization {
    type Error = Error;

    fn try_from(Unchecked { mean, deviation }: Unchecked) -> Result<Self, Error> {
        Self::new(mean, deviation)
    }
}

impl<T: Scalar> Normalizer<T> {
    /// The value subtracted from each pixel, in units of pixels.
    pub fn mean(&self) -> &[T] {
        &self.mean
    }

    /// The factor applied after the subtraction.
    pub fn scale(&self) -> &[T] {
        &self.scale
    }

    /// Returns `images` as a mini-batch of bytes, converted where they are used: nothing is copied. Use
    /// [`Pixels::write`] to convert them to a matrix.
    ///
    /// # Panics
    /// If an image has another number of pixels than the normalization has features.
    pub fn pixels<'a>(&'a self, images: &'a [&'a [u8]]) -> Pixels<'a, T> {
        Pixels::new(images, &self.mean, &self.scale)
    }

    /// Writes a normalized image to `out`.
    ///
    /// # Panics
    /// If `pixels` or `out` has another length.
    pub fn normalize(&self, pixels: &[u8], out: &mut [T]) {
        self.pixels(&[pixels]).write_one(0, out);
    }
}

/// Sums of each feature and of its squares.
fn sums(subset: Subset<'_>) -> (Vec<u64>, Vec<u64>) {
    /// The number of squared bytes whose sum fits into 32 bits.
    const BLOCK: usize = 1 << 16;
    let features = subset.shape().features();
    let (mut sums, mut squares) = (vec![0_u64; features], vec![0_u64; features]);
    let mut block_sums = vec![(0_u32, 0_u32); features];
    for start in (0..subset.len()).step_by(BLOCK) {
        let block = subset.slice(start..subset.len().min(start + BLOCK));
        block_sums.fill((0, 0));
        vectorize(
            #[inline(always)]
            || {
                for image in block.images() {
                    for ((sum, square), &pixel) in block_sums.iter_mut().zip(image) {
                        let pixel = u32::from(pixel);
                        *sum += pixel;
                        *square += pixel * pixel;
                    }
                }
            },
        );
        for ((sum, square), &(block_sum, block_square)) in sums.iter_mut().zip(&mut squares).zip(&block_sums) {
            *sum += u64::from(block_sum);
            *square += u64::from(block_square);
        }
    }
    (sums, squares)
}
