use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cifar::{self, Kind, Part};
use crate::names::SYNTHETIC_CLASSES;
use crate::{Error, FEATURES, Progress, synthetic};

/// Images of the validation part: the last ones of the training files.
const VALIDATION: usize = 5_000;

/// A set of labelled images in three parts. One copy is held, as bytes.
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

/// How many images a generated set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Images to train on.
    pub training: usize,
    /// Images to choose by.
    pub validation: usize,
    /// Images to judge by.
    pub test: usize,
}

/// A run of images of a [`Dataset`] with their labels.
#[derive(Clone, Copy, Debug)]
pub struct Subset<'a> {
    pixels: &'a [u8],
    labels: &'a [u8],
    coarse: &'a [u8],
}

impl Sizes {
    /// Those of CIFAR-10: 45,000, 5,000 and 10,000.
    pub const CIFAR: Self = Self { training: 50_000 - VALIDATION, validation: VALIDATION, test: 10_000 };
}

impl Dataset {
    /// Loads the images at `path`: a folder with the files of the binary version, or of CIFAR-10's Python version, as
    /// torchvision and Keras keep it; an official archive (`.tar.gz`) of either; or a folder that holds one of these.
    ///
    /// Every file of CIFAR-10 is checked against its official SHA-256 before it is used. The sums of CIFAR-100's
    /// files are not known here: they are checked by their sizes and the range of their labels alone.
    ///
    /// # Errors
    /// [`Error::Unrecognized`], [`Error::Missing`], [`Error::NotAFile`], [`Error::Io`] (no permission, for one),
    /// [`Error::Size`], [`Error::Checksum`], [`Error::Archive`], [`Error::Pickle`], [`Error::Label`], or
    /// [`Error::Cancelled`].
    pub fn open(kind: Kind, path: &Path, progress: &dyn Progress) -> Result<Self, Error> {
        let cifar::Folder { training, test, sha256, place } = cifar::read(kind, path, progress)?;
        Ok(Self { kind, training, test, validation: VALIDATION, sha256, synthetic: None, folder: Some(place) })
    }

    /// Generates the synthetic stand-in from `seed`; `reason` says why it is used.
    ///
    /// The same seed gives the same images, and a smaller set holds the first images of the larger one: the training
    /// and validation images come from one sequence, the test images from another.
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

    /// The folder that the images were read from; none if they were generated.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Which family of images this is; the stand-in counts as CIFAR-10, whose layout it has.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// One checksum that determines the content, in hexadecimal: the SHA-256 of the list of the files' sums.
    ///
    /// The list has a line `<SHA-256>  <name>` a file, as `sha256sum` prints it. The files are data_batch_1.bin to
    /// data_batch_5.bin, test_batch.bin and batches.meta.txt of CIFAR-10; train.bin and test.bin of CIFAR-100; the
    /// stand-in's are those of CIFAR-10 that it would fill, without batches.meta.txt.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether these are generated images rather than photographs.
    pub fn synthetic(&self) -> bool {
        self.synthetic.is_some()
    }

    /// Why the synthetic stand-in is used; nothing if it is not.
    pub fn synthetic_reason(&self) -> Option<&str> {
        self.synthetic.as_deref()
    }

    /// The names of the classes, in the order of the labels.
    pub fn class_names(&self) -> &'static [&'static str] {
        if self.synthetic() { &SYNTHETIC_CLASSES } else { self.kind.class_names() }
    }

    /// The images to train on: the first 45,000 of the training files, in their order.
    pub fn training(&self) -> Subset<'_> {
        Subset::of(&self.training).slice(0..self.training.len() - self.validation)
    }

    /// The images to choose by: the last 5,000 of the training files.
    pub fn validation(&self) -> Subset<'_> {
        Subset::of(&self.training).slice(self.training.len() - self.validation..self.training.len())
    }

    /// The images to judge by, once every choice is made.
    pub fn test(&self) -> Subset<'_> {
        Subset::of(&self.test)
    }
}

impl<'a> Subset<'a> {
    /// All images of `part`.
    pub fn of(part: &'a Part) -> Self {
        Self { pixels: &part.pixels, labels: &part.labels, coarse: &part.coarse }
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The 3,072 pixels of image `i`: red, green, blue, each row by row.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    #[inline]
    pub fn image(&self, i: usize) -> &'a [u8] {
        &self.pixels[i * FEATURES..][..FEATURES]
    }

    /// All images, in order.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.pixels.chunks_exact(FEATURES)
    }

    /// The class of image `i`; the fine one of CIFAR-100.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    #[inline]
    pub fn label(&self, i: usize) -> u8 {
        self.labels[i]
    }

    /// The classes of all images; the fine ones of CIFAR-100.
    pub fn labels(&self) -> &'a [u8] {
        self.labels
    }

    /// The coarse classes of CIFAR-100; empty for the others.
    pub fn coarse_labels(&self) -> &'a [u8] {
        self.coarse
    }

    /// The first `n` images, or all if there are fewer.
    pub fn first(&self, n: usize) -> Self {
        self.slice(0..n.min(self.len()))
    }

    /// The images of `range`.
    ///
    /// # Panics
    /// If it goes beyond the last image.
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self {
            pixels: &self.pixels[range.start * FEATURES..range.end * FEATURES],
            labels: &self.labels[range.clone()],
            coarse: if self.coarse.is_empty() { &[] } else { &self.coarse[range] },
        }
    }
}
