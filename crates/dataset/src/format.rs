use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::loader::{Loaded, Loader};
#[cfg(feature = "pictures")]
use crate::pictures;
use crate::{Dimensions, Error, Options, Progress, cifar, idx, place};

macro_rules! formats {
    ($($(#[doc = $doc:literal])* $(#[cfg($cfg:meta)])? $format:ident = $loader:expr;)*) => {
        /// A format of datasets.
        ///
        /// [`FromStr`] and [`Display`](fmt::Display) use the names of settings, such as `cifar10`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Format {
            $($(#[doc = $doc])* $(#[cfg($cfg)])? $format,)*
        }

        impl Format {
            /// All formats, in the order in which [`detect`](Self::detect) tries them.
            pub const ALL: &'static [Self] = &[$($(#[cfg($cfg)])? Self::$format,)*];

            fn loader(self) -> &'static Loader {
                match self {
                    $($(#[cfg($cfg)])? Self::$format => &$loader,)*
                }
            }
        }
    };
}

formats! {
    /// CIFAR-10: a folder with the binary version, a folder with the Python version (as torchvision and Keras store
    /// it), an official archive (`.tar.gz`) of either, or a folder that contains one of these. Every file is checked
    /// against its official checksum.
    Cifar10 = cifar::CIFAR10;
    /// CIFAR-100 with the 100 fine labels, in the same forms. There are no official checksums for the files of the
    /// binary version: in a folder, only their sizes and the range of their labels are checked.
    Cifar100 = cifar::CIFAR100;
    /// CIFAR-100 with the 20 coarse labels.
    Cifar100Coarse = cifar::CIFAR100_COARSE;
    /// MNIST and other datasets in its IDX format, such as Fashion-MNIST, KMNIST and EMNIST: a folder with the files
    /// `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`,
    /// each plain or `.gz`, or the path of the first of these.
    Idx = idx::IDX;
    /// A folder of pictures with a folder for each class: the classes are in `train`, and optionally in `val` and
    /// `test`, or directly in the folder. The names of the classes are those of their folders.
    #[cfg(feature = "pictures")]
    Pictures = pictures::PICTURES;
}

impl Format {
    /// The format of the dataset at `path`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], and [`Error::Unrecognized`] if it has no known format.
    pub fn detect(path: &Path) -> Result<Self, Error> {
        std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
        match Self::ALL.iter().find(|format| (format.loader().found)(path)) {
            Some(&format) => Ok(format),
            None => {
                let expected: Vec<_> = Self::ALL.iter().map(|format| format.loader().expected).collect();
                let mut expected: Vec<_> = expected.into_iter().filter(|expected| !expected.is_empty()).collect();
                let last = expected.pop().unwrap_or_default();
                let expected = format!("{} or {last}", expected.join(", "));
                Err(Error::Unrecognized {
                    path: path.to_path_buf(),
                    kind: "supported",
                    found: place::describe(path)?,
                    expected,
                })
            }
        }
    }

    /// The environment variable that sets the dataset's folder, such as `CIFAR10_DIR`.
    pub fn variable(self) -> Option<&'static str> {
        self.loader().usual.map(|usual| usual.variable)
    }

    /// The dimensions of every dataset of this format, if they are fixed; `validation` is [`Options::validation`].
    pub fn dimensions(self, validation: Option<usize>) -> Option<Dimensions> {
        (self.loader().dimensions)(validation)
    }

    /// What holds the dataset in `place`, which may be this place itself.
    pub(crate) fn recognize(self, place: &Path) -> Option<PathBuf> {
        self.loader().usual.and_then(|usual| (usual.recognize)(place))
    }

    /// The name of the dataset's folder in its usual places.
    pub(crate) fn folder(self) -> Option<&'static str> {
        self.loader().usual.map(|usual| usual.folder)
    }

    pub(crate) fn load(self, path: &Path, options: &Options, progress: &dyn Progress) -> Result<Loaded, Error> {
        (self.loader().load)(path, options, progress)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.loader().name)
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|format| format.loader().name == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(Self::to_string).collect();
            format!("expected one of {}", names.join(", "))
        })
    }
}
