//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use crate::Error;

/// How the names of temporary files begin.
pub(crate) const TEMPORARY: &str = ".klayer-";

/// Writes `bytes` under `path`: to a temporary name beside it, synced, then renamed.
///
/// # Errors
/// [`Error::File`]; whatever stood under `path` before then still does.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    stage(path, bytes)?.place(path)
}

/// A file that is written and synced, and has no name yet. It goes away if it gets none.
pub(crate) struct Staged(NamedTempFile);

/// Writes what is to stand under `path` beside it.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn stage(path: &Path, bytes: &[u8]) -> Result<Staged, Error> {
    let mut file = temporary(Builder::new().prefix(TEMPORARY), folder(path))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(Error::file(path))?;
    Ok(Staged(file))
}

impl Staged {
    /// Gives the file the name `path`, in place of what stood there.
    ///
    /// # Errors
    /// [`Error::File`]; whatever stood under `path` before then still does.
    pub(crate) fn place(self, path: &Path) -> Result<(), Error> {
        self.0.persist(path).map_err(|error| Error::File { path: path.into(), source: error.error })?;
        // The rename itself must outlive a power cut too; a folder that cannot be opened for that is no failure.
        if let Ok(folder) = File::open(folder(path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Whether a file could be written under `path`, found out before hours of work depend on it.
///
/// # Errors
/// [`Error::File`] if its folder does not exist or may not be written to, or if a folder stands under `path`.
pub fn probe(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Err(Error::file(path)(std::io::ErrorKind::IsADirectory.into()));
    }
    temporary(Builder::new().prefix(TEMPORARY), folder(path)).map(drop)
}

/// The bytes of the file under `path`.
///
/// # Errors
/// [`Error::File`].
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::file(path))
}

/// The folder that the file under `path` is in, or would be.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file in `folder`, which goes away unless it is kept; `builder` says how it is called.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn temporary(builder: &mut Builder<'_, '_>, folder: &Path) -> Result<NamedTempFile, Error> {
    #[cfg(unix)]
    {
        // As any new file, so that others may read it where the user's mask lets them: results, and heartbeats of owners
        // that they would hold dead.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // The library's own message would tell of a temporary name that the user knows nothing of.
    builder.tempfile_in(folder).map_err(|error| Error::file(folder)(error.kind().into()))
}
