//! A folder of records, one JSON file a record.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, files};

/// Records by their key, in a folder. A record appears whole or not at all.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in `folder`, which is created if need be.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        Ok(Self { folder })
    }

    /// The record `key`, if it is there.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Record`] for a file that holds something else.
    pub fn get<R: DeserializeOwned>(&self, key: &str) -> Result<Option<R>, Error> {
        let path = self.path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(path)(error)),
        };
        let record = serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column, text) = (error.line(), error.column(), error.to_string());
            let place = format!(" at line {line} column {column}");
            let reason = text.strip_suffix(&place).unwrap_or(&text).to_owned();
            Error::Record { path, line, column, reason }
        })?;
        Ok(Some(record))
    }

    /// Keeps `record` as `key`.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Json`].
    pub fn put(&self, key: &str, record: &impl Serialize) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec_pretty(record).map_err(Error::Json)?;
        bytes.push(b'\n');
        files::write(&self.path(key), &bytes)
    }

    /// Where the record `key` is.
    pub fn path(&self, key: &str) -> PathBuf {
        self.folder().join(key).with_extension("json")
    }

    /// The folder of the records.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
