//! The binary versions of CIFAR-10 and CIFAR-100: file layout, expected files and parsing.
//!
//! A file is a sequence of records. A CIFAR-10 record is a label and 3,072 pixels; a CIFAR-100 record is a coarse
//! label, a fine label and 3,072 pixels. The pixels are 1,024 red ones, row by row, then the green and the blue.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use crate::kind::{CIFAR100_FILES, Kind};
use crate::loader::{Loaded, Loader, Usual};
use crate::place::{self, Files, Version};
use crate::python::Pickle;
use crate::{Dimensions, Error, ExpectedFile, Options, Part, Parts, Progress, Shape, Sizes, Split, checksum, python};

/// Images in the training files.
const IMAGES: usize = 50_000;
/// Images in the test file.
const TEST: usize = 10_000;
/// Number of validation images unless another one is set: the last ones of the training files.
const VALIDATION: usize = 5_000;
/// The official MD5 of `cifar-100-binary.tar.gz`.
const CIFAR100_MD5: &str = "03b5dce01913d631647c71ecec9e9cb8";
/// Bytes read at a time.
const BLOCK: usize = 1 << 16;

pub(crate) const CIFAR10: Loader = Loader {
    name: "cifar10",
    expected: "CIFAR-10",
    found: |path| place::holds(Kind::Cifar10, path),
    load: |path, options, progress| load(Kind::Cifar10, false, path, options, progress),
    usual: Some(Usual {
        variable: "CIFAR10_DIR",
        folder: "cifar-10-batches-bin",
        recognize: |place| Some(place::recognize(Kind::Cifar10, place)?.0),
    }),
    dimensions: |validation| dimensions(10, validation),
};

pub(crate) const CIFAR100: Loader = Loader {
    name: "cifar100",
    expected: "CIFAR-100",
    found: |path| place::holds(Kind::Cifar100, path),
    load: |path, options, progress| load(Kind::Cifar100, false, path, options, progress),
    usual: Some(Usual {
        variable: "CIFAR100_DIR",
        folder: "cifar-100-binary",
        recognize: |place| Some(place::recognize(Kind::Cifar100, place)?.0),
    }),
    dimensions: |validation| dimensions(100, validation),
};

pub(crate) const CIFAR100_COARSE: Loader = Loader {
    name: "cifar100-coarse",
    expected: "",
    // The files do not say which labels to use.
    found: |_| false,
    load: |path, options, progress| load(Kind::Cifar100, true, path, options, progress),
    dimensions: |validation| dimensions(20, validation),
    ..CIFAR100
};

impl Sizes {
    /// The sizes of CIFAR-10: 45,000, 5,000 and 10,000.
    pub const CIFAR: Self = Self { training: IMAGES - VALIDATION, validation: VALIDATION, test: TEST };
}

fn dimensions(classes: usize, validation: Option<usize>) -> Option<Dimensions> {
    let training = IMAGES.checked_sub(validation.unwrap_or(VALIDATION)).filter(|&training| training > 0)?;
    Some(Dimensions { shape: Shape::CIFAR, classes, training })
}

/// Appends the records in `bytes` to `part`; `path` is only used in errors.
pub(crate) fn append(part: &mut Part, kind: Kind, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let record = kind.label_bytes() + Shape::CIFAR.features();
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
                part.coarse.push(coarse);
                part.labels.push(fine);
            }
            _ => part.labels.extend_from_slice(labels),
        }
        part.pixels.extend_from_slice(pixels);
    }
    Ok(())
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
    let images = bytes.len() / Shape::CIFAR.features();
    let mut part = Part::with_capacity(Shape::CIFAR, images, kind == Kind::Cifar100);
    append(&mut part, kind, path, bytes)?;
    Ok(part)
}

