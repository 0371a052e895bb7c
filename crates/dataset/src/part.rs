use std::ops::Range;

use klayer_linalg::random::stream;
use rand::seq::SliceRandom;

use crate::{Error, Shape};

/// Images of one shape and their labels as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub(crate) shape: Shape,
    pub(crate) pixels: Vec<u8>,
    pub(crate) labels: Vec<u8>,
    pub(crate) coarse: Vec<u8>,
}

/// A contiguous range of images of a [`Dataset`](crate::Dataset) with their labels.
#[derive(Clone, Copy, Debug)]
pub struct Subset<'a> {
    shape: Shape,
    pixels: &'a [u8],
    labels: &'a [u8],
    coarse: &'a [u8],
}

impl Part {
    /// Images of `shape`, one after another, each channel by channel and row by row, and the label of each.
    ///
    /// # Errors
    /// [`Error::Arrays`] if the shape has no pixels, or the number of pixels does not match the number of labels.
    pub fn new(shape: Shape, pixels: Vec<u8>, labels: Vec<u8>) -> Result<Self, Error> {
        let features = shape.features();
        if features == 0 {
            return Err(Error::Arrays(format!("an image of {shape} has no pixels")));
        }
        if Some(pixels.len()) != labels.len().checked_mul(features) {
            let (pixels, labels) = (pixels.len(), labels.len());
            return Err(Error::Arrays(format!(
                "{pixels} pixels and {labels} labels do not match: an image of {shape} has {features} pixels"
            )));
        }
        Ok(Self { shape, pixels, labels, coarse: Vec::new() })
    }

    /// A part without images.
    pub fn empty(shape: Shape) -> Self {
        Self { shape, pixels: Vec::new(), labels: Vec::new(), coarse: Vec::new() }
    }

    /// An empty part with space for `images`, with or without coarse labels.
    pub(crate) fn with_capacity(shape: Shape, images: usize, coarse: bool) -> Self {
        Self {
            shape,
            pixels: Vec::with_capacity(images * shape.features()),
            labels: Vec::with_capacity(images),
            coarse: Vec::with_capacity(if coarse { images } else { 0 }),
        }
    }

    /// The shape of an image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the part is empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The number of images of each of `classes` classes.
    ///
    /// # Panics
    /// If a label is not below `classes`.
    pub(crate) fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        self.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        counts
    }

    /// The default number of validation images: a tenth of the images, or as many as [`draw`](Self::draw) can.
    pub(crate) fn tenth(&self, classes: usize) -> usize {
        most(&self.counts(classes)).min(self.len() / 10)
    }

    /// Removes the last `images` images and returns them.
    ///
    /// # Errors
    /// [`Error::Validation`] if fewer than two images would be left of more.
    pub(crate) fn split_last(&mut self, images: usize) -> Result<Self, Error> {
        let most = self.len().saturating_sub(1);
        if images > most {
            return Err(Error::Validation { images, most });
        }
        let left = self.len() - images;
        Ok(Self {
            shape: self.shape,
            pixels: self.pixels.split_off(left * self.shape.features()),
            labels: self.labels.split_off(left),
            coarse: self.coarse.split_off(if self.coarse.is_empty() { 0 } else { left }),
        })
    }

    /// Draws `images` images from `seed` and moves them to a new part; both parts keep the order of the images.
    ///
    /// Each of the `classes` classes gives a share in proportion to its images (by the largest remainders), and keeps
    /// at least one image.
    ///
    /// # Errors
    /// [`Error::Validation`] if there are not enough images for that.
    ///
    /// # Panics
    /// If a label is not below `classes`.
    pub fn draw(&mut self, images: usize, classes: usize, seed: u64) -> Result<Self, Error> {
        let counts = self.counts(classes);
        let most = most(&counts);
        if images > most {
            return Err(Error::Validation { images, most });
        }
        let (shares, mut rng) = (shares(&counts, images), stream(seed, "validation"));
        let mut drawn = vec![false; self.len()];
        for (class, &share) in shares.iter().enumerate() {
            let mut of_class: Vec<_> = (0..self.len()).filter(|&i| usize::from(self.labels[i]) == class).collect();
            of_class.shuffle(&mut rng);
            of_class[..share].iter().for_each(|&i| drawn[i] = true);
        }
        let (features, mut kept) = (self.shape.features(), 0);
        let mut part = Self::with_capacity(self.shape, images, !self.coarse.is_empty());
        for (i, &drawn) in drawn.iter().enumerate() {
            let pixels = i * features..(i + 1) * features;
            if drawn {
                part.pixels.extend_from_slice(&self.pixels[pixels]);
                part.labels.push(self.labels[i]);
                part.coarse.extend(self.coarse.get(i));
                continue;
            }
            self.pixels.copy_within(pixels, kept * features);
            self.labels[kept] = self.labels[i];
            if !self.coarse.is_empty() {
                self.coarse[kept] = self.coarse[i];
            }
            kept += 1;
        }
        self.pixels.truncate(kept * features);
        self.labels.truncate(kept);
        self.coarse.truncate(kept);
        Ok(part)
    }
}

