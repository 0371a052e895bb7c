//! What happens to the pixels of an image before the first layer.
//!
//! | [`Normalize`] | features |
//! | --- | --- |
//! | `feature` | (pixel - mean) / deviation, with the mean and the deviation of the feature |
//! | `channel` | the same, with the mean and the deviation of the channel |
//! | `whiten=EPS` | see [`Whitening`] |
//!
//! Means and deviations are those of the training images. Each map is affine, so it can be multiplied into the weights
//! of a first layer: [`Normalization::fold`].
//!
//! Pixels are stored in 0..=255, means and deviations in units of pixel / 255. With mean m and deviation s, the code
//! computes (pixel - 255 m) / (255 s).

use std::fmt;
use std::str::FromStr;

use klayer_linalg::{ColMajor, Images, Par, Pixels, RowMajor, Scalar, vectorize};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::whitening::{Whitener, WhitenerMemory};
use crate::{Error, Shape, Subset, Whitening};

/// How to normalize images.
///
/// As text, and in serialized settings: `feature`, `channel`, `whiten` or, for example, `whiten=0.5`.
///
/// ```
/// use klayer_dataset::Normalize;
///
/// assert_eq!("whiten".parse(), Ok(Normalize::Whiten { eps: 0.3 }));
/// assert_eq!(Normalize::Whiten { eps: 0.5 }.to_string(), "whiten=0.5");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Normalize {
    /// Each feature has a mean of 0 and a variance of 1.
    #[default]
    Feature,
    /// Each channel has a mean of 0 and a variance of 1.
    Channel,
    /// Approximate decorrelation: see [`Whitening`].
    Whiten {
        /// Added, squared, to the variance of each coefficient. Finite, and at least [`Normalize::SMALLEST_EPS`].
        eps: f64,
    },
}

/// The normalization of a set of training images.
///
/// It is stored with each model trained on images normalized by it. It describes itself in formats such as JSON; a
/// binary format without field names holds only the normalization of each feature, as two lists of numbers.
/// Deserialization requires finite means, finite and non-negative standard deviations, and lengths that match the shape
/// of the images.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// Mean and standard deviation of the pixels of each feature, in units of pixel / 255.
    mean: Vec<f64>,
    deviation: Vec<f64>,
    form: Form,
}

/// What differs between the normalizations.
#[derive(Clone, Debug, PartialEq)]
enum Form {
    Feature,
    /// The features of a channel have equal means and deviations.
    Channel(Shape),
    /// The same, followed by a linear map.
    Whiten(Shape, Whitening),
}

/// A serialized [`Normalization`]. The normalization of features has the first two fields alone.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// For each feature, or for each channel if there is a shape.
    mean: Vec<f64>,
    deviation: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: Option<Shape>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whitening: Option<Whitening>,
}

/// Converts images to normalized numbers of type `T`; see [`Normalization::normalizer`].
#[derive(Clone, Debug)]
pub struct Normalizer<T> {
    /// Means in units of pixels.
    mean: Vec<T>,
    /// Inverse standard deviation in units of pixels; 0 where the standard deviation is 0.
    scale: Vec<T>,
    whitener: Option<Whitener<T>>,
}

/// Memory for the features of a mini-batch, which [`Normalizer::batch`] allocates when it first needs it.
#[derive(Clone, Debug)]
pub struct Features<T> {
    columns: Option<ColMajor<T>>,
    threads: Vec<WhitenerMemory<T>>,
}

impl Normalize {
    /// The smallest permitted EPS. A smaller one would amplify rounding errors.
    pub const SMALLEST_EPS: f64 = 1e-6;

    /// The default of `whiten`: an EPS of 0.3.
    pub const WHITEN: Self = Self::Whiten { eps: 0.3 };

