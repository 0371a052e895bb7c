//! Checks of the output files before a command starts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use klayer_store::files;

use crate::Error;

/// Rejects `outputs` that cannot be written, or that would overwrite one of the `inputs` or each other.
pub(crate) fn check<'a>(
    inputs: impl IntoIterator<Item = &'a Path>,
    outputs: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Error> {
    let mut taken: Vec<PathBuf> = inputs.into_iter().map(place).collect();
    for path in outputs {
        files::probe(path)?;
        if taken.contains(&place(path)) {
            return Err(Error::NamedTwice { path: path.into() });
        }
        taken.push(place(path));
    }
    Ok(())
}

/// Appends `ending` to the file name of `path`.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The path of a file with its folder in canonical form.
fn place(path: &Path) -> PathBuf {
    let folder = files::folder(path);
    folder.canonicalize().unwrap_or_else(|_| folder.into()).join(path.file_name().unwrap_or(OsStr::new("")))
}
