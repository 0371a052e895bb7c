//! Mini-batches of images, as numbers or as bytes that the kernels convert when they need them.

use std::{array, mem};

use crate::kernels::{BLOCK, Source};
use crate::matrix::CACHE_LINE;
use crate::prefetch::prefetch;
use crate::{ColMajor, Columns, Par, Scalar, vectorize};

/// Number of features converted together; enough to fill a vector on any processor.
const LANES: usize = 16;
/// Numbers of features and images transposed together.
pub(crate) const WORD: usize = 8;
pub(crate) const SHEET: usize = 32;
/// Number of images to prefetch ahead of the conversion.
const AHEAD: usize = 4;

/// The images X (k x n) of a mini-batch, one per column.
#[derive(Debug, Clone, Copy)]
pub enum Images<'a, T> {
    /// Numbers, in contiguous columns.
    Columns(Columns<'a, T>),
    /// Bytes, converted when they are needed.
    Pixels(Pixels<'a, T>),
}

/// Images as bytes: feature i of image j is (`images[j][i]` - `mean[i]`) `scale[i]`.
///
/// They take a quarter of the memory of `f32` images, and are never copied.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a, T> {
    images: &'a [&'a [u8]],
    /// Index of the first feature in each image.
    first: usize,
    mean: &'a [T],
    scale: &'a [T],
}

impl<'a, T> From<Columns<'a, T>> for Images<'a, T> {
    fn from(columns: Columns<'a, T>) -> Self {
        Self::Columns(columns)
    }
}

impl<'a, T> From<Pixels<'a, T>> for Images<'a, T> {
    fn from(pixels: Pixels<'a, T>) -> Self {
        Self::Pixels(pixels)
    }
}

impl<'a, T: Scalar> Images<'a, T> {
    /// Number of features, k.
    pub fn nrows(self) -> usize {
        match self {
            Self::Columns(columns) => columns.nrows(),
            Self::Pixels(pixels) => pixels.nrows(),
        }
    }

    /// Number of images, n.
    pub fn ncols(self) -> usize {
        match self {
            Self::Columns(columns) => columns.ncols(),
            Self::Pixels(pixels) => pixels.ncols(),
        }
    }

    /// The transpose, which has contiguous rows.
    pub(crate) fn view(self) -> Source<'a, T> {
        match self {
            Self::Columns(columns) => Source::Rows(columns.view()),
            Self::Pixels(pixels) => Source::Pixels(pixels),
        }
    }
}