    /// Checks the setting.
    ///
    /// # Errors
    /// [`Error::Normalization`] if EPS is not finite, or less than [`Normalize::SMALLEST_EPS`].
    pub fn check(self) -> Result<(), Error> {
        match self {
            Self::Whiten { eps } if !(Self::SMALLEST_EPS..=f64::MAX).contains(&eps) => Err(Error::Normalization(
                format!("cannot whiten with EPS {eps}: must be at least {:e}", Self::SMALLEST_EPS),
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Normalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature => f.write_str("feature"),
            Self::Channel => f.write_str("channel"),
            Self::Whiten { eps } => write!(f, "whiten={eps}"),
        }
    }
}

impl FromStr for Normalize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let normalize = match (text, text.strip_prefix("whiten=")) {
            ("feature", _) => Self::Feature,
            ("channel", _) => Self::Channel,
            ("whiten", _) => Self::WHITEN,
            (_, Some(eps)) => {
                Self::Whiten { eps: eps.parse().map_err(|_| format!("invalid EPS {eps:?}: not a number"))? }
            }
            _ => {
                return Err(format!("invalid normalization {text:?}: expected feature, channel, whiten or whiten=EPS"));
            }
        };
        normalize.check().map_err(|error| error.to_string())?;
        Ok(normalize)
    }
}

impl TryFrom<String> for Normalize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Normalize> for String {
    fn from(normalize: Normalize) -> Self {
        normalize.to_string()
    }
}

impl Normalization {
    /// Fits a normalization to the images in `subset`; see [`fit_images`](Self::fit_images).
    ///
    /// # Errors
    /// [`Error::Normalization`] if the setting is invalid.
    pub fn fit(normalize: Normalize, subset: Subset<'_>) -> Result<Self, Error> {
        Self::fit_images(normalize, subset.shape(), &subset.images().collect::<Vec<_>>())
    }

    /// Fits a normalization to `images`. Sums over pixels are exact. All statistics are 0 if there are no images.
    ///
    /// The variance divides by the number of images for `feature` (as NumPy's `std`), and by the number of summed
    /// values minus 1 for a channel and for the coefficients of whitening (as PyTorch's `std` and `var`).
    ///
    /// # Errors
    /// [`Error::Normalization`] if the setting is invalid, or an image has another shape.
    pub fn fit_images(normalize: Normalize, shape: Shape, images: &[&[u8]]) -> Result<Self, Error> {
        normalize.check()?;
        let features = shape.features();
        if features == 0 {
            return Err(Error::Normalization(format!("images of {shape} have no pixels")));
        }
        if let Some(image) = images.iter().find(|image| image.len() != features) {
            let lengths = format!("an image has {} pixels", image.len());
            return Err(Error::Normalization(format!("{lengths}: expected {features} ({shape})")));
        }
        let sums = sums(images, features);
        if normalize == Normalize::Feature {
            let count = images.len() as u64;
            let (mean, deviation) = sums.iter().map(|&sums| statistics(sums, count, count)).unzip();
            return Ok(Self { mean, deviation, form: Form::Feature });
        }
        let plane = shape.height * shape.width;
        let count = (images.len() * plane) as u64;
        let total =
            |channel: &[(u64, u64)]| channel.iter().fold((0, 0), |total, sums| (total.0 + sums.0, total.1 + sums.1));
        let channels = sums.chunks(plane).map(|channel| statistics(total(channel), count, count.saturating_sub(1)));
        let (mean, deviation) = channels.unzip();
        let fitted = Self::of_channels(shape, mean, deviation);
        match normalize {
            Normalize::Whiten { eps } => {
                let whitening = Whitening::fit(eps, shape, &fitted, images);
                Ok(Self { form: Form::Whiten(shape, whitening), ..fitted })
            }
            _ => Ok(fitted),
        }
    }

    /// Creates a normalization from the mean and standard deviation of each feature, in units of pixel / 255.
    ///
    /// # Errors
    /// [`Error::Normalization`] unless both have the same number of finite numbers and no standard deviation is
    /// negative.
    pub fn new(mean: Vec<f64>, deviation: Vec<f64>) -> Result<Self, Error> {
        check("feature", (&mean, &deviation), mean.len())?;
        Ok(Self { mean, deviation, form: Form::Feature })
    }

