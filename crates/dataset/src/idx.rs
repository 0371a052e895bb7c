//! The IDX format of MNIST: one file of images and one of labels for the training and for the test part.
//!
//! A file has a magic number (two zero bytes, 8 for unsigned bytes, the number of dimensions), the size of each
//! dimension as a big-endian 32-bit integer, and the bytes: images x rows x columns, or one label for each image.
//! See <http://yann.lecun.com/exdb/mnist/>. The files of EMNIST, whose names begin with `emnist`, store each image with
//! rows and columns exchanged; the loader restores the order.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::loader::{Loaded, Loader};
use crate::parts::check_classes;
use crate::{Error, Options, Part, Parts, Progress, Shape, Split, place};

/// Bytes of the magic number and of the size of a dimension.
const WORD: usize = 4;
/// Maximum size of the images of a part, in bytes.
const MOST: u64 = 4 << 30;
/// Maximum number of compressed bytes that one byte of a `.gz` file can stand for, rounded up.
const RATIO: u64 = 1100;
/// Number of labels.
const LABELS: usize = 256;

/// The ways in which file names are spelled.
const SPELLINGS: [(&str, &str); 2] =
    [("images-idx3-ubyte", "labels-idx1-ubyte"), ("images.idx3-ubyte", "labels.idx1-ubyte")];
/// What the names of files of the test part have in place of `train`.
const TESTS: [&str; 2] = ["t10k", "test"];

pub(crate) const IDX: Loader = Loader {
    name: "idx",
    expected: "a folder with train-images-idx3-ubyte",
    found: |path| !starts(path).is_empty(),
    load,
    usual: None,
    dimensions: |_| None,
};

/// Images or labels read from a file.
struct Array {
    path: PathBuf,
    /// The size of each dimension.
    sizes: Vec<usize>,
    bytes: Vec<u8>,
}

/// The training images of a dataset: the folder, what the names of all its files begin with, and the spelling.
struct Start {
    folder: PathBuf,
    prefix: String,
}

fn load(path: &Path, options: &Options, progress: &dyn Progress) -> Result<Loaded, Error> {
    let mut starts = starts(path);
    let folder = |reason: String| Error::Folder { path: path.to_path_buf(), reason };
    let Start { folder: place, prefix } = match starts.len() {
        1 => starts.remove(0),
        0 => {
            let found = place::describe(path)?;
            return Err(folder(format!("no IDX dataset: found {found}; expected train-images-idx3-ubyte")));
        }
        _ => {
            let names: Vec<_> = starts.iter().map(|start| format!("{}train-images", start.prefix)).collect();
            let names = names.join(", ");
            return Err(folder(format!("several datasets: {names}; give the path of one of these files")));
        }
    };
    let Some(training) = pair(&place, &format!("{prefix}train"), progress)? else {
        return Err(Error::Missing { path: place.join(format!("{prefix}train-{}", SPELLINGS[0].0)) });
    };
    let (present, labels) = classes(&training.1.bytes);
    let names: Vec<_> = present.iter().map(u8::to_string).collect();
    check_classes(&names).map_err(|reason| Error::Folder { path: training.1.path.clone(), reason })?;
    let common = shape(&training.0);
    let mut training = part(common, &labels, training)?;
    let mut test = Part::empty(common);
    for name in TESTS {
        if let Some(pair) = pair(&place, &format!("{prefix}{name}"), progress)? {
            test = part(common, &labels, pair)?;
            break;
        }
    }
    let images = options.validation.unwrap_or_else(|| training.tenth(names.len()));
    let validation = training.draw(images, names.len(), options.seed)?;
    Ok(Loaded {
        name: "IDX images",
        classes: names,
        split: Split::of(&validation, Split::Drawn { seed: options.seed }),
        parts: Parts { training, validation, test },
        sha256: None,
        folder: place,
        skipped: Vec::new(),
    })
}

