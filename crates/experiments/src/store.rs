//! A store: a folder with one JSON record per run, its metrics, and the locks and checkpoints of running trials.
//!
//! docs/store.md documents the layout for other programs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::{self, Checkpoints};
use crate::lock::{Claim, Owner, Times};
use crate::{Error, files};

/// A folder of records by key. Records are written atomically.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    checkpoint_every: Duration,
}

impl Store {
    /// Opens the store in `folder`, creating the folder if necessary.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        Ok(Self { folder, checkpoint_every: checkpoint::EVERY })
    }

    /// Sets the interval between checkpoints, which are also written at the end of each cycle.
    pub fn checkpoint_every(self, every: Duration) -> Self {
        Self { checkpoint_every: every, ..self }
    }

    /// Reads the record `key`, if it exists.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Record`] for an invalid record.
    pub fn get<R: DeserializeOwned>(&self, key: &str) -> Result<Option<R>, Error> {
        let path = self.path(key);
        let bytes = match files::read_regular(&path, files::LONGEST) {
            Err(Error::File { error, .. }) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let record = serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column, text) = (error.line(), error.column(), error.to_string());
            let place = format!(" at line {line} column {column}");
            let reason = text.strip_suffix(&place).unwrap_or(&text).to_owned();
            Error::Record { path, line, column, reason }
        })?;
        Ok(Some(record))
    }

    /// Writes `record` as `key`.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Json`].
    pub fn put(&self, key: &str, record: &impl Serialize) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec_pretty(record).map_err(Error::Json)?;
        bytes.push(b'\n');
        files::write(&self.path(key), &bytes)
    }

    /// Path of the record `key`.
    pub fn path(&self, key: &str) -> PathBuf {
        self.folder().join(key).with_extension("json")
    }

    /// Path of the metrics of the run `key`.
    pub fn metrics(&self, key: &str) -> PathBuf {
        self.folder().join(key).with_extension("metrics.jsonl")
    }

    /// Checkpoints of the run `key`, locked by `claim`.
    pub(crate) fn checkpoints<'a>(&self, key: &str, claim: &'a Claim) -> Checkpoints<'a> {
        Checkpoints::claimed(self.folder().join(key).with_extension("checkpoint"), self.checkpoint_every, claim)
    }

    /// Creates a new owner of trials.
    pub(crate) fn owner(&self) -> Result<Owner, Error> {
        Owner::new(&self.folder, Times::default())
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
