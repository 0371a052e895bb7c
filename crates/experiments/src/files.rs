//! Files that appear whole or not at all.
//!
//! A process that is killed while it writes leaves a temporary file. Its name is `.klayer-FILE-MACHINE-PID-` and
//! something random, where FILE is a hash of the name that it was to get and MACHINE one of what its process's number
//! counts in. So the next that will write the same file finds what is left of it, and whether its writer has ended.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use klayer_nn::model_file::{HEADER, Kind, check_header, promised_length};
use sha2::{Digest, Sha256};
use tempfile::{Builder, NamedTempFile};

use crate::Error;
use crate::environment::boot;

/// How the names of temporary files begin.
pub(crate) const TEMPORARY: &str = ".klayer-";

/// What is said of a folder that does not exist, above a file to be read or written.
pub(crate) const NO_FOLDER: &str = "no such directory";

/// Bytes of the longest model or checkpoint that is read from a pipe.
const LONGEST_STREAM: u64 = 1 << 30;

/// A temporary file that nobody has written to for so long is left over, wherever its writer ran.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes `bytes` under `path`: to a temporary name beside it, synced, then renamed. Where a link stands, that becomes of
/// what it leads to; into a pipe or a device, they are written as they are.
///
/// # Errors
/// [`Error::File`]; the file that stood under `path` before then still does.
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

/// Whether a pipe, a device or the like stands under `path`, which takes bytes and has none of its own.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| !data.is_file() && !data.is_dir())
}

/// What the link under `path` leads to, whether it is there or not; `path` where no link stands.
fn target(path: &Path) -> PathBuf {
    let mut target = path.to_path_buf();
    // As many links as the system itself follows.
    for _ in 0..40 {
        match fs::read_link(&target) {
            Ok(link) => target = folder(&target).join(link),
            Err(_) => break,
        }
    }
    target
}

/// A file that is written and synced, and has no name yet. It goes away if it gets none.
pub(crate) struct Staged(NamedTempFile);

/// Writes what is to stand under `path` beside it.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn stage(path: &Path, bytes: &[u8]) -> Result<Staged, Error> {
    let mut file = temporary(path)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(Error::file(path))?;
    Ok(Staged(file))
}

impl Staged {
    /// Gives the file the name `path`, in place of what stood there.
    ///
    /// # Errors
    /// [`Error::File`]; whatever stood under `path` before then still does.
    pub(crate) fn place(self, path: &Path) -> Result<(), Error> {
        self.0.persist(path).map_err(|error| Error::File { path: path.into(), error: error.error })?;
        // The rename itself must outlive a power cut too; a folder that cannot be opened for that is no failure.
        if let Ok(folder) = File::open(folder(path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Whether a file could be written under `path`, found out before hours of work depend on it. What a writer of it that
/// was killed has left beside it is removed.
///
/// # Errors
/// [`Error::File`] if its folder does not exist or may not be written to, or if a folder stands under `path`.
pub fn probe(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Err(Error::file(path)(ErrorKind::IsADirectory.into()));
    }
    if is_stream(path) {
        return Ok(());
    }
    let target = target(path);
    let file = temporary(&target)?;
    // Its time is that of the folder's own clock, and its owner is this user.
    if let Ok(data) = file.as_file().metadata() {
        remove_leftovers(&target, &data);
    }
    Ok(())
}

/// The bytes of the file under `path`, which may have `most` of them. A longer file, or a stream that goes on beyond that,
/// is not read to its end.
///
/// # Errors
/// [`Error::File`].
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::file(path))?;
    let too_long = || Error::file(path)(io::Error::new(ErrorKind::FileTooLarge, format!("longer than {most} bytes")));
    if file.metadata().map_err(Error::file(path))?.len() > most {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::file(path))?;
    if bytes.len() as u64 > most { Err(too_long()) } else { Ok(bytes) }
}

/// The bytes of the file of `kind` under `path`. What does not begin as one, or is of another length than it says, is
/// not read to its end.
pub(crate) fn read_kind(kind: &Kind, path: &Path) -> Result<Vec<u8>, Error> {
    let mut file = File::open(path).map_err(Error::file(path))?;
    let data = file.metadata().map_err(Error::file(path))?;
    let refuse = |error| Error::Model { path: path.into(), error };
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(HEADER as u64).read_to_end(&mut bytes).map_err(Error::file(path))?;
    // A pipe has no length before its end: the header says how much of it is read.
    let length = if data.is_file() { data.len() } else { promised_length(&bytes).min(LONGEST_STREAM) };
    check_header(kind, &bytes, length).map_err(refuse)?;
    file.take(length - bytes.len() as u64 + 1).read_to_end(&mut bytes).map_err(Error::file(path))?;
    Ok(bytes)
}

/// The folder that the file under `path` is in, or would be.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes the temporary files of `path` whose writers have ended, or which are old beside the file of `here`.
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

/// Whether the writer of a temporary file, which this part of its name tells, certainly runs no more: it was a process
/// of this user on this machine.
fn has_ended(writer: &str, data: &Metadata, here: &Metadata) -> bool {
    let process = machine().and_then(|machine| writer.strip_prefix(&machine)?.strip_prefix('-')?.split_once('-'));
    let process = process.and_then(|(process, _)| process.parse::<u32>().ok());
    // The processes of others may be hidden.
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

/// How the names of all temporary files of `path` begin.
fn prefix(path: &Path) -> String {
    format!("{TEMPORARY}{}-", short_hash(path.file_name().unwrap_or(OsStr::new("")).as_encoded_bytes()))
}

/// What the number of a process counts in: this start of the machine, and the container. None where that is not told.
fn machine() -> Option<String> {
    let container = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(short_hash(format!("{} {}", boot()?, container.display()).as_bytes()))
}

fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// A temporary file beside the one under `path`, which goes away unless it is kept.
fn temporary(path: &Path) -> Result<NamedTempFile, Error> {
    let machine = machine().unwrap_or_else(|| "unknown".to_owned());
    let prefix = format!("{}{machine}-{}-", prefix(path), std::process::id());
    create(Builder::new().prefix(&prefix), folder(path))
}

/// A new file in `folder`, which goes away unless it is kept; `builder` says how it is called.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn create(builder: &mut Builder<'_, '_>, folder: &Path) -> Result<NamedTempFile, Error> {
    #[cfg(unix)]
    {
        // As any new file, so that others may read it where the user's mask lets them: results, and heartbeats of owners
        // that they would hold dead.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // The library's own message would tell of a temporary name that the user knows nothing of.
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
    fn what_is_left_of_a_file_whose_writer_has_ended_is_removed_and_nothing_else() {
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
        // Another one of our own, which is being written.
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