/// The datasets at `path`: the file of training images, a folder with such files, or a folder with a folder `raw` of
/// them.
fn starts(path: &Path) -> Vec<Start> {
    if path.is_file() {
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let prefix = path.file_name().and_then(|name| prefix(name.to_str()?));
        return prefix.map(|prefix| Start { folder, prefix: prefix.to_owned() }).into_iter().collect();
    }
    for folder in [path.to_path_buf(), path.join("raw")] {
        let names = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut prefixes: Vec<_> = names.filter_map(|name| prefix(name.to_str()?).map(str::to_owned)).collect();
        prefixes.sort();
        prefixes.dedup();
        if !prefixes.is_empty() {
            return prefixes.into_iter().map(|prefix| Start { folder: folder.clone(), prefix }).collect();
        }
    }
    Vec::new()
}

/// What the name of a file of training images begins with, before `train-images`.
fn prefix(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    SPELLINGS.iter().find_map(|(images, _)| name.strip_suffix(images)?.strip_suffix("train-"))
}

/// Reads the images and the labels of the part whose file names begin with `start`; `None` if it has no images.
fn pair(folder: &Path, start: &str, progress: &dyn Progress) -> Result<Option<(Array, Array)>, Error> {
    let find = |name: String| {
        [name.clone(), format!("{name}.gz")].into_iter().map(|name| folder.join(name)).find(|path| path.exists())
    };
    let images = SPELLINGS.iter().find_map(|(images, _)| find(format!("{start}-{images}")));
    let labels = SPELLINGS.iter().find_map(|(_, labels)| find(format!("{start}-{labels}")));
    let (images, labels) = match (images, labels) {
        (Some(images), Some(labels)) => (images, labels),
        (Some(_), None) => return Err(Error::Missing { path: folder.join(format!("{start}-{}", SPELLINGS[0].1)) }),
        (None, Some(_)) => return Err(Error::Missing { path: folder.join(format!("{start}-{}", SPELLINGS[0].0)) }),
        (None, None) => return Ok(None),
    };
    let (mut images, labels) = (read(images, 3, progress)?, read(labels, 1, progress)?);
    if start.starts_with("emnist") {
        images.exchange_rows_and_columns();
    }
    if images.sizes[0] != labels.sizes[0] {
        let reason = format!(
            "{} labels do not match the {} images of {}",
            labels.sizes[0],
            images.sizes[0],
            images.path.display()
        );
        return Err(Error::Idx { path: labels.path, offset: WORD as u64, reason });
    }
    Ok(Some((images, labels)))
}

/// Reads the file at `path`, which must have `dimensions` dimensions.
fn read(path: PathBuf, dimensions: usize, progress: &dyn Progress) -> Result<Array, Error> {
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    progress.verifying(&path);
    let metadata = fs::metadata(&path).map_err(|error| Error::io(&path, error))?;
    // Reject pipes and folders by their metadata: opening a pipe could block.
    if !metadata.is_file() {
        return Err(Error::NotAFile { path });
    }
    let file = BufReader::new(File::open(&path).map_err(|error| Error::io(&path, error))?);
    let compressed = path.extension().is_some_and(|extension| extension == "gz");
    let (mut reader, most): (Box<dyn Read>, u64) = if compressed {
        (Box::new(MultiGzDecoder::new(file)), metadata.len().saturating_mul(RATIO))
    } else {
        (Box::new(file), metadata.len())
    };
    parse(&path, &mut reader, most, dimensions)
}

