//! Atomic writing of files, and bounded reading.
//!
//! A process that is killed while writing leaves a temporary file. Its name is `.klayer-FILE-MACHINE-PID-` and a
//! random suffix: FILE is a hash of the final name, and MACHINE a hash of the boot ID and the PID namespace. So the
//! next writer of the same file finds such leftovers, and can check whether their writer has ended.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::{Builder, NamedTempFile};

use crate::Error;
use crate::error::NO_FOLDER;
use crate::machine::boot;

/// Prefix of temporary file names.
pub(crate) const TEMPORARY: &str = ".klayer-";

/// Maximum size of a model, checkpoint, record or metrics file to read, in bytes. The parameters of the largest
/// supported network take 1 GiB in `f64`; the rest is for training curves.
pub const LONGEST: u64 = 3 << 29;

/// A temporary file not modified for this long is a leftover, whatever machine wrote it.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes `bytes` to `path` atomically: to a temporary file beside it, synced, then renamed. A symbolic link is
/// followed; a pipe or a device is written to directly.
///
/// # Errors
/// [`Error::File`]; an existing file at `path` is then unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if is_stream(path) {
        return OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(bytes))
            .map_err(Error::file(path));
    }
    let target = target(path);
    stage(&target, bytes)?.place(&target)
}

/// Whether `path` is a pipe, a device or the like, which cannot be replaced.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| !data.is_file() && !data.is_dir())
}

/// Follows the symbolic link at `path`, whether or not its target exists; returns `path` if it is not a link.
fn target(path: &Path) -> PathBuf {
    let mut target = path.to_path_buf();
    // The system's own limit for chains of links.
    for _ in 0..40 {
        match fs::read_link(&target) {
            Ok(link) => target = folder(&target).join(link),
            Err(_) => break,
        }
    }
    target
}

/// A file that is written and synced but has no final name yet. Removed on drop.
#[derive(Debug)]
pub struct Staged(NamedTempFile);

/// Writes a file for `path` beside it.
///
/// # Errors
/// [`Error::File`].
pub fn stage(path: &Path, bytes: &[u8]) -> Result<Staged, Error> {
    let mut file = temporary(path)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(Error::file(path))?;
    Ok(Staged(file))
}

impl Staged {
    /// Renames the file to `path`, replacing any existing file.
    ///
    /// # Errors
    /// [`Error::File`]; an existing file at `path` is then unchanged.
    pub fn place(self, path: &Path) -> Result<(), Error> {
        self.0.persist(path).map_err(|error| Error::File { path: path.into(), error: error.error })?;
        // Sync the rename to disk; ignore folders that cannot be opened for that.
        if let Ok(folder) = File::open(folder(path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Checks that `path` can be written, before hours of work depend on it. Removes temporary files that killed writers
/// of `path` left beside it.
///
/// # Errors
/// [`Error::File`] if its folder does not exist or is not writable, or if `path` is a folder.
pub fn probe(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Err(Error::file(path)(ErrorKind::IsADirectory.into()));
    }
    if is_stream(path) {
        return Ok(());
    }
    let target = target(path);
    let file = temporary(&target)?;
    // The temporary file has the time of the folder's own clock, and this user as its owner.
    if let Ok(data) = file.as_file().metadata() {
        remove_leftovers(&target, &data);
    }
    Ok(())
}

/// Checks that the folder `path` exists or could be created: no file is in its place, or in that of a folder above it.
///
/// # Errors
/// [`Error::File`] with the path of the file.
pub fn probe_folder(path: &Path) -> Result<(), Error> {
    Error::not_a_folder(path.ancestors()).map_or(Ok(()), Err)
}

/// Creates the folder `path`, and those above it that are missing.
///
/// # Errors
/// [`Error::File`].
pub fn create_folder(path: &Path) -> Result<(), Error> {
    probe_folder(path)?;
    fs::create_dir_all(path).map_err(Error::file(path))
}

/// Reads the file at `path`, of at most `most` bytes. Fails for longer files and streams without reading them to the
/// end.
///
/// # Errors
/// [`Error::File`].
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    File::open(path).and_then(|file| read_up_to(&file, most)).map_err(Error::file(path))
}

/// Reads the regular file at `path` like [`read`]. For files that klayer itself writes: a pipe or a device in place of
/// one is an error.
///
/// # Errors
/// [`Error::File`].
pub fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    open_regular(path).and_then(|file| read_up_to(&file, most)).map_err(Error::file(path))
}

/// Opens the file at `path` unless it is a pipe or a device: opening a pipe can block for ever.
///
/// # Errors
/// The system's, and one for a pipe or a device.
pub fn open_regular(path: &Path) -> io::Result<File> {
    if is_stream(path) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(path)
}

/// Reads all of `file`, at most `most` bytes.
pub(crate) fn read_up_to(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file.metadata()?.len() <= most {
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 <= most {
            return Ok(bytes);
        }
    }
    Err(too_long(most))
}

/// The error for a file of more than `most` bytes.
pub fn too_long(most: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("longer than {most} bytes"))
}

