//! The binary versions of CIFAR-10 and CIFAR-100: file layout, expected files and parsing.
//!
//! A file is a sequence of records. A CIFAR-10 record is a label and 3,072 pixels; a CIFAR-100 record is a coarse
//! label, a fine label and 3,072 pixels. The pixels are 1,024 red ones, row by row, then the green and the blue.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::names::{CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_COARSE_CLASSES};
use crate::place::{self, Files, Version};
use crate::{Error, FEATURES, Progress, checksum, python};

/// A CIFAR dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
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

/// Images and labels as bytes, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub(crate) pixels: Vec<u8>,
    pub(crate) labels: Vec<u8>,
    pub(crate) coarse: Vec<u8>,
}

/// The parsed contents of a folder or an archive.
#[derive(Default)]
pub(crate) struct Folder {
    pub(crate) training: Part,
    pub(crate) test: Part,
    pub(crate) sha256: String,
    pub(crate) place: PathBuf,
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
const CIFAR100_FILES: [(&str, u64); 2] = [("train.bin", 153_700_000), ("test.bin", 30_740_000)];

impl Kind {
    /// `"CIFAR-10"` or `"CIFAR-100"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
        }
    }

    /// The name of the folder in the official archive.
    pub fn folder(self) -> &'static str {
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
            Self::Cifar100 => &["cifar-100-binary"],
        }
    }

    /// The official archives that can be loaded.
    pub(crate) fn archives(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"],
            Self::Cifar100 => &["cifar-100-binary.tar.gz"],
        }
    }

    /// The names under which Keras 2 and 3 store the archive of the Python version.
    pub(crate) fn keras_archives(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &["cifar-10-batches-py.tar.gz", "cifar-10-batches-py-target_archive"],
            Self::Cifar100 => &[],
        }
    }

    /// The names of the binary version's files.
    pub(crate) fn binary_files(self) -> Vec<&'static str> {
        match self {
            Self::Cifar10 => CIFAR10_FILES.map(|(name, ..)| name).into(),
            Self::Cifar100 => CIFAR100_FILES.map(|(name, _)| name).into(),
        }
    }

    /// The names of the Python version's files; empty for CIFAR-100, whose Python version is not supported.
    pub(crate) fn python_files(self) -> Vec<&'static str> {
        match self {
            Self::Cifar10 => python::FILES.map(|(name, _)| name).into(),
            Self::Cifar100 => Vec::new(),
        }
    }

    /// The environment variable that sets the dataset's folder: `CIFAR10_DIR` or `CIFAR100_DIR`.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR10_DIR",
            Self::Cifar100 => "CIFAR100_DIR",
        }
    }

    /// The class names in label order; for CIFAR-100, the fine classes.
    pub fn class_names(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &CIFAR10_CLASSES,
            Self::Cifar100 => &CIFAR100_CLASSES,
        }
    }

    /// The names of CIFAR-100's coarse classes in label order; empty for CIFAR-10.
    pub fn coarse_class_names(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &[],
            Self::Cifar100 => &CIFAR100_COARSE_CLASSES,
        }
    }

    fn label_bytes(self) -> usize {
        self.label_limits().len()
    }

    /// The number of classes for each label byte of a record.
    fn label_limits(self) -> &'static [u8] {
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
        let bytes = read_sized(&path, self.bytes)?;
        checksum::verify_sha256(&path, &self.sha256, &bytes)?;
        Ok(bytes)
    }
}

impl Part {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the part is empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub(crate) fn with_capacity(images: usize, coarse: bool) -> Self {
        Self {
            pixels: Vec::with_capacity(images * FEATURES),
            labels: Vec::with_capacity(images),
            coarse: Vec::with_capacity(if coarse { images } else { 0 }),
        }
    }

    /// Appends the records in `bytes`; `path` is only used in errors.
    pub(crate) fn append(&mut self, kind: Kind, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let record = kind.label_bytes() + FEATURES;
        let (records, rest) = (bytes.chunks_exact(record), bytes.len() % record);
        if rest != 0 {
            let offset = (bytes.len() - rest) as u64;
            return Err(Error::PartialRecord { path: path.to_path_buf(), offset, expected: record, found: rest });
        }
        for (i, bytes) in records.enumerate() {
            let (labels, pixels) = bytes.split_at(kind.label_bytes());
            for (j, (&label, &classes)) in labels.iter().zip(kind.label_limits()).enumerate() {
                if label >= classes {
                    let offset = (i * record + j) as u64;
                    return Err(Error::Label { path: path.to_path_buf(), offset, label, classes });
                }
            }
            match *labels {
                [coarse, fine] => {
                    self.coarse.push(coarse);
                    self.labels.push(fine);
                }
                _ => self.labels.extend_from_slice(labels),
            }
            self.pixels.extend_from_slice(pixels);
        }
        Ok(())
    }
}