/// Parses a file of at most `most` bytes.
fn parse(path: &Path, reader: &mut dyn Read, most: u64, dimensions: usize) -> Result<Array, Error> {
    let invalid = |offset: u64, reason: String| Error::Idx { path: path.to_path_buf(), offset, reason };
    let mut header = Vec::new();
    let length = WORD * (1 + dimensions);
    fill(path, reader, &mut header, 0, length as u64)?;
    let expected = [0, 0, 8, dimensions as u8];
    if !header.starts_with(&expected) && header.len() >= WORD {
        let found = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let expected = u32::from_be_bytes(expected);
        return Err(invalid(0, format!("wrong magic number: expected {expected:#010x}, found {found:#010x}")));
    }
    if header.len() < length {
        let found = header.len();
        return Err(invalid(found as u64, format!("truncated: expected a header of {length} bytes, found {found}")));
    }
    let sizes: Vec<_> =
        header[WORD..].chunks_exact(WORD).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
    let shown = || sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(" x ");
    if let Some(empty) = sizes.iter().position(|&size| size == 0) {
        return Err(invalid((WORD * (1 + empty)) as u64, format!("no content: the sizes are {}", shown())));
    }
    let claimed = sizes.iter().try_fold(1_u64, |all, &size| all.checked_mul(u64::from(size)));
    let Some(claimed) = claimed.filter(|&claimed| claimed <= MOST) else {
        return Err(invalid(WORD as u64, format!("{} bytes are too many: must be at most {MOST}", shown())));
    };
    if claimed > most {
        let reason = format!("truncated: {} needs {claimed} bytes, more than the file can hold", shown());
        return Err(invalid(WORD as u64, reason));
    }
    let mut bytes = Vec::new();
    fill(path, reader, &mut bytes, length as u64, claimed + 1)?;
    let found = bytes.len() as u64;
    if found < claimed {
        let reason = format!("truncated: {} needs {claimed} bytes, found {found}", shown());
        return Err(invalid(length as u64 + found, reason));
    }
    if found > claimed {
        let reason = format!("trailing bytes after {} = {claimed} bytes", shown());
        return Err(invalid(length as u64 + claimed, reason));
    }
    Ok(Array { path: path.to_path_buf(), sizes: sizes.iter().map(|&size| size as usize).collect(), bytes })
}

/// Reads up to `most` bytes, which begin at `offset`.
fn fill(path: &Path, reader: &mut dyn Read, bytes: &mut Vec<u8>, offset: u64, most: u64) -> Result<(), Error> {
    match reader.take(most).read_to_end(bytes) {
        Ok(_) => Ok(()),
        // The decoder of compressed files reports damage with these kinds.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            let reason = format!("damaged compressed data ({error})");
            Err(Error::Idx { path: path.to_path_buf(), offset: offset + bytes.len() as u64, reason })
        }
        Err(error) => Err(Error::io(path, error)),
    }
}

/// The labels that occur in `labels`, in order, and the class of each label: its position among these.
fn classes(labels: &[u8]) -> (Vec<u8>, [Option<u8>; LABELS]) {
    let mut classes = [None; LABELS];
    labels.iter().for_each(|&label| classes[usize::from(label)] = Some(0));
    let present: Vec<_> = (0..=u8::MAX).filter(|&label| classes[usize::from(label)].is_some()).collect();
    for (&label, class) in present.iter().zip(0..=u8::MAX) {
        classes[usize::from(label)] = Some(class);
    }
    (present, classes)
}

impl Array {
    /// Exchanges the rows and the columns of each image.
    fn exchange_rows_and_columns(&mut self) {
        let (rows, columns) = (self.sizes[1], self.sizes[2]);
        for image in self.bytes.chunks_exact_mut(rows * columns) {
            let stored = image.to_vec();
            for (i, byte) in image.iter_mut().enumerate() {
                *byte = stored[i % rows * columns + i / rows];
            }
        }
        self.sizes.swap(1, 2);
    }
}

fn shape(images: &Array) -> Shape {
    Shape { channels: 1, height: images.sizes[1], width: images.sizes[2] }
}

/// Images of the shape `common` with the classes of their labels.
fn part(common: Shape, classes: &[Option<u8>; LABELS], (images, labels): (Array, Array)) -> Result<Part, Error> {
    if shape(&images) != common {
        let reason = format!("images of {}, but the training images are {common}", shape(&images));
        return Err(Error::Idx { path: images.path, offset: 2 * WORD as u64, reason });
    }
    let mut of_images = labels.bytes;
    for (i, label) in of_images.iter_mut().enumerate() {
        let Some(class) = classes[usize::from(*label)] else {
            let reason = format!("invalid label {label}: no training image has it");
            return Err(Error::Idx { path: labels.path, offset: (2 * WORD + i) as u64, reason });
        };
        *label = class;
    }
    Part::new(common, images.bytes, of_images)
}
