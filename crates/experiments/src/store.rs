//! A folder of records, one JSON file a record, of their metrics, and of what is needed to make them: locks and
//! checkpoints.
//!
//! docs/store.md is the layout for other programs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::{self, Checkpoints};
use crate::lock::{Claim, Owner, Times};
use crate::{Error, files};

/// Records by their key, in a folder. A record appears whole or not at all.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    checkpoint_every: Duration,
}

impl Store {
    /// The store in `folder`, which is created if need be.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        Ok(Self { folder, checkpoint_every: checkpoint::EVERY })
    }

    /// The same, in which runs write checkpoints whenever `every` has passed, beside those of every cycle.
    pub fn checkpoint_every(self, every: Duration) -> Self {
        Self { checkpoint_every: every, ..self }
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

    /// Where the metrics of the run `key` are.
    pub fn metrics(&self, key: &str) -> PathBuf {
        self.folder().join(key).with_extension("metrics.jsonl")
    }

    /// The checkpoints of the run `key`, which `claim` has taken.
    pub(crate) fn checkpoints<'a>(&self, key: &str, claim: &'a Claim) -> Checkpoints<'a> {
        Checkpoints::claimed(self.folder().join(key).with_extension("checkpoint"), self.checkpoint_every, claim)
    }

    /// A new owner of trials.
    pub(crate) fn owner(&self) -> Result<Owner, Error> {
        Owner::new(&self.folder, Times::default())
    }

    /// The folder of the records.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
