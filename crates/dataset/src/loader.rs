//! What a format of datasets consists of.

use std::path::{Path, PathBuf};

use crate::{Dimensions, Error, Parts, Progress, Skipped, Split};

/// How to load a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Number of validation images to take from the training images, 0 to train on all of them; `None` for the
    /// format's default: 5,000 of CIFAR, a tenth of other datasets.
    pub validation: Option<usize>,
    /// Seed that the validation images are drawn with, unless the format fixes them.
    pub seed: u64,
    /// Height and width to which pictures are resized, in pixels.
    pub size: usize,
    /// Whether a picture that cannot be read is an error. Otherwise it is skipped.
    pub strict: bool,
}

/// What the file that implements a format provides.
pub(crate) struct Loader {
    /// The format's name in settings.
    pub(crate) name: &'static str,
    /// What to expect, in messages.
    pub(crate) expected: &'static str,
    /// Whether a folder or a file holds a dataset of this format.
    pub(crate) found: fn(&Path) -> bool,
    /// Loads the dataset.
    pub(crate) load: fn(&Path, &Options, &dyn Progress) -> Result<Loaded, Error>,
    /// Where to search for the dataset if no folder is given; `None` if it has no usual place.
    pub(crate) usual: Option<Usual>,
    /// The dimensions of every dataset of this format for a number of validation images, if they are fixed.
    pub(crate) dimensions: fn(Option<usize>) -> Option<Dimensions>,
}

/// The usual place of a dataset.
#[derive(Clone, Copy)]
pub(crate) struct Usual {
    /// Environment variable that sets the folder.
    pub(crate) variable: &'static str,
    /// Name of the folder.
    pub(crate) folder: &'static str,
    /// The first path in a folder, or the folder itself, that holds the dataset.
    pub(crate) recognize: fn(&Path) -> Option<PathBuf>,
}

/// What a loader of a format returns.
pub(crate) struct Loaded {
    pub(crate) name: &'static str,
    pub(crate) classes: Vec<String>,
    pub(crate) parts: Parts,
    pub(crate) split: Split,
    /// The checksum; `None` for that of the content.
    pub(crate) sha256: Option<String>,
    pub(crate) folder: PathBuf,
    pub(crate) skipped: Vec<Skipped>,
}

impl Default for Options {
    /// Pictures are resized to 32 x 32, seed 42.
    fn default() -> Self {
        Self { validation: None, seed: 42, size: 32, strict: false }
    }
}
