//! The files of CIFAR-10 and CIFAR-100.

use std::path::Path;

use crate::names::{CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_COARSE_CLASSES};
use crate::python::{self, Pickle};
use crate::{Error, checksum, file};

/// A CIFAR dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// 10 classes, 50,000 training and 10,000 test images.
    Cifar10,
    /// 100 fine classes grouped into 20 coarse classes, 50,000 training and 10,000 test images.
    Cifar100,
}

/// The expected name, size and checksum of a dataset file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedFile {
    /// File name within its folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

const CIFAR10_BYTES: u64 = 30_730_000;
const CIFAR10_FILES: [(&str, u64, &str); 7] = [
    ("data_batch_1.bin", CIFAR10_BYTES, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
    ("data_batch_2.bin", CIFAR10_BYTES, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
    ("data_batch_3.bin", CIFAR10_BYTES, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
    ("data_batch_4.bin", CIFAR10_BYTES, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
    ("data_batch_5.bin", CIFAR10_BYTES, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
    ("test_batch.bin", CIFAR10_BYTES, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ("batches.meta.txt", 61, "558e74b5e208382e186da55784b4bac2cd52e558448e1b5800990fdb28ed8033"),
];
pub(crate) const CIFAR100_FILES: [(&str, u64); 2] = [("train.bin", 153_700_000), ("test.bin", 30_740_000)];

impl Kind {
    /// `"CIFAR-10"` or `"CIFAR-100"`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
        }
    }

    /// The name of the folder in the official archive.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar-10-batches-bin",
            Self::Cifar100 => "cifar-100-binary",
        }
    }

    /// The folders that can be loaded from a folder above them: those of the official archives, then Keras's.
    pub(crate) fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => {
                &["cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"]
            }
            Self::Cifar100 => &["cifar-100-binary", "cifar-100-python", "cifar-100-python-target/cifar-100-python"],
        }
    }

    /// The official archives that can be loaded.
    pub(crate) fn archives(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"],
            Self::Cifar100 => &["cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"],
        }
    }

    /// The names under which Keras 2 and 3 store the archive of the Python version, where they differ.
    pub(crate) fn keras_archives(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &["cifar-10-batches-py.tar.gz", "cifar-10-batches-py-target_archive"],
            Self::Cifar100 => &["cifar-100-python-target_archive"],
        }
    }

    /// The names of the binary version's files.
    pub(crate) fn binary_files(self) -> Vec<&'static str> {
        match self {
            Self::Cifar10 => CIFAR10_FILES.map(|(name, ..)| name).into(),
            Self::Cifar100 => CIFAR100_FILES.map(|(name, _)| name).into(),
        }
    }

    /// The files of the Python version.
    pub(crate) fn pickles(self) -> &'static [Pickle] {
        match self {
            Self::Cifar10 => &python::CIFAR10,
            Self::Cifar100 => &python::CIFAR100,
        }
    }

    /// The names of the Python version's files.
    pub(crate) fn python_files(self) -> Vec<&'static str> {
        self.pickles().iter().map(|pickle| pickle.name).collect()
    }

    /// The class names in label order; for CIFAR-100, the fine classes.
    pub(crate) fn class_names(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &CIFAR10_CLASSES,
            Self::Cifar100 => &CIFAR100_CLASSES,
        }
    }

    /// The names of CIFAR-100's coarse classes in label order; empty for CIFAR-10.
    pub(crate) fn coarse_class_names(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &[],
            Self::Cifar100 => &CIFAR100_COARSE_CLASSES,
        }
    }

    /// The class names in label order: the coarse ones, or all.
    pub(crate) fn classes(self, coarse: bool) -> &'static [&'static str] {
        if coarse { self.coarse_class_names() } else { self.class_names() }
    }

    pub(crate) fn label_bytes(self) -> usize {
        self.label_limits().len()
    }

    /// The number of classes for each label byte of a record.
    pub(crate) fn label_limits(self) -> &'static [u8] {
        match self {
            Self::Cifar10 => &[10],
            Self::Cifar100 => &[20, 100],
        }
    }
}

impl ExpectedFile {
    /// The seven files of CIFAR-10 with their official sizes and checksums.
    pub fn cifar10() -> Vec<Self> {
        let expected = |&(name, bytes, sha256): &(&str, u64, &str)| Self {
            name: name.to_owned(),
            bytes,
            sha256: sha256.to_owned(),
        };
        CIFAR10_FILES.iter().map(expected).collect()
    }

    /// Reads the file in `folder` and checks its size and checksum.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotAFile`], [`Error::Io`], [`Error::Size`] or [`Error::Checksum`].
    pub fn read(&self, folder: &Path) -> Result<Vec<u8>, Error> {
        let path = folder.join(&self.name);
        let bytes = file::read_sized(&path, self.bytes)?;
        checksum::verify_sha256(&path, &self.sha256, &bytes)?;
        Ok(bytes)
    }
}