    fn of_channels(shape: Shape, mean: Vec<f64>, deviation: Vec<f64>) -> Self {
        let plane = shape.height * shape.width;
        let [mean, deviation] = [mean, deviation]
            .map(|values| values.into_iter().flat_map(|value| std::iter::repeat_n(value, plane)).collect());
        Self { mean, deviation, form: Form::Channel(shape) }
    }

    /// The setting that this normalization was fitted with.
    pub fn normalize(&self) -> Normalize {
        match &self.form {
            Form::Feature => Normalize::Feature,
            Form::Channel(_) => Normalize::Channel,
            Form::Whiten(_, whitening) => Normalize::Whiten { eps: whitening.eps() },
        }
    }

    /// The number of features of an image.
    pub fn features(&self) -> usize {
        self.mean.len()
    }

    /// The shape of the images; `None` if only the number of their features is known, for `feature`.
    pub fn shape(&self) -> Option<Shape> {
        match &self.form {
            Form::Feature => None,
            Form::Channel(shape) | Form::Whiten(shape, _) => Some(*shape),
        }
    }

    /// The mean that is subtracted from each pixel, in 0..=1.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation by which each pixel is divided, in units of pixel / 255.
    pub fn deviation(&self) -> &[f64] {
        &self.deviation
    }

    /// What follows the division by the standard deviation; `None` if nothing does.
    pub fn whitening(&self) -> Option<&Whitening> {
        match &self.form {
            Form::Whiten(_, whitening) => Some(whitening),
            _ => None,
        }
    }

    /// Returns a [`Normalizer`] for numbers of type `T`.
    ///
    /// A constant feature or channel carries no information and has a standard deviation of 0: it becomes 0 in every
    /// image.
    pub fn normalizer<T: Scalar>(&self) -> Normalizer<T> {
        let whitener = match &self.form {
            Form::Whiten(shape, whitening) => Some(Whitener::new(*shape, self, whitening)),
            _ => None,
        };
        Normalizer {
            mean: self.mean.iter().map(|mean| T::from_f64(255.0 * mean)).collect(),
            scale: self.scales().map(T::from_f64).collect(),
            whitener,
        }
    }

    /// Inverse standard deviations in units of pixels; 0 where the standard deviation is 0.
    pub(crate) fn scales(&self) -> impl Iterator<Item = f64> {
        self.deviation.iter().map(|&deviation| if deviation > 0.0 { 1.0 / (255.0 * deviation) } else { 0.0 })
    }

    /// Multiplies this map into a first layer, whose inputs are then the pixels: returns W' and b' with W' p + b' = W x
    /// + b, where p are the pixels of an image and x its features. Computed in `f64`.
    ///
    /// `white` is the value of the brightest pixel in p: 255 for bytes, 1 for pixel / 255.
    ///
    /// # Shapes
    /// `weight` and W' units x features, `bias` and b' units.
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn fold<T: Scalar>(&self, weight: &RowMajor<T>, bias: &[T], white: f64) -> (RowMajor<T>, Vec<T>) {
        assert_eq!(weight.ncols(), self.features(), "the weights and the normalization have different lengths");
        assert_eq!(weight.nrows(), bias.len(), "the numbers of weights and biases differ");
        let mut folded = RowMajor::zeros(weight.nrows(), weight.ncols());
        let transpose = self.whitening().zip(self.shape()).map(|(whitening, shape)| whitening.transpose(shape));
        let mut row = vec![0.0; self.features()];
        let bias = bias.iter().enumerate().map(|(i, &bias)| {
            row.iter_mut().zip(weight.row(i)).for_each(|(value, &weight)| *value = weight.to_f64());
            let mut bias = bias.to_f64();
            if let Some(transpose) = &transpose {
                bias += transpose.apply(&mut row);
            }
            for ((value, scale), mean) in row.iter_mut().zip(self.scales()).zip(&self.mean) {
                *value *= scale * 255.0;
                bias -= *value * mean;
            }
            for (folded, value) in folded.row_mut(i).iter_mut().zip(&row) {
                *folded = T::from_f64(value / white);
            }
            T::from_f64(bias)
        });
        let bias = bias.collect();
        (folded, bias)
    }
}

