//! Writes the files of a report, and checks them against its records.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use klayer_store::{Store, files};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::render::File;

/// Name of the record of the last rendered report and its files.
const RENDERED: &str = "rendered";

/// The last rendered report.
#[derive(Debug, Serialize, Deserialize)]
struct Rendered {
    /// Name of the record of its manifest.
    study: String,
    /// Its files, relative to the report's folder.
    files: Vec<PathBuf>,
}

/// `results` as `results.json`.
pub(crate) fn results(results: &impl Serialize) -> Result<File, Error> {
    let mut json = serde_json::to_string_pretty(results).map_err(Error::Json)?;
    json.push('\n');
    Ok(File { path: "results.json".into(), contents: json })
}

/// Opens the records of the last rendered report in `out`. Returns the name of its manifest too, which starts with
/// `kind`: a report of another kind is an error.
pub(crate) fn last(out: &Path, kind: &str) -> Result<(Store, String), Error> {
    let (records, none) = (out.join("records"), || Error::NoReport { path: out.into() });
    if !records.join(RENDERED).with_extension("json").is_file() {
        return Err(none());
    }
    let store = Store::open(records)?;
    let last: Rendered = store.get(RENDERED)?.ok_or_else(none)?;
    if last.study.starts_with(kind) { Ok((store, last.study)) } else { Err(Error::OtherReport { path: out.into() }) }
}

/// Writes the files of the report with manifest `study` to `out`, and removes those that only the last one had.
/// Returns the number of files.
pub(crate) fn write(study: String, rendered: Vec<File>, store: &Store, out: &Path) -> Result<usize, Error> {
    for file in &rendered {
        let path = out.join(&file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| Error::Folder { path: folder.into(), error })?;
        }
        files::write(&path, file.contents.as_bytes())?;
    }
    let old = store.get::<Rendered>(RENDERED)?.map_or(Vec::new(), |old| old.files);
    let files: Vec<PathBuf> = rendered.into_iter().map(|file| file.path).collect();
    for path in old.into_iter().filter(|path| !files.contains(path)).map(|path| out.join(path)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::Folder { path, error }),
            _ => {}
        }
    }
    let written = files.len();
    store.put(RENDERED, &Rendered { study, files })?;
    Ok(written)
}

/// Compares the files in `out` with `rendered`.
pub(crate) fn check(rendered: &[File], out: &Path) -> Result<(), Error> {
    let differs = |file: &&File| fs::read(out.join(&file.path)).ok().as_deref() != Some(file.contents.as_bytes());
    let changed: Vec<_> = rendered.iter().filter(differs).map(|file| file.path.display().to_string()).collect();
    if changed.is_empty() { Ok(()) } else { Err(Error::Changed { files: rendered.len(), changed }) }
}
