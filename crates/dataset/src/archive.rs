//! Unpacking a `.tar.gz` that nobody has to trust.
//!
//! An entry must be one of the expected files, directly in the one expected folder, a regular file, of exactly the
//! expected size, once; and its content must have the expected SHA-256. Anything else refuses the whole archive.
//! Nothing in the archive is ever used as a path: files are created under the expected names.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::{Error, ExpectedFile, Kind, Progress, checksum};

/// Bytes that headers and padding of a tar file may take beyond its expected files.
const OVERHEAD: u64 = 1 << 20;
/// Bytes copied at a time.
const BLOCK: usize = 1 << 16;

/// An archive on a server, by what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Where it is.
    pub url: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its md5 in lower-case hexadecimal.
    pub md5: String,
    /// The name of the file that the server gives.
    pub name: String,
    /// The one folder that it holds.
    pub folder: String,
    /// The files in that folder.
    pub files: Vec<ExpectedFile>,
    /// Names of small files that may be in that folder too, and are passed over.
    pub ignored: Vec<String>,
}

impl Archive {
    /// The official archive of CIFAR-10.
    pub fn cifar10() -> Self {
        Self {
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz".to_owned(),
            bytes: 170_052_171,
            md5: "c32a1d4ab5d03f1284b67883e8d87530".to_owned(),
            name: "cifar-10-binary.tar.gz".to_owned(),
            folder: Kind::Cifar10.folder().to_owned(),
            files: ExpectedFile::cifar10(),
            ignored: vec!["readme.html".to_owned()],
        }
    }

    /// Unpacks `archive` to the folder of its name in `parent`, and returns that folder's path.
    ///
    /// The files are written to a temporary folder beside it, synced and verified; it gets its name when all of them
    /// are there. Whatever fails, nothing remains: neither under the final name nor under the temporary one.
    ///
    /// # Errors
    /// [`Error::Archive`] if it is cut short or holds what it must not; [`Error::Size`] or [`Error::Checksum`] for
    /// a file that is not the expected one; [`Error::Io`] if the disk is full or may not be written to;
    /// [`Error::Cancelled`].
    pub fn unpack(&self, archive: impl Read, parent: &Path, progress: &dyn Progress) -> Result<PathBuf, Error> {
        self.unpack_to(archive, parent, progress, create)
    }

    /// As [`unpack`](Self::unpack), on files that `create` makes.
    fn unpack_to<W: Output>(
        &self,
        archive: impl Read,
        parent: &Path,
        progress: &dyn Progress,
        create: impl Fn(&Path) -> io::Result<W>,
    ) -> Result<PathBuf, Error> {
        let temporary = Temporary::new(parent.join(format!("{}.part", self.folder)))?;
        self.unpack_files(archive, &temporary.path, progress, create)?;
        sync_folder(&temporary.path)?;
        let folder = parent.join(&self.folder);
        fs::rename(&temporary.path, &folder).map_err(|e| Error::io(&folder, e))?;
        sync_folder(parent)?;
        Ok(folder)
    }

    fn unpack_files<W: Output>(
        &self,
        archive: impl Read,
        to: &Path,
        progress: &dyn Progress,
        create: impl Fn(&Path) -> io::Result<W>,
    ) -> Result<(), Error> {
        let whole = Path::new(&self.folder);
        let broken = |e: io::Error| self.refuse(whole, format!("the archive cannot be read: {e}"));
        let limit = self.files.iter().map(|file| file.bytes).sum::<u64>() + OVERHEAD;
        let mut tar = tar::Archive::new(GzDecoder::new(archive).take(limit));
        let mut missing: Vec<&ExpectedFile> = self.files.iter().collect();
        for entry in tar.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let found = entry.path().map_err(broken)?.into_owned();
            let kind = entry.header().entry_type();
            let name = match (self.name_within(&found), kind) {
                (Some(Within::Folder), EntryType::Directory) => continue,
                (Some(Within::File(name)), EntryType::Regular) => name,
                (Some(_), _) => return Err(self.refuse(&found, format!("an entry of the kind {kind:?}"))),
                (None, _) => return Err(self.refuse(&found, "an unexpected entry".to_owned())),
            };
            if self.ignored.contains(&name) {
                continue;
            }
            let path = whole.join(&name);
            let Some(position) = missing.iter().position(|file| file.name == name) else {
                let known = self.files.iter().any(|file| file.name == name);
                let reason = if known { "a file that was there already" } else { "an unexpected entry" };
                return Err(self.refuse(&path, reason.to_owned()));
            };
            let file = missing.swap_remove(position);
            if entry.size() != file.bytes {
                return Err(Error::Size { path, expected: file.bytes, found: entry.size() });
            }
            progress.unpacking(&path);
            let output = to.join(&file.name);
            let writer = create(&output).map_err(|e| Error::io(&output, e))?;
            copy_verified(&mut entry, &path, file, writer, &output, progress)?;
        }
        match missing.first() {
            Some(file) => Err(self.refuse(&whole.join(&file.name), "missing from the archive".to_owned())),
            None => Ok(()),
        }
    }

    fn refuse(&self, entry: &Path, reason: String) -> Error {
        Error::Archive { entry: entry.to_path_buf(), reason }
    }

    /// What `path` is, if it is nothing but the folder or a name in it.
    fn name_within(&self, path: &Path) -> Option<Within> {
        let mut components = path.components();
        let Some(Component::Normal(folder)) = components.next() else { return None };
        let name = match (components.next(), components.next()) {
            (None, _) => Within::Folder,
            (Some(Component::Normal(name)), None) => Within::File(name.to_str()?.to_owned()),
            _ => return None,
        };
        (folder == self.folder.as_str()).then_some(name)
    }
}

