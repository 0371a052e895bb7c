//! Locates a dataset's files: in a folder, in a downloaded archive, or in a folder that contains one of these.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::iter;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::file::read_sized;
use crate::kind::Kind;
use crate::{Error, Progress};

/// Maximum number of names listed in errors for an unrecognized folder.
const LISTED: usize = 5;
/// Maximum number of characters of the reason why an archive cannot be read; the tar crate quotes the archive in it.
const REASON: usize = 100;
/// Maximum size of an unpacked archive in bytes; CIFAR's have at most 184,400,000.
const UNPACKED: u64 = 256 << 20;
/// Maximum number of entries, and of their bytes, that are read to recognize an archive.
const ENTRIES: usize = 8;
const PEEKED: u64 = 256 << 20;

/// The distributed versions of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Records of labels and pixels.
    Binary,
    /// Pickled dictionaries.
    Python,
}

/// The files of a dataset.
pub(crate) enum Files {
    /// Files in a folder.
    Folder(PathBuf),
    /// Files of an archive, unpacked in memory.
    Archive(PathBuf, HashMap<String, Vec<u8>>),
}

/// Finds the files of `kind` at `path`: a folder or an archive of either version, or a folder that contains one.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`], and [`Error::Unrecognized`] with what was found and what was expected.
pub(crate) fn find(kind: Kind, path: &Path, progress: &dyn Progress) -> Result<(Version, Files), Error> {
    let metadata = fs::metadata(path).map_err(|error| Error::io(path, error))?;
    if !metadata.is_dir() {
        let files = unpack(kind, path, &metadata, progress)?;
        let version = version_of(kind, |name| files.contains_key(name));
        let version = version.ok_or_else(|| unrecognized(kind, path, "an archive of other files".to_owned()))?;
        return Ok((version, Files::Archive(path.to_path_buf(), files)));
    }
    match recognize(kind, path) {
        Some((folder, Some(version))) => Ok((version, Files::Folder(folder))),
        Some((archive, None)) => find(kind, &archive, progress),
        None => Err(unrecognized(kind, path, contents(path)?)),
    }
}

/// Whether `path` holds files of `kind`, by their names.
pub(crate) fn holds(kind: Kind, path: &Path) -> bool {
    if path.is_file() {
        return names(path).is_some_and(|names| version_of(kind, |name| names.iter().any(|n| n == name)).is_some());
    }
    recognize(kind, path).is_some()
}

/// The first place in `folder` that holds files of `kind`, by their names: the folder itself or one in it, with its
/// version, or an archive.
pub(crate) fn recognize(kind: Kind, folder: &Path) -> Option<(PathBuf, Option<Version>)> {
    // Only files: a folder of pictures has folders with names of CIFAR-100's files.
    let version = |folder: &Path| version_of(kind, |name| folder.join(name).is_file());
    let folders = iter::once(folder.to_path_buf()).chain(kind.folders().iter().map(|name| folder.join(name)));
    let mut versions = folders.filter_map(|folder| version(&folder).map(|version| (folder, Some(version))));
    let archives = kind.archives().iter().chain(kind.keras_archives());
    let archive = || archives.map(|name| folder.join(name)).find(|archive| archive.is_file());
    versions.next().or_else(|| Some((archive()?, None)))
}

/// The names of the first files in the archive at `path`, without folders; `None` if it cannot be read as one.
fn names(path: &Path) -> Option<Vec<String>> {
    let file = BufReader::new(File::open(path).ok()?);
    let mut archive = tar::Archive::new(GzDecoder::new(file).take(PEEKED));
    let entries = archive.entries().ok()?.map_while(Result::ok).take(ENTRIES);
    Some(entries.filter_map(|entry| Some(entry.path().ok()?.file_name()?.to_str()?.to_owned())).collect())
}

