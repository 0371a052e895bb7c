//! Unpacking of untrusted `.tar.gz` archives.
//!
//! Each entry must be a regular file directly in the expected folder, have an expected name and exactly the expected
//! size, and appear once; its content must have the expected SHA-256. Any other entry rejects the whole archive. No
//! path in the archive is used as a path on disk: files are created under the expected names.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::kind::Kind;
use crate::{Error, ExpectedFile, Progress, checksum};

/// Bytes allowed for tar headers and padding beyond the expected files.
const OVERHEAD: u64 = 1 << 20;
/// Bytes copied at a time.
const BLOCK: usize = 1 << 16;

/// A downloadable archive and its expected contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// URL.
    pub url: String,
    /// Size in bytes.
    pub bytes: u64,
    /// MD5 in lower-case hexadecimal.
    pub md5: String,
    /// File name of the archive.
    pub name: String,
    /// The only folder in the archive.
    pub folder: String,
    /// The files in that folder.
    pub files: Vec<ExpectedFile>,
    /// Names of small files that are allowed in the folder and skipped.
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

    /// Unpacks `archive` to [`folder`](Self::folder) in `parent`, and returns its path.
    ///
    /// Writes, syncs and verifies the files in a temporary folder beside it, then renames that folder. On an error,
    /// both are removed.
    ///
    /// # Errors
    /// [`Error::Archive`] if the archive is truncated or has unexpected entries; [`Error::Size`] or
    /// [`Error::Checksum`] if a file does not match; [`Error::Io`] if the disk is full or not writable;
    /// [`Error::Cancelled`].
    pub fn unpack(&self, archive: impl Read, parent: &Path, progress: &dyn Progress) -> Result<PathBuf, Error> {
        self.unpack_to(archive, parent, progress, create)
    }

    /// Like [`unpack`](Self::unpack), with output files opened by `create`.
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
        let broken = |e: io::Error| self.refuse(whole, format!("cannot read the archive: {e}"));
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
                (Some(_), _) => return Err(self.refuse(&found, format!("unsupported entry type {kind:?}"))),
                (None, _) => return Err(self.refuse(&found, "unexpected entry".to_owned())),
            };
            if self.ignored.contains(&name) {
                continue;
            }
            let path = whole.join(&name);
            let Some(position) = missing.iter().position(|file| file.name == name) else {
                let known = self.files.iter().any(|file| file.name == name);
                let reason = if known { "duplicate entry" } else { "unexpected entry" };
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

    /// Classifies `path` as the folder itself or a name in it; `None` for any other path.
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

/// An output file; tests replace it with one on a full disk.
trait Output: Write {
    fn sync(&mut self) -> io::Result<()>;
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// A temporary folder, removed on drop unless it was renamed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Creates an empty folder; removes the leftovers of a killed process first.
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
        // After a rename there is nothing to remove. If removal fails, the original error matters more.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::create_new(path)
}

/// Copies `entry` to `writer`, verifies it and syncs it. The size in the entry's header is already checked.
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
                let reason = format!("cannot read the archive after {found} of {} bytes: {e}", file.bytes);
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

/// Syncs the names in `folder` to disk; only Unix can open a folder for that.
fn sync_folder(folder: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::io(folder, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file on a disk with `room` bytes left.
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
            // Some file systems report a full disk only on sync.
            if self.room < 10 { Err(io::ErrorKind::StorageFull.into()) } else { self.file.sync_all() }
        }
    }

    #[test]
    fn unpacking_to_a_full_disk_fails_and_leaves_no_files() {
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