/// Parses any number of CIFAR-10 records: a label below 10 and 3,072 pixels each.
///
/// `path` is only used in errors; the file is not opened.
///
/// # Errors
/// [`Error::PartialRecord`] or [`Error::Label`], with the byte offset.
pub fn parse_cifar10(path: &Path, bytes: &[u8]) -> Result<Part, Error> {
    parse(Kind::Cifar10, path, bytes)
}

/// Parses any number of CIFAR-100 records: a coarse label below 20, a fine label below 100 and 3,072 pixels each.
///
/// `path` is only used in errors; the file is not opened.
///
/// # Errors
/// [`Error::PartialRecord`] or [`Error::Label`], with the byte offset.
pub fn parse_cifar100(path: &Path, bytes: &[u8]) -> Result<Part, Error> {
    parse(Kind::Cifar100, path, bytes)
}

fn parse(kind: Kind, path: &Path, bytes: &[u8]) -> Result<Part, Error> {
    let mut part = Part::with_capacity(bytes.len() / FEATURES, kind == Kind::Cifar100);
    part.append(kind, path, bytes)?;
    Ok(part)
}

/// Loads the dataset `kind` from `path`. Reads each file once, and checks its size and checksum before parsing it.
pub(crate) fn read(kind: Kind, path: &Path, progress: &dyn Progress) -> Result<Folder, Error> {
    read_with(kind, path, progress, &python::FILES)
}

/// Like [`read`], with the files of the Python version and their MD5s given by `pickles`.
pub(crate) fn read_with(
    kind: Kind,
    path: &Path,
    progress: &dyn Progress,
    pickles: &[(&str, &str)],
) -> Result<Folder, Error> {
    let (version, mut files) = place::find(kind, path, progress)?;
    let place = files.place().to_path_buf();
    let coarse = kind == Kind::Cifar100;
    let (mut training, mut test) = (Part::with_capacity(50_000, coarse), Part::with_capacity(10_000, coarse));
    let mut sums = Vec::new();
    let mut visit = |name: &str, path: &Path, bytes: &[u8]| match name {
        "batches.meta.txt" => Ok(()),
        "test_batch.bin" | "test.bin" => test.append(kind, path, bytes),
        _ => training.append(kind, path, bytes),
    };
    match kind {
        Kind::Cifar10 => {
            for file in ExpectedFile::cifar10() {
                if let Some((path, bytes)) = read_cifar10(&file, version, pickles, &mut files, progress)? {
                    checksum::verify_sha256(&path, &file.sha256, &bytes)?;
                    visit(&file.name, &path, &bytes)?;
                }
                sums.push((file.name, file.sha256));
            }
        }
        Kind::Cifar100 => {
            for (name, size) in CIFAR100_FILES {
                let path = place.join(name);
                announce(&path, progress)?;
                let bytes = files.read(name, size)?;
                visit(name, &path, &bytes)?;
                sums.push((name.to_owned(), checksum::sha256(&bytes)));
            }
        }
    }
    Ok(Folder { training, test, sha256: checksum::of_files(&sums), place })
}

/// Returns the content of `file` in the layout of the binary version, with the path that it was read from; `None` for
/// the class names in the Python version, which are built in.
fn read_cifar10(
    file: &ExpectedFile,
    version: Version,
    pickles: &[(&str, &str)],
    files: &mut Files,
    progress: &dyn Progress,
) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    let pickle = pickles.iter().find(|(name, _)| file.name.strip_suffix(".bin") == Some(name));
    let (name, md5) = match (version, pickle) {
        (Version::Binary, _) => (file.name.as_str(), None),
        (Version::Python, Some((name, md5))) => (*name, Some(*md5)),
        (Version::Python, None) => return Ok(None),
    };
    let path = files.place().join(name);
    announce(&path, progress)?;
    let bytes = match md5 {
        None => files.read(name, file.bytes)?,
        Some(md5) => python::records(&path, md5, &files.read_up_to(name, python::LONGEST)?)?,
    };
    Ok(Some((path, bytes)))
}

fn announce(path: &Path, progress: &dyn Progress) -> Result<(), Error> {
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    progress.verifying(path);
    Ok(())
}

/// Reads a file that must have exactly `expected` bytes; stops early if the file is longer.
pub(crate) fn read_sized(path: &Path, expected: u64) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io(path, e);
    let size = |found| Error::Size { path: path.to_path_buf(), expected, found };
    // Reject pipes and folders by their metadata: opening a pipe could block.
    let metadata = fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path: path.to_path_buf() });
    }
    let file = File::open(path).map_err(io)?;
    if metadata.len() != expected {
        return Err(size(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(expected as usize + 1);
    file.take(expected + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 != expected { Err(size(bytes.len() as u64)) } else { Ok(bytes) }
}
