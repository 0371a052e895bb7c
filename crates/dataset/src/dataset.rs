use std::path::{Path, PathBuf};

use crate::loader::Loaded;
use crate::names::SYNTHETIC_CLASSES;
use crate::{
    Dimensions, Error, Format, Options, Parts, Progress, Shape, Sizes, Skipped, Split, Subset, checksum, synthetic,
};

/// Labelled images of one shape in three parts: training, validation and test. Holds one copy of the pixels, as bytes.
///
/// Load one with [`Dataset::open`] or [`load`](crate::load), or build one from arrays:
///
/// ```
/// use klayer_dataset::{Dataset, Parts, Part, Shape};
///
/// // Gray images of 2 x 2: dark ones and bright ones.
/// let shape = Shape { channels: 1, height: 2, width: 2 };
/// let (pixels, labels) = (vec![10, 12, 9, 8, 250, 251, 249, 252, 11, 9, 10, 12, 240, 248, 250, 247], vec![0, 1, 0, 1]);
/// let mut training = Part::new(shape, pixels, labels)?;
/// let validation = training.draw(2, 2, 42)?;
/// let parts = Parts { training, validation, test: Part::empty(shape) };
///
/// let dataset = Dataset::new("brightness", ["dark", "bright"], parts)?;
/// assert_eq!((dataset.training().len(), dataset.validation().len(), dataset.test().len()), (2, 2, 0));
/// # Ok::<(), klayer_dataset::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    format: Option<Format>,
    classes: Vec<String>,
    parts: Parts,
    split: Split,
    sha256: String,
    synthetic: Option<String>,
    folder: Option<PathBuf>,
    skipped: Vec<Skipped>,
}

impl Dataset {
    /// Loads the dataset at `path` in `format`, or in the format of its files if that is `None`, with the default
    /// [`Options`].
    ///
    /// # Errors
    /// Those of [`open_with`](Self::open_with).
    pub fn open(format: impl Into<Option<Format>>, path: &Path, progress: &dyn Progress) -> Result<Self, Error> {
        Self::open_with(&Options::default(), format, path, progress)
    }

    /// Loads the dataset at `path` in `format`, or in the format of its files if that is `None`.
    ///
    /// # Errors
    /// [`Error::Unrecognized`], [`Error::Missing`], [`Error::NotAFile`], [`Error::Io`] (for example, permission
    /// denied), [`Error::Size`], [`Error::Checksum`], [`Error::Archive`], [`Error::Pickle`], [`Error::Label`],
    /// [`Error::Idx`], [`Error::Picture`], [`Error::Folder`], [`Error::Validation`], or [`Error::Cancelled`].
    pub fn open_with(
        options: &Options,
        format: impl Into<Option<Format>>,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let format = format.into().map_or_else(|| Format::detect(path), Ok)?;
        let Loaded { name, classes, parts, split, sha256, folder, skipped } = format.load(path, options, progress)?;
        let sha256 = sha256.unwrap_or_else(|| content(&classes, &parts));
        let (name, format, folder) = (name.to_owned(), Some(format), Some(folder));
        Ok(Self { name, format, classes, parts, split, sha256, synthetic: None, folder, skipped })
    }

    /// Builds a dataset from images in memory; `name` identifies it in records and messages.
    ///
    /// # Errors
    /// [`Error::Arrays`] unless all parts have the same shape, there are 2 to 256 classes with different names, every
    /// label is below their number, and every class has a training image.
    pub fn new(
        name: impl Into<String>,
        classes: impl IntoIterator<Item = impl Into<String>>,
        parts: Parts,
    ) -> Result<Self, Error> {
        let classes: Vec<String> = classes.into_iter().map(Into::into).collect();
        parts.check(&classes).map_err(Error::Arrays)?;
        let (split, sha256) = (Split::of(&parts.validation, Split::Given), content(&classes, &parts));
        Ok(Self {
            name: name.into(),
            format: None,
            classes,
            parts,
            split,
            sha256,
            synthetic: None,
            folder: None,
            skipped: Vec::new(),
        })
    }