impl Serialize for Normalization {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return match self.form {
                Form::Feature => (&self.mean, &self.deviation).serialize(serializer),
                _ => Err(ser::Error::custom("this format cannot hold the normalization: it has no field names")),
            };
        }
        let (shape, whitening) = match &self.form {
            Form::Feature => (None, None),
            Form::Channel(shape) => (Some(*shape), None),
            Form::Whiten(shape, whitening) => (Some(*shape), Some(whitening.clone())),
        };
        let plane = shape.map_or(1, |shape| (shape.height * shape.width).max(1));
        let [mean, deviation] =
            [&self.mean, &self.deviation].map(|values| values.iter().copied().step_by(plane).collect());
        Stored { mean, deviation, shape, whitening }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Normalization {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = if deserializer.is_human_readable() {
            Stored::deserialize(deserializer)?
        } else {
            let (mean, deviation) = Deserialize::deserialize(deserializer)?;
            Stored { mean, deviation, shape: None, whitening: None }
        };
        Self::try_from(stored).map_err(de::Error::custom)
    }
}

impl TryFrom<Stored> for Normalization {
    type Error = Error;

    fn try_from(Stored { mean, deviation, shape, whitening }: Stored) -> Result<Self, Error> {
        let Some(shape) = shape else {
            return match whitening {
                Some(_) => Err(Error::Normalization("whitening without the shape of an image".to_owned())),
                None => Self::new(mean, deviation),
            };
        };
        // Checked against the claimed size before memory is allocated for it.
        let most = whitening.as_ref().map_or(MOST_FEATURES, |whitening| whitening.mean().len());
        if shape.features() > most || shape.features() == 0 {
            return Err(Error::Normalization(format!("invalid shape {shape}: expected 1 to {most} features")));
        }
        check("channel", (&mean, &deviation), shape.channels)?;
        let fitted = Self::of_channels(shape, mean, deviation);
        match whitening {
            None => Ok(fitted),
            Some(whitening) => {
                check("coefficient", (whitening.mean(), whitening.deviation()), shape.features())?;
                Normalize::Whiten { eps: whitening.eps() }.check()?;
                Ok(Self { form: Form::Whiten(shape, whitening), ..fitted })
            }
        }
    }
}

/// The largest number of features of a deserialized normalization of channels.
const MOST_FEATURES: usize = 1 << 22;

