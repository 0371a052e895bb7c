//! Mini-batches of images: numbers, or bytes that become numbers where they are used.

use std::{array, mem};

use crate::kernels::{BLOCK, Source};
use crate::matrix::CACHE_LINE;
use crate::prefetch::prefetch;
use crate::{ColMajor, Columns, Par, Scalar, vectorize};

/// Features that become numbers together, as many as fill a vector of any processor.
const LANES: usize = 16;
/// Images between the one that becomes numbers and the one that is asked for.
const AHEAD: usize = 4;

/// The images X (k x n) of a mini-batch, a column each.
#[derive(Debug, Clone, Copy)]
pub enum Images<'a, T> {
    /// Numbers, in contiguous columns.
    Columns(Columns<'a, T>),
    /// Bytes, which become numbers where they are used.
    Pixels(Pixels<'a, T>),
}

/// Images as bytes: feature i of image j is (`images[j][i]` - `mean[i]`) `scale[i]`.
///
/// They take a quarter of the memory of numbers in `f32`, and stay where they are: nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a, T> {
    images: &'a [&'a [u8]],
    /// The first feature of each image that counts.
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
    /// Features, k.
    pub fn nrows(self) -> usize {
        match self {
            Self::Columns(columns) => columns.nrows(),
            Self::Pixels(pixels) => pixels.nrows(),
        }
    }

    /// Images, n.
    pub fn ncols(self) -> usize {
        match self {
            Self::Columns(columns) => columns.ncols(),
            Self::Pixels(pixels) => pixels.ncols(),
        }
    }

    /// The transpose, whose rows are contiguous.
    pub(crate) fn view(self) -> Source<'a, T> {
        match self {
            Self::Columns(columns) => Source::Rows(columns.view()),
            Self::Pixels(pixels) => Source::Pixels(pixels),
        }
    }
}

impl<'a, T: Scalar> Pixels<'a, T> {
    /// `images` with the `mean` that is subtracted from each feature, in units of pixels, and the `scale` by which the
    /// difference is multiplied.
    ///
    /// # Panics
    /// If these do not all have the same length.
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
        assert_eq!(mean.len(), scale.len(), "a mean and a scale for each feature");
        assert!(images.iter().all(|image| image.len() == mean.len()), "a mean for each feature of an image");
        Self { images, first: 0, mean, scale }
    }

    /// Features, k.
    pub fn nrows(self) -> usize {
        self.mean.len()
    }

    /// Images, n.
    pub fn ncols(self) -> usize {
        self.images.len()
    }

    /// Writes the images to the first columns of `out`, as numbers. Threads share out the features.
    ///
    /// # Shapes
    /// `out` is k x at least n; further columns are left alone.
    ///
    /// # Panics
    /// If `out` does not fit.
    pub fn write(self, out: &mut ColMajor<T>, par: &Par) {
        assert!(self.ncols() <= out.ncols(), "{} images for {} columns", self.ncols(), out.ncols());
        assert_eq!(out.nrows(), self.nrows(), "a column has as many features as an image");
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

    /// Writes image `j` to `out`.
    ///
    /// # Panics
    /// If there is no such image, or `out` is not as long.
    #[inline(always)]
    pub fn write_one(self, j: usize, out: &mut [T]) {
        assert_eq!(out.len(), self.nrows(), "as many features as an image");
        normalize(&self.images[j][self.first..], self.mean, self.scale, out);
    }

    /// `length` features from `start` on.
    #[inline(always)]
    pub(crate) fn features(self, start: usize, length: usize) -> Self {
        let (mean, scale) = (&self.mean[start..][..length], &self.scale[start..][..length]);
        Self { first: self.first + start, mean, scale, ..self }
    }

    /// Writes `C` images from image `j` on to `out`, one after the other, and returns where each is.
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
            // By value, or the compiler would have to suppose that what is written is one of them.
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

    /// Asks for every `parts`th cache line, from line `part` on, of these features of `count` images from image `j` on.
    /// Behind the last image follow the first ones with the next features.
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