/// Loads the dataset `kind` from `path`, with coarse labels if `coarse` is set.
fn load(kind: Kind, coarse: bool, path: &Path, options: &Options, progress: &dyn Progress) -> Result<Loaded, Error> {
    let images = options.validation.unwrap_or(VALIDATION);
    if images >= IMAGES {
        return Err(Error::Validation { images, most: IMAGES - 1 });
    }
    let Contents { mut training, mut test, mut sha256, place } = read(kind, path, progress, kind.pickles())?;
    if coarse {
        for part in [&mut training, &mut test] {
            part.labels = std::mem::take(&mut part.coarse);
        }
    }
    if images != VALIDATION {
        sha256 = checksum::of_split(&sha256, images);
    }
    if coarse {
        sha256 = checksum::sha256(format!("{sha256}  coarse labels\n").as_bytes());
    }
    let validation = training.split_last(images)?;
    if let Some(empty) = training.counts(kind.classes(coarse).len()).iter().position(|&count| count == 0) {
        let reason = format!("no training images of the class {:?}", kind.classes(coarse)[empty]);
        return Err(Error::Folder { path: place, reason });
    }
    let name = if coarse { "CIFAR-100 (coarse labels)" } else { kind.name() };
    Ok(Loaded {
        name,
        classes: kind.classes(coarse).iter().map(|&name| name.to_owned()).collect(),
        split: Split::of(&validation, Split::Last),
        parts: Parts { training, validation, test },
        sha256: Some(sha256),
        folder: place,
        skipped: Vec::new(),
    })
}

/// The parsed contents of a folder or an archive.
pub(crate) struct Contents {
    pub(crate) training: Part,
    pub(crate) test: Part,
    pub(crate) sha256: String,
    pub(crate) place: PathBuf,
}

/// Reads each file once, and checks its size and checksum before parsing it. `pickles` are the files of the Python
/// version.
pub(crate) fn read(kind: Kind, path: &Path, progress: &dyn Progress, pickles: &[Pickle]) -> Result<Contents, Error> {
    let (version, mut files) = place::find(kind, path, progress)?;
    let place = files.place().to_path_buf();
    let coarse = kind == Kind::Cifar100;
    let [mut training, mut test] = [IMAGES, TEST].map(|images| Part::with_capacity(Shape::CIFAR, images, coarse));
    let mut sums = Vec::new();
    let mut visit = |name: &str, path: &Path, bytes: &[u8]| match name {
        "batches.meta.txt" => Ok(()),
        "test_batch.bin" | "test.bin" => append(&mut test, kind, path, bytes),
        _ => append(&mut training, kind, path, bytes),
    };
    match kind {
        Kind::Cifar10 => {
            for file in ExpectedFile::cifar10() {
                if let Some((path, bytes)) = read_file(&file.name, file.bytes, version, pickles, &mut files, progress)?
                {
                    checksum::verify_sha256(&path, &file.sha256, &bytes)?;
                    visit(&file.name, &path, &bytes)?;
                }
                sums.push((file.name, file.sha256));
            }
        }
        Kind::Cifar100 => {
            if let (Version::Binary, Files::Archive(archive, _)) = (version, &files) {
                checksum::compare(archive, "MD5", CIFAR100_MD5, md5(archive, progress)?)?;
            }
            for (name, size) in CIFAR100_FILES {
                if let Some((path, bytes)) = read_file(name, size, version, pickles, &mut files, progress)? {
                    if bytes.len() as u64 != size {
                        return Err(Error::Size { path, expected: size, found: bytes.len() as u64 });
                    }
                    visit(name, &path, &bytes)?;
                    sums.push((name.to_owned(), checksum::sha256(&bytes)));
                }
            }
        }
    }
    Ok(Contents { training, test, sha256: checksum::of_files(&sums), place })
}

/// Returns the content of the file `name` of `size` bytes in the layout of the binary version, with the path that it
/// was read from; `None` for the class names in the Python version, which are built in.
fn read_file(
    name: &str,
    size: u64,
    version: Version,
    pickles: &[Pickle],
    files: &mut Files,
    progress: &dyn Progress,
) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    let pickle = pickles.iter().find(|pickle| name.strip_suffix(".bin") == Some(pickle.name));
    let (name, pickle) = match (version, pickle) {
        (Version::Binary, _) => (name, None),
        (Version::Python, Some(pickle)) => (pickle.name, Some(pickle)),
        (Version::Python, None) => return Ok(None),
    };
    let path = files.place().join(name);
    announce(&path, progress)?;
    let bytes = match pickle {
        None => files.read(name, size)?,
        Some(pickle) => python::records(pickle, &path, &files.read_up_to(name, pickle.most)?)?,
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

/// The MD5 of the file at `path`.
fn md5(path: &Path, progress: &dyn Progress) -> Result<String, Error> {
    let io = |error| Error::io(path, error);
    announce(path, progress)?;
    let (mut file, mut hash, mut block) = (File::open(path).map_err(io)?, Md5::new(), vec![0; BLOCK]);
    loop {
        match file.read(&mut block).map_err(io)? {
            0 => return Ok(checksum::hex(&hash.finalize())),
            read => hash.update(&block[..read]),
        }
    }
}