    /// Generates the synthetic stand-in from `seed`; `reason` says why it is used.
    ///
    /// The same seed gives the same images, and a smaller dataset holds the first images of a larger one: training
    /// and validation images come from one random stream, test images from another.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn generate(seed: u64, sizes: Sizes, reason: &str, progress: &dyn Progress) -> Result<Self, Error> {
        let (parts, sha256) = synthetic::generate(seed, sizes, progress)?;
        Ok(Self {
            name: "synthetic stand-in".to_owned(),
            format: None,
            classes: SYNTHETIC_CLASSES.map(str::to_owned).into(),
            split: Split::of(&parts.validation, Split::Last),
            parts,
            sha256,
            synthetic: Some(reason.to_owned()),
            folder: None,
            skipped: Vec::new(),
        })
    }

    /// Generates the stand-in like [`generate`](Self::generate), with the sizes of CIFAR-10 but `validation` of its
    /// training images for validation; the checksum depends on their number.
    ///
    /// # Errors
    /// [`Error::Validation`] if no training image is left, [`Error::Cancelled`].
    pub(crate) fn generate_split(
        seed: u64,
        validation: usize,
        reason: &str,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let Sizes { training, test, .. } = Sizes::CIFAR;
        let all = training + Sizes::CIFAR.validation;
        if validation >= all {
            return Err(Error::Validation { images: validation, most: all - 1 });
        }
        let sizes = Sizes { training: all - validation, validation, test };
        let dataset = Self::generate(seed, sizes, reason, progress)?;
        Ok(Self { sha256: checksum::of_split(&dataset.sha256, validation), ..dataset })
    }

    /// The name: that of the format, such as `"CIFAR-10"`, `"synthetic stand-in"`, or the one given to
    /// [`new`](Self::new).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder or archive that the dataset was loaded from; `None` if it was generated or built.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The format that the dataset was loaded from; `None` if it was generated or built.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// The shape of an image.
    pub fn shape(&self) -> Shape {
        self.parts.training.shape
    }

    /// Shape, number of classes and number of training images.
    pub fn dimensions(&self) -> Dimensions {
        Dimensions { shape: self.shape(), classes: self.classes.len(), training: self.parts.training.len() }
    }

    /// The number of images in each part.
    pub fn sizes(&self) -> Sizes {
        let Parts { training, validation, test } = &self.parts;
        Sizes { training: training.len(), validation: validation.len(), test: test.len() }
    }

    /// Where the validation images come from.
    pub fn split(&self) -> Split {
        self.split
    }

    /// The files that were skipped because they cannot be read.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// A checksum of the whole content, in hexadecimal: the SHA-256 of a list of checksums.
    ///
    /// The list has one line `<SHA-256>  <name>` per entry, in the format of `sha256sum`. For CIFAR-10 the entries are
    /// the files data_batch_1.bin to data_batch_5.bin, test_batch.bin and batches.meta.txt; for CIFAR-100, train.bin
    /// and test.bin. With another number of validation images than 5,000, or with coarse labels, a last line names
    /// these. The stand-in has those files of CIFAR-10 that its images fill, without batches.meta.txt. For all other
    /// datasets, the entries are the shape, the class names, and the images and the labels of each part.
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
    pub fn class_names(&self) -> &[String] {
        &self.classes
    }

    /// Training images.
    pub fn training(&self) -> Subset<'_> {
        Subset::of(&self.parts.training)
    }

    /// Validation images; there may be none.
    pub fn validation(&self) -> Subset<'_> {
        Subset::of(&self.parts.validation)
    }

    /// Test images; there may be none. Use them only for final results, never to choose settings.
    pub fn test(&self) -> Subset<'_> {
        Subset::of(&self.parts.test)
    }
}

/// The checksum of the content itself.
fn content(classes: &[String], parts: &Parts) -> String {
    let shape = parts.training.shape.to_string();
    let mut sums = vec![("shape".to_owned(), checksum::sha256(shape.as_bytes()))];
    sums.push(("classes".to_owned(), checksum::sha256(classes.join("\0").as_bytes())));
    for (name, part) in parts.named() {
        for (what, bytes) in [("images", &part.pixels), ("labels", &part.labels)] {
            sums.push((format!("{name} {what}"), checksum::sha256(bytes)));
        }
    }
    checksum::of_files(&sums)
}