impl Files {
    /// The folder or archive.
    pub(crate) fn place(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Archive(path, _) => path,
        }
    }

    /// Reads the file `name`, which must have `expected` bytes. A file of an archive can be read once.
    pub(crate) fn read(&mut self, name: &str, expected: u64) -> Result<Vec<u8>, Error> {
        let path = self.place().join(name);
        match self {
            Self::Folder(_) => read_sized(&path, expected),
            Self::Archive(_, files) => {
                let bytes = files.remove(name).ok_or_else(|| Error::Missing { path: path.clone() })?;
                let found = bytes.len() as u64;
                if found == expected { Ok(bytes) } else { Err(Error::Size { path, expected, found }) }
            }
        }
    }

    /// Reads the file `name` of at most `most` bytes. A file of an archive can be read once.
    pub(crate) fn read_up_to(&mut self, name: &str, most: u64) -> Result<Vec<u8>, Error> {
        let path = self.place().join(name);
        let length = match self {
            Self::Folder(_) => fs::metadata(&path).map_err(|error| Error::io(&path, error))?.len(),
            Self::Archive(_, files) => files.get(name).map_or(0, |bytes| bytes.len() as u64),
        };
        if length > most {
            return Err(Error::TooLong { path, most });
        }
        self.read(name, length)
    }
}

/// The version with at least one file that `exists`.
fn version_of(kind: Kind, exists: impl Fn(&str) -> bool) -> Option<Version> {
    let versions = [(Version::Binary, kind.binary_files()), (Version::Python, kind.python_files())];
    versions.into_iter().find(|(_, names)| names.iter().any(|name| exists(name))).map(|(version, _)| version)
}

/// Unpacks the regular files of the dataset in the archive at `path`; returns them by name without folders.
fn unpack(
    kind: Kind,
    path: &Path,
    metadata: &fs::Metadata,
    progress: &dyn Progress,
) -> Result<HashMap<String, Vec<u8>>, Error> {
    if !metadata.is_file() {
        return Err(unrecognized(kind, path, "neither a folder nor a regular file".to_owned()));
    }
    let mut file = BufReader::new(File::open(path).map_err(|error| Error::io(path, error))?);
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(2).read_to_end(&mut magic).map_err(|error| Error::io(path, error))?;
    if magic != [0x1f, 0x8b] {
        return Err(unrecognized(kind, path, format!("a file of {} bytes, not a .tar.gz archive", metadata.len())));
    }
    let refuse = |reason: String| Error::Archive { entry: path.to_path_buf(), reason };
    let broken = |error: io::Error| {
        refuse(format!("cannot read the archive: {}", error.to_string().chars().take(REASON).collect::<String>()))
    };
    let mut archive = tar::Archive::new(GzDecoder::new(io::Cursor::new(magic).chain(file)).take(UNPACKED));
    let wanted = [kind.binary_files(), kind.python_files()].concat();
    let mut files = HashMap::new();
    for entry in archive.entries().map_err(broken)? {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let mut entry = entry.map_err(broken)?;
        if entry.size() > UNPACKED {
            return Err(refuse(format!("an entry of {} bytes is larger than the dataset", entry.size())));
        }
        let name = entry.path().map_err(broken)?.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(name) = name.filter(|name| wanted.contains(&name.as_str()) && entry.header().entry_type().is_file())
        else {
            continue;
        };
        progress.unpacking(Path::new(&name));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(broken)?;
        files.insert(name, bytes);
    }
    Ok(files)
}

/// Describes a folder or a file.
pub(crate) fn describe(path: &Path) -> Result<String, Error> {
    let metadata = fs::metadata(path).map_err(|error| Error::io(path, error))?;
    match metadata {
        _ if metadata.is_dir() => contents(path),
        _ if metadata.is_file() => Ok(format!("a file of {} bytes", metadata.len())),
        _ => Ok("neither a folder nor a regular file".to_owned()),
    }
}

/// Describes the contents of a folder.
fn contents(folder: &Path) -> Result<String, Error> {
    let entries = fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(match names.len() {
        0 => "an empty folder".to_owned(),
        count if count > LISTED => format!("a folder with {} and {} more", names[..LISTED].join(", "), count - LISTED),
        _ => format!("a folder with {}", names.join(", ")),
    })
}

fn unrecognized(kind: Kind, path: &Path, found: String) -> Error {
    let [binary, python] = [kind.binary_files(), kind.python_files()].map(|names| names.first().copied());
    let files: Vec<_> = binary.into_iter().chain(python).collect();
    let expected = format!(
        "a folder with {}, an archive like {}, or a folder that contains one of these",
        files.join(" or "),
        kind.archives().join(" or ")
    );
    Error::Unrecognized { path: path.to_path_buf(), kind: kind.name(), found, expected }
}