impl<'a, T: Scalar> Pixels<'a, T> {
    /// Creates a mini-batch of `images`. `mean`, in units of pixels, is subtracted from the features, and the
    /// difference is multiplied by `scale`.
    ///
    /// # Panics
    /// If `mean`, `scale` and the images do not all have the same length.
    ///
    /// ```
    /// use klayer_linalg::{ColMajor, Par, Pixels};
    ///
    /// let images: [&[u8]; 2] = [&[0, 255], &[100, 55]];
    /// let mut columns = ColMajor::zeros(2, 2);
    /// Pixels::new(&images, &[100.0, 55.0], &[0.5, 0.01]).write(&mut columns, &Par::Seq);
    /// assert_eq!((columns.col(0), columns.col(1)), (&[-50.0, 2.0][..], &[0.0, 0.0][..]));
    /// ```
    pub fn new(images: &'a [&'a [u8]], mean: &'a [T], scale: &'a [T]) -> Self {
        assert_eq!(mean.len(), scale.len(), "the mean and the scale have different lengths");
        assert!(images.iter().all(|image| image.len() == mean.len()), "an image and the mean have different lengths");
        Self { images, first: 0, mean, scale }
    }

    /// Number of features, k.
    pub fn nrows(self) -> usize {
        self.mean.len()
    }

    /// Number of images, n.
    pub fn ncols(self) -> usize {
        self.images.len()
    }

    /// Converts the images to numbers and writes them to the first columns of `out`. The features are split between the
    /// threads.
    ///
    /// # Shapes
    /// `out` k x at least n. Columns after the first n are unchanged.
    ///
    /// # Panics
    /// If the shape of `out` does not match.
    pub fn write(self, out: &mut ColMajor<T>, par: &Par) {
        assert!(self.ncols() <= out.ncols(), "{} images do not fit in {} columns", self.ncols(), out.ncols());
        assert_eq!(out.nrows(), self.nrows(), "the columns and the images have different lengths");
        par.for_columns(out.as_mut().transpose_mut(), BLOCK, &|start, mut rows| {
            let part = self.features(start, rows.ncols());
            vectorize(
                #[inline(always)]
                || {
                    for j in 0..part.ncols() {
                        part.prefetch(j + AHEAD, 1, 0, 1);
                        let row = rows.as_mut().row_mut(j).try_as_row_major_mut().expect("columns are contiguous");
                        part.write_one(j, row.as_slice_mut());
                    }
                },
            );
        });
    }

    /// Converts image `j` to numbers and writes it to `out`.
    ///
    /// # Panics
    /// If `j` is out of bounds, or the length of `out` is not k.
    #[inline(always)]
    pub fn write_one(self, j: usize, out: &mut [T]) {
        assert_eq!(out.len(), self.nrows(), "the output and the image have different lengths");
        normalize(&self.images[j][self.first..], self.mean, self.scale, out);
    }

    /// `count` images, starting at `first`.
    pub(crate) fn images(self, first: usize, count: usize) -> Self {
        Self { images: &self.images[first..][..count], ..self }
    }

    /// `length` features, starting at `start`.
    #[inline(always)]
    pub(crate) fn features(self, start: usize, length: usize) -> Self {
        let (mean, scale) = (&self.mean[start..][..length], &self.scale[start..][..length]);
        Self { first: self.first + start, mean, scale, ..self }
    }

    /// Converts `C` images, starting at image `j`, writes them to `out` one after another, and returns a slice for
    /// each.
    #[inline(always)]
    pub(crate) fn convert<const C: usize>(self, j: usize, out: &mut [T]) -> [&[T]; C] {
        let length = self.nrows();
        let images: [_; C] = array::from_fn(|c| self.images[j + c][self.first..][..length].as_chunks::<LANES>());
        let (means, last_means) = self.mean.as_chunks::<LANES>();
        let (scales, last_scales) = self.scale.as_chunks::<LANES>();
        let (whole, scales) = (means.len(), &scales[..means.len()]);
        let images = images.map(|(image, last)| (&image[..whole], last));
        let mut rest = &mut out[..];
        let rows: [_; C] = array::from_fn(|_| {
            let (row, after) = mem::take(&mut rest).split_at_mut(length);
            rest = after;
            let (row, last) = row.as_chunks_mut::<LANES>();
            (&mut row[..whole], last)
        });
        for i in 0..whole {
            // Copied, because otherwise the compiler must assume that the output may alias them.
            let (means, scales) = (means[i], scales[i]);
            for c in 0..C {
                let (pixels, mut values) = (images[c].0[i], means);
                normalize(&pixels, &means, &scales, &mut values);
                rows[c].0[i] = values;
            }
        }
        for c in 0..C {
            normalize(images[c].1, last_means, last_scales, rows[c].1);
        }
        array::from_fn(|c| &out[c * length..][..length])
    }

    /// Converts image `j` to numbers and writes it to `out`, which may have any length up to k.
    #[inline(always)]
    pub(crate) fn write_start(self, j: usize, out: &mut [T]) {
        let length = out.len();
        let (pixels, mean, scale) =
            (&self.images[j][self.first..][..length], &self.mean[..length], &self.scale[..length]);
        let ((pixels, last_pixels), (means, last_means)) = (pixels.as_chunks::<LANES>(), mean.as_chunks::<LANES>());
        let ((scales, last_scales), (out, last_out)) = (scale.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
        for ((out, pixels), (&means, &scales)) in out.iter_mut().zip(pixels).zip(means.iter().zip(scales)) {
            let mut values: [T; LANES] = means;
            normalize(pixels, &means, &scales, &mut values);
            *out = values;
        }
        normalize(last_pixels, last_means, last_scales, last_out);
    }

    /// The bytes of these features of [`SHEET`] images, from `image`; the last image takes the place of missing ones.
    #[inline(always)]
    pub(crate) fn sheet(self, image: usize) -> [&'a [u8]; SHEET] {
        array::from_fn(|j| &self.images[(image + j).min(self.images.len() - 1)][self.first..][..self.nrows()])
    }

    /// Converts features from `feature` of a sheet of images, as far as there are any, and writes them to rows and
    /// columns of `block`. Transposes the bytes, as words of eight, before it converts them.
    #[inline(always)]
    pub(crate) fn transpose(self, sheet: &[&[u8]; SHEET], feature: usize, block: &mut [[T; SHEET]; WORD]) {
        let mut words = [[0_u64; SHEET / WORD]; WORD];
        if feature.is_multiple_of(CACHE_LINE) {
            for pixels in sheet {
                prefetch(pixels, feature + CACHE_LINE);
            }
        }
        for j in 0..SHEET {
            words[j % WORD][j / WORD] = match sheet[j].get(feature..).and_then(|pixels| pixels.first_chunk()) {
                Some(&pixels) => u64::from_le_bytes(pixels),
                None => {
                    let mut part = [0; WORD];
                    let pixels = &sheet[j][feature..];
                    part[..pixels.len()].copy_from_slice(pixels);
                    u64::from_le_bytes(part)
                }
            };
        }
        // Swaps the off-diagonal quarters of squares of 8, 4 and 2 bytes.
        for (half, mask) in [(4, 0xffff_ffff), (2, 0xffff_0000_ffff), (1, 0xff_00ff_00ff_00ff)] {
            for i in (0..WORD).filter(|i| i & half == 0) {
                let (upper, lower) = words.split_at_mut(i + half);
                for (a, b) in upper[i].iter_mut().zip(&mut lower[0]) {
                    let swapped = ((*a >> (8 * half)) ^ *b) & mask;
                    *b ^= swapped;
                    *a ^= swapped << (8 * half);
                }
            }
        }
        let factors = self.mean[feature..].iter().zip(&self.scale[feature..]);
        for ((block, words), (&mean, &scale)) in block.iter_mut().zip(words).zip(factors) {
            let mut bytes = [[0; WORD]; SHEET / WORD];
            for (bytes, word) in bytes.iter_mut().zip(words) {
                *bytes = word.to_le_bytes();
            }
            for (value, &pixel) in block.iter_mut().zip(bytes.as_flattened()) {
                *value = (T::from_f64(f64::from(pixel)) - mean) * scale;
            }
        }
    }

    /// Prefetches every `parts`th cache line, starting at line `part`, of these features of `count` images, starting at
    /// image `j`. The last image is followed by the first image with the next features.
    #[inline(always)]
    pub(crate) fn prefetch(self, j: usize, count: usize, part: usize, parts: usize) {
        let length = self.nrows();
        let (j, start) = if j < self.ncols() { (j, self.first) } else { (j - self.ncols(), self.first + length) };
        for image in self.images.iter().skip(j).take(count) {
            for at in (start + part * CACHE_LINE..start + length).step_by(parts * CACHE_LINE) {
                prefetch(image, at);
            }
        }
    }
}

#[inline(always)]
fn normalize<T: Scalar>(pixels: &[u8], means: &[T], scales: &[T], out: &mut [T]) {
    for ((out, &pixel), (&mean, &scale)) in out.iter_mut().zip(pixels).zip(means.iter().zip(scales)) {
        *out = (T::from_f64(f64::from(pixel)) - mean) * scale;
    }
}
