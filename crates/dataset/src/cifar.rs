//! The binary versions of CIFAR-10 and CIFAR-100: their layout, their files and how these are read.
//!
//! A file is a sequence of records. A CIFAR-10 record is a label and 3,072 pixels; a CIFAR-100 record is a coarse
//! label, a fine label and 3,072 pixels. The pixels are 1,024 red ones, row by row, then the green and the blue.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::names::{CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_COARSE_CLASSES};
use crate::place::{self, Files, Version};
use crate::{Error, FEATURES, Progress, checksum, python};

/// A family of images with their classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 10 classes, 50,000 training and 10,000 test images.
    Cifar10,
    /// 100 fine classes in 20 coarse ones, 50,000 training and 10,000 test images.
    Cifar100,
}

/// A file of a data set, by what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedFile {
    /// Its name within its folder.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// Images and labels in the order of their files, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub(crate) pixels: Vec<u8>,
    pub(crate) labels: Vec<u8>,
    pub(crate) coarse: Vec<u8>,
}

/// What a folder or an archive holds.
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

    /// The folder that the official archive unpacks to.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar-10-batches-bin",
            Self::Cifar100 => "cifar-100-binary",
        }
    }

    /// The folder that the official archive of the Python version unpacks to.
    pub(crate) fn python_folder(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar-10-batches-py",
            Self::Cifar100 => "cifar-100-python",
        }
    }

    /// The names of the archives that can be loaded.
    pub(crate) fn archives(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"],
            Self::Cifar100 => &["cifar-100-binary.tar.gz"],
        }
    }

    /// The names of the binary version's files.
    pub(crate) fn binary_files(self) -> Vec<&'static str> {
        match self {
            Self::Cifar10 => CIFAR10_FILES.map(|(name, ..)| name).into(),
            Self::Cifar100 => CIFAR100_FILES.map(|(name, _)| name).into(),
        }
    }

    /// The names of the Python version's files, which klayer reads of CIFAR-10 alone.
    pub(crate) fn python_files(self) -> Vec<&'static str> {
        match self {
            Self::Cifar10 => python::FILES.map(|(name, _)| name).into(),
            Self::Cifar100 => Vec::new(),
        }
    }

    /// The environment variable that names a folder: `CIFAR10_DIR` or `CIFAR100_DIR`.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR10_DIR",
            Self::Cifar100 => "CIFAR100_DIR",
        }
    }

    /// The names of the classes, in the order of the labels; the fine ones of CIFAR-100.
    pub fn class_names(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &CIFAR10_CLASSES,
            Self::Cifar100 => &CIFAR100_CLASSES,
        }
    }

    /// The names of CIFAR-100's coarse classes, in the order of the labels; none for CIFAR-10.
    pub fn coarse_class_names(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &[],
            Self::Cifar100 => &CIFAR100_COARSE_CLASSES,
        }
    }

    fn label_bytes(self) -> usize {
        self.label_limits().len()
    }

    /// How many classes each label of a record chooses from.
    fn label_limits(self) -> &'static [u8] {
        match self {
            Self::Cifar10 => &[10],
            Self::Cifar100 => &[20, 100],
        }
    }
}

impl ExpectedFile {
    /// The seven files of CIFAR-10 with their official sizes and sums.
    pub fn cifar10() -> Vec<Self> {
        let expected = |&(name, bytes, sha256): &(&str, u64, &str)| Self {
            name: name.to_owned(),
            bytes,
            sha256: sha256.to_owned(),
        };
        CIFAR10_FILES.iter().map(expected).collect()
    }

    /// Reads the file in `folder` and checks size and sum.
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
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
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

    /// Appends the records of `bytes`; `path` is named in errors.
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

/// Parses records of CIFAR-10, any number of them: a label below 10 and 3,072 pixels each.
///
/// `path` is named in errors, and is not opened.
///
/// # Errors
/// [`Error::PartialRecord`] or [`Error::Label`], with the offset in bytes.
pub fn parse_cifar10(path: &Path, bytes: &[u8]) -> Result<Part, Error> {
    parse(Kind::Cifar10, path, bytes)
}

/// Parses records of CIFAR-100, any number of them: a coarse label below 20, a fine one below 100, 3,072 pixels.
///
/// `path` is named in errors, and is not opened.
///
/// # Errors
/// [`Error::PartialRecord`] or [`Error::Label`], with the offset in bytes.
pub fn parse_cifar100(path: &Path, bytes: &[u8]) -> Result<Part, Error> {
    parse(Kind::Cifar100, path, bytes)
}

fn parse(kind: Kind, path: &Path, bytes: &[u8]) -> Result<Part, Error> {
    let mut part = Part::with_capacity(bytes.len() / FEATURES, kind == Kind::Cifar100);
    part.append(kind, path, bytes)?;
    Ok(part)
}

/// Reads the dataset of `kind` at `path`: every file once, its size and sum checked before it is parsed.
pub(crate) fn read(kind: Kind, path: &Path, progress: &dyn Progress) -> Result<Folder, Error> {
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
                if let Some((path, bytes)) = read_cifar10(&file, version, &mut files, progress)? {
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

/// What `file` of the binary version holds, and the path that it comes from; none for the names of the classes in the
/// Python version, which are known.
fn read_cifar10(
    file: &ExpectedFile,
    version: Version,
    files: &mut Files,
    progress: &dyn Progress,
) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    let pickle = python::FILES.iter().find(|(name, _)| file.name.strip_suffix(".bin") == Some(name));
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

/// The bytes of a file that must have `expected` of them; a longer one is not read to its end.
pub(crate) fn read_sized(path: &Path, expected: u64) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io(path, e);
    let size = |found| Error::Size { path: path.to_path_buf(), expected, found };
    // A file that is no regular one (a pipe, a folder) is told from its metadata, before it could block.
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