/// The most images that can be drawn if every class keeps one.
fn most(counts: &[usize]) -> usize {
    counts.iter().map(|count| count.saturating_sub(1)).sum()
}

/// Shares of `total` in proportion to `counts`, each less than its count. `total` must be less than the sum of the
/// counts by at least the number of counts that are not 0.
fn shares(counts: &[usize], total: usize) -> Vec<usize> {
    let all = counts.iter().sum::<usize>().max(1) as u128;
    let exact = |count: usize| total as u128 * count as u128;
    let most = |class: usize| counts[class].saturating_sub(1);
    let mut shares: Vec<_> = (0..counts.len()).map(|c| most(c).min((exact(counts[c]) / all) as usize)).collect();
    let mut order: Vec<_> = (0..counts.len()).collect();
    // A stable sort: of equal remainders, the first class is served first.
    order.sort_by_key(|&class| std::cmp::Reverse(exact(counts[class]) % all));
    let mut left = total - shares.iter().sum::<usize>();
    while left > 0 {
        for &class in &order {
            if left > 0 && shares[class] < most(class) {
                shares[class] += 1;
                left -= 1;
            }
        }
    }
    shares
}

impl<'a> Subset<'a> {
    /// All images of `part`.
    pub fn of(part: &'a Part) -> Self {
        Self { shape: part.shape, pixels: &part.pixels, labels: &part.labels, coarse: &part.coarse }
    }

    /// The shape of an image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the subset is empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of image `i`, as many as its shape has features: channel by channel, each row by row.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    #[inline]
    pub fn image(&self, i: usize) -> &'a [u8] {
        let features = self.shape.features();
        &self.pixels[i * features..][..features]
    }

    /// Iterates over all images in order.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.pixels.chunks_exact(self.shape.features())
    }

    /// The class of image `i`.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    #[inline]
    pub fn label(&self, i: usize) -> u8 {
        self.labels[i]
    }

    /// The classes of all images.
    pub fn labels(&self) -> &'a [u8] {
        self.labels
    }

    /// The coarse classes of CIFAR-100 with fine labels; empty for other datasets.
    pub fn coarse_labels(&self) -> &'a [u8] {
        self.coarse
    }

    /// The first `n` images, or all if there are fewer.
    pub fn first(&self, n: usize) -> Self {
        self.slice(0..n.min(self.len()))
    }

    /// The images in `range`.
    ///
    /// # Panics
    /// If `range` extends past the last image.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let features = self.shape.features();
        Self {
            shape: self.shape,
            pixels: &self.pixels[range.start * features..range.end * features],
            labels: &self.labels[range.clone()],
            coarse: if self.coarse.is_empty() { &[] } else { &self.coarse[range] },
        }
    }
}