/// Checks the statistics of each `what`, of which there are `count`.
fn check(what: &str, (mean, deviation): (&[f64], &[f64]), count: usize) -> Result<(), Error> {
    if mean.len() != count || deviation.len() != count {
        let lengths = format!("{} means and {} deviations", mean.len(), deviation.len());
        return Err(Error::Normalization(format!("{lengths}: expected {count} of each, one a {what}")));
    }
    if !mean.iter().all(|mean| mean.is_finite()) || !deviation.iter().all(|d| d.is_finite() && *d >= 0.0) {
        let must = "must be finite, and not negative for a standard deviation";
        return Err(Error::Normalization(format!("invalid mean or standard deviation of a {what}: {must}")));
    }
    Ok(())
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

    /// Whether features are more than scaled pixels; [`pixels`](Self::pixels) then panics.
    pub fn whitens(&self) -> bool {
        self.whitener.is_some()
    }

    /// Returns `images` as a mini-batch.
    ///
    /// Without whitening, they stay bytes that are converted where they are used: nothing is copied. With whitening,
    /// their features are computed once and written to `features`, which allocates memory only when a mini-batch is
    /// larger than all before, and shared between the threads. The result is the same for every number of threads.
    ///
    /// # Panics
    /// If an image has another number of pixels.
    ///
    /// ```
    /// use klayer_dataset::{Dataset, Features, Normalization, Normalize, Sizes};
    /// use klayer_linalg::{Images, Par};
    ///
    /// let dataset = Dataset::generate(1, Sizes { training: 9, validation: 1, test: 1 }, "an example", &())?;
    /// let images: Vec<_> = dataset.training().images().collect();
    /// let normalizer = Normalization::fit(Normalize::WHITEN, dataset.training())?.normalizer::<f32>();
    /// let mut features = Features::default();
    /// let batch = normalizer.batch(&images, &mut features, &Par::Seq);
    /// assert!(matches!(batch, Images::Columns(columns) if (columns.nrows(), columns.ncols()) == (3072, 9)));
    /// # Ok::<(), klayer_dataset::Error>(())
    /// ```
    pub fn batch<'a>(&'a self, images: &'a [&'a [u8]], features: &'a mut Features<T>, par: &Par) -> Images<'a, T> {
        let Some(whitener) = &self.whitener else { return self.pixels(images).into() };
        let count = images.len();
        let fits = |columns: &ColMajor<T>| columns.nrows() == self.mean.len() && columns.ncols() >= count;
        if !features.columns.as_ref().is_some_and(fits) {
            features.columns = Some(ColMajor::zeros(self.mean.len(), count));
        }
        if features.threads.len() < par.count() || features.threads.iter().any(|memory| !whitener.fits(memory)) {
            features.threads = (0..par.count()).map(|_| whitener.memory()).collect();
        }
        let columns = features.columns.as_mut().expect("allocated above");
        columns.for_columns(count, &mut features.threads, par, &|j, column, memory| {
            whitener.write(images[j], column, memory);
        });
        columns.as_ref().first(count).into()
    }

    /// Returns `images` as a mini-batch of bytes, converted where they are used: nothing is copied. Use
    /// [`Pixels::write`] to convert them to a matrix.
    ///
    /// # Panics
    /// If the normalizer whitens, or an image has another number of pixels.
    pub fn pixels<'a>(&'a self, images: &'a [&'a [u8]]) -> Pixels<'a, T> {
        assert!(self.whitener.is_none(), "whitened features are not scaled pixels: use `batch`");
        Pixels::new(images, &self.mean, &self.scale)
    }

    /// Writes the features of an image to `out`. Allocates memory if the normalizer whitens.
    ///
    /// # Panics
    /// If `pixels` or `out` has another length.
    pub fn normalize(&self, pixels: &[u8], out: &mut [T]) {
        match &self.whitener {
            None => self.pixels(&[pixels]).write_one(0, out),
            Some(whitener) => whitener.write(pixels, out, &mut whitener.memory()),
        }
    }
}

impl<T> Default for Features<T> {
    fn default() -> Self {
        Self { columns: None, threads: Vec::new() }
    }
}

/// Mean and standard deviation of `count` pixels, from their sum and the sum of their squares, in units of pixel / 255.
/// The variance divides by `divisor`. Both are 0 if there are no pixels.
fn statistics((sum, square): (u64, u64), count: u64, divisor: u64) -> (f64, f64) {
    let n = count.max(1);
    // n sum(x^2) - sum(x)^2 is n^2 times the variance, computed without rounding.
    let scaled = u128::from(n) * u128::from(square) - u128::from(sum) * u128::from(sum);
    let deviation = if divisor == count {
        (scaled as f64).sqrt() / n as f64
    } else {
        (scaled as f64 / (n as f64 * divisor.max(1) as f64)).sqrt()
    };
    (sum as f64 / (n as f64 * 255.0), deviation / 255.0)
}

/// Sums of each feature and of its squares.
fn sums(images: &[&[u8]], features: usize) -> Vec<(u64, u64)> {
    /// The number of squared bytes whose sum fits into 32 bits.
    const BLOCK: usize = 1 << 16;
    let mut sums = vec![(0_u64, 0_u64); features];
    let mut block_sums = vec![(0_u32, 0_u32); features];
    for block in images.chunks(BLOCK) {
        block_sums.fill((0, 0));
        vectorize(
            #[inline(always)]
            || {
                for image in block {
                    for ((sum, square), &pixel) in block_sums.iter_mut().zip(*image) {
                        let pixel = u32::from(pixel);
                        *sum += pixel;
                        *square += pixel * pixel;
                    }
                }
            },
        );
        for ((sum, square), &(block_sum, block_square)) in sums.iter_mut().zip(&block_sums) {
            *sum += u64::from(block_sum);
            *square += u64::from(block_square);
        }
    }
    sums
}
