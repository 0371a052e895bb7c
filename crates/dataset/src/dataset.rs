use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cifar::{self, Kind, Part};
use crate::names::SYNTHETIC_CLASSES;
use crate::{Error, FEATURES, Progress, Shape, synthetic};

/// Number of validation images: the last ones of the training files.
const VALIDATION: usize = 5_000;

/// Labelled images in three parts: training, validation and test. Holds one copy of the pixels, as bytes.
#[derive(Clone, Debug)]
pub struct Dataset {
    kind: Kind,
    training: Part,
    test: Part,
    validation: usize,
    sha256: String,
    synthetic: Option<String>,
    folder: Option<PathBuf>,
}

/// The number of images in each part of a generated dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Training images.
    pub training: usize,
    /// Validation images.
    pub validation: usize,
    /// Test images.
    pub test: usize,
}

/// A contiguous range of images of a [`Dataset`] with their labels.
#[derive(Clone, Copy, Debug)]
pub struct Subset<'a> {
    pixels: &'a [u8],
    labels: &'a [u8],
    coarse: &'a [u8],
}

impl Sizes {
    /// The sizes of CIFAR-10: 45,000, 5,000 and 10,000.
    pub const CIFAR: Self = Self { training: 50_000 - VALIDATION, validation: VALIDATION, test: 10_000 };
}

impl Dataset {
    /// Loads the dataset at `path`: a folder with the binary version, a folder with CIFAR-10's Python version (as
    /// torchvision and Keras store it), an official archive (`.tar.gz`) of either, or a folder that contains one of
    /// these.
    ///
    /// Every file of CIFAR-10 is checked against its official SHA-256 before use. There are no official checksums for
    /// CIFAR-100's files: only their sizes and the range of their labels are checked.
    ///
    /// # Errors
    /// [`Error::Unrecognized`], [`Error::Missing`], [`Error::NotAFile`], [`Error::Io`] (for example, permission
    /// denied), [`Error::Size`], [`Error::Checksum`], [`Error::Archive`], [`Error::Pickle`], [`Error::Label`], or
    /// [`Error::Cancelled`].
    pub fn open(kind: Kind, path: &Path, progress: &dyn Progress) -> Result<Self, Error> {
        let cifar::Folder { training, test, sha256, place } = cifar::read(kind, path, progress)?;
        Ok(Self { kind, training, test, validation: VALIDATION, sha256, synthetic: None, folder: Some(place) })
    }

    /// Generates the synthetic stand-in from `seed`; `reason` says why it is used.
    ///
    /// The same seed gives the same images, and a smaller dataset holds the first images of a larger one: training
    /// and validation images come from one random stream, test images from another.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn generate(seed: u64, sizes: Sizes, reason: &str, progress: &dyn Progress) -> Result<Self, Error> {
        let cifar::Folder { training, test, sha256, .. } = synthetic::generate(seed, sizes, progress)?;
        let synthetic = Some(reason.to_owned());
        Ok(Self { kind: Kind::Cifar10, training, test, validation: sizes.validation, sha256, synthetic, folder: None })
    }

    /// `"CIFAR-10"`, `"CIFAR-100"` or `"synthetic stand-in"`.
    pub fn name(&self) -> &'static str {
        if self.synthetic() { "synthetic stand-in" } else { self.kind.name() }
    }

    /// The folder that the dataset was loaded from; `None` if it was generated.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The dataset's kind; the stand-in uses the layout of CIFAR-10 and returns [`Kind::Cifar10`].
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A checksum of the whole content, in hexadecimal: the SHA-256 of the list of the files' checksums.
    ///
    /// The list has one line `<SHA-256>  <name>` per file, in the format of `sha256sum`. For CIFAR-10 the files are
    /// data_batch_1.bin to data_batch_5.bin, test_batch.bin and batches.meta.txt; for CIFAR-100, train.bin and
    /// test.bin. The stand-in has those files of CIFAR-10 that its images fill, without batches.meta.txt.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether the images are generated.
    pub fn synthetic(&self) -> bool {
        self.synthetic.is_some()
    }

    /// Why the synthetic stand-in is used; `None` for real images.
    pub fn synthetic_reason(&self) -> Option<&str> {
        self.synthetic.as_deref()
    }

    /// The class names in label order.
    pub fn class_names(&self) -> &'static [&'static str] {
        if self.synthetic() { &SYNTHETIC_CLASSES } else { self.kind.class_names() }
    }

    /// Training images: the first 45,000 of the training files, in file order.
    pub fn training(&self) -> Subset<'_> {
        Subset::of(&self.training).slice(0..self.training.len() - self.validation)
    }

    /// Validation images: the last 5,000 of the training files.
    pub fn validation(&self) -> Subset<'_> {
        Subset::of(&self.training).slice(self.training.len() - self.validation..self.training.len())
    }

    /// Test images. Use them only for final results, never to choose settings.
    pub fn test(&self) -> Subset<'_> {
        Subset::of(&self.test)
    }
}

impl<'a> Subset<'a> {
    /// All images of `part`.
    pub fn of(part: &'a Part) -> Self {
        Self { pixels: &part.pixels, labels: &part.labels, coarse: &part.coarse }
    }

    /// The shape of an image.
    pub fn shape(&self) -> Shape {
        Shape::CIFAR
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the subset is empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The 3,072 pixels of image `i`: the red, green and blue channel, each row by row.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    #[inline]
    pub fn image(&self, i: usize) -> &'a [u8] {
        &self.pixels[i * FEATURES..][..FEATURES]
    }

    /// Iterates over all images in order.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.pixels.chunks_exact(FEATURES)
    }

    /// The class of image `i`; for CIFAR-100, the fine class.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    #[inline]
    pub fn label(&self, i: usize) -> u8 {
        self.labels[i]
    }

    /// The classes of all images; for CIFAR-100, the fine classes.
    pub fn labels(&self) -> &'a [u8] {
        self.labels
    }

    /// The coarse classes of CIFAR-100; empty for other datasets.
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
        Self {
            pixels: &self.pixels[range.start * FEATURES..range.end * FEATURES],
            labels: &self.labels[range.clone()],
            coarse: if self.coarse.is_empty() { &[] } else { &self.coarse[range] },
        }
    }
}