enum Within {
    Folder,
    File(String),
}

/// A file that is being written; the tests have one that is full.
trait Output: Write {
    fn sync(&mut self) -> io::Result<()>;
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// A folder that is removed unless it was renamed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Makes an empty one; what a killed process left under its name goes.
    fn new(path: PathBuf) -> Result<Self, Error> {
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(&path, e)),
            _ => {}
        }
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self { path })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Once renamed there is nothing to remove. If removing fails, the error that led here says more.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::create_new(path)
}

/// Copies `entry` to `writer` and syncs it. `entry` has the right size, its header says.
fn copy_verified(
    entry: &mut impl Read,
    path: &Path,
    file: &ExpectedFile,
    mut writer: impl Output,
    output: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let (mut hash, mut found, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
    loop {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let read = match entry.read(&mut block) {
            Ok(0) => break,
            Ok(read) => &block[..read],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                let reason = format!("the archive cannot be read after {found} of {} bytes: {e}", file.bytes);
                return Err(Error::Archive { entry: path.to_path_buf(), reason });
            }
        };
        hash.update(read);
        writer.write_all(read).map_err(|e| Error::io(output, e))?;
        found += read.len() as u64;
    }
    if found != file.bytes {
        return Err(Error::Size { path: path.to_path_buf(), expected: file.bytes, found });
    }
    checksum::compare(path, "SHA-256", &file.sha256, checksum::hex(&hash.finalize()))?;
    writer.sync().map_err(|e| Error::io(output, e))
}

/// Makes sure that the names in `folder` survive a power cut; only Unix lets a folder be opened for that.
fn sync_folder(folder: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::io(folder, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file on a disk with room for so many bytes.
    struct Cramped {
        file: File,
        room: usize,
    }

    impl Write for Cramped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let written = self.file.write(&bytes[..bytes.len().min(self.room)])?;
            self.room -= written;
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }

    impl Output for Cramped {
        fn sync(&mut self) -> io::Result<()> {
            // Some file systems take everything and find out when they are synced.
            if self.room < 10 { Err(io::ErrorKind::StorageFull.into()) } else { self.file.sync_all() }
        }
    }

    #[test]
    fn a_full_disk_is_named_and_nothing_remains() {
        let content = vec![7; 100_000];
        let file = ExpectedFile { name: "one.bin".to_owned(), bytes: 100_000, sha256: checksum::sha256(&content) };
        let archive = Archive { folder: "photos".to_owned(), files: vec![file], ..Archive::cifar10() };
        let mut header = tar::Header::new_gnu();
        header.set_size(100_000);
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, "photos/one.bin", &*content).unwrap();
        let tar = tar.into_inner().unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzEncoder::new(&*tar, flate2::Compression::fast()).read_to_end(&mut bytes).unwrap();

        let parent = tempfile::TempDir::new().unwrap();
        for room in [0, 1, 70_000, 100_005] {
            let create = |path: &Path| Ok(Cramped { file: create(path)?, room });
            match archive.unpack_to(&*bytes, parent.path(), &(), create) {
                Err(Error::Io { path, error }) => {
                    assert_eq!(path, parent.path().join("photos.part/one.bin"));
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        }
        let create = |path: &Path| Ok(Cramped { file: create(path)?, room: 200_000 });
        archive.unpack_to(&*bytes, parent.path(), &(), create).unwrap();
        assert_eq!(fs::read(parent.path().join("photos/one.bin")).unwrap(), content);
    }
}