/// The folder of `path`.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes the temporary files of `path` whose writers have ended, or that are old by the clock of the file of
/// `here`.
fn remove_leftovers(path: &Path, here: &Metadata) {
    let Ok(entries) = fs::read_dir(folder(path)) else { return };
    let prefix = prefix(path);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(writer) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else { continue };
        let Ok(data) = entry.metadata() else { continue };
        let age = here.modified().ok().zip(data.modified().ok()).and_then(|(now, then)| now.duration_since(then).ok());
        if has_ended(writer, &data, here) || age.is_some_and(|age| age > OLD) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether the writer of a temporary file, parsed from part of its name, has certainly ended: it was a process of
/// this user on this machine.
fn has_ended(writer: &str, data: &Metadata, here: &Metadata) -> bool {
    let process = machine().and_then(|machine| writer.strip_prefix(&machine)?.strip_prefix('-')?.split_once('-'));
    let process = process.and_then(|(process, _)| process.parse::<u32>().ok());
    // Processes of other users may be hidden.
    process.is_some_and(|process| same_user(data, here) && !Path::new("/proc").join(process.to_string()).exists())
}

#[cfg(unix)]
fn same_user(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.uid() == other.uid()
}

#[cfg(not(unix))]
fn same_user(_: &Metadata, _: &Metadata) -> bool {
    false
}

/// Prefix of the names of all temporary files of `path`.
fn prefix(path: &Path) -> String {
    format!("{TEMPORARY}{}-", short_hash(path.file_name().unwrap_or(OsStr::new("")).as_encoded_bytes()))
}

/// Identifies the space of process IDs: the boot and the container. `None` if the system does not provide it.
fn machine() -> Option<String> {
    let container = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(short_hash(format!("{} {}", boot()?, container.display()).as_bytes()))
}

fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Creates a temporary file beside `path`, removed on drop unless kept.
fn temporary(path: &Path) -> Result<NamedTempFile, Error> {
    let machine = machine().unwrap_or_else(|| "unknown".to_owned());
    let prefix = format!("{}{machine}-{}-", prefix(path), std::process::id());
    create(Builder::new().prefix(&prefix), folder(path))
}

/// Creates a file in `folder` named by `builder`, removed on drop unless kept.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn create(builder: &mut Builder<'_, '_>, folder: &Path) -> Result<NamedTempFile, Error> {
    #[cfg(unix)]
    {
        // Use the default permissions (umask), so that others can read results, and heartbeats, which they would
        // otherwise consider expired.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // The library's own message would show the temporary name, which means nothing to the user.
    builder.tempfile_in(folder).map_err(|error| {
        let error = if folder.exists() { error.kind().into() } else { io::Error::new(ErrorKind::NotFound, NO_FOLDER) };
        Error::file(folder)(error)
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::SystemTime;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn only_temporary_files_of_ended_writers_are_removed() {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("model");
        let Some(machine) = machine() else { return };
        let mut child = Command::new("true").spawn().expect("it starts");
        child.wait().expect("it ends");
        let (ended, running) = (child.id(), std::process::id());
        let (model, other) = (prefix(&path), prefix(&folder.path().join("models")));
        let plant = |name: &str, age: Duration| {
            let file = File::create(folder.path().join(name)).expect("a file");
            file.set_modified(SystemTime::now() - age).expect("it is ours");
        };
        let day = Duration::from_secs(25 * 60 * 60);
        let gone = [
            (format!("{model}{machine}-{ended}-abcdef"), Duration::ZERO),
            (format!("{model}00000000-{running}-abcdef"), day),
            (format!("{model}unknown-{running}-abcdef"), day),
        ];
        let kept = [
            (format!("{model}{machine}-{running}-abcdef"), Duration::ZERO),
            (format!("{model}00000000-{ended}-abcdef"), Duration::ZERO),
            (format!("{model}unknown-{ended}-abcdef"), Duration::ZERO),
            (format!("{model}{machine}-abcdef"), Duration::ZERO),
            (format!("{other}{machine}-{ended}-abcdef"), day),
            (format!("{TEMPORARY}notes"), day),
            ("model".to_owned(), day),
        ];
        gone.iter().chain(&kept).for_each(|(name, age)| plant(name, *age));
        // A second temporary file of this process, being written.
        let staged = stage(&path, b"new").expect("written");
        probe(&path).expect("it can be written");
        for (name, _) in &gone {
            assert!(!folder.path().join(name).exists(), "{name} is left over");
        }
        for (name, _) in &kept {
            assert!(folder.path().join(name).exists(), "{name} is kept");
        }
        staged.place(&path).expect("it is there");
        assert_eq!(read(&path, 3).expect("read"), b"new");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), kept.len(), "and no other");
    }
}
