//! A store: a folder with one JSON record per job, its metrics, and the locks and checkpoints of running jobs.
//!
//! docs/store.md documents the layout for other programs.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lock::{Owner, Times};
use crate::record::Recorded;
use crate::{Error, files};

/// Default interval between the checkpoints of a running job.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

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
        files::create_folder(&folder)?;
        Ok(Self { folder, checkpoint_every: CHECKPOINT_EVERY })
    }

    /// Sets the interval between the checkpoints of running jobs.
    pub fn checkpoint_every(self, every: Duration) -> Self {
        Self { checkpoint_every: every, ..self }
    }

    /// The interval between the checkpoints of running jobs.
    pub fn checkpoint_interval(&self) -> Duration {
        self.checkpoint_every
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

    /// Reads the record `key` of settings of type `S`; `None` if there is none.
    ///
    /// # Errors
    /// The errors of [`Store::get`]; [`Error::OtherRecord`] if it is the record of other settings or another dataset.
    pub fn record<S: Recorded>(&self, key: &str) -> Result<Option<S::Record>, Error> {
        let Some(record) = self.get(key)? else { return Ok(None) };
        let (settings, sha256) = S::origin(&record);
        let name = settings.key(sha256)?;
        if name == key { Ok(Some(record)) } else { Err(Error::OtherRecord { path: self.path(key), name }) }
    }

    /// Reads the records of all `settings` on the dataset with checksum `sha256`, in order.
    ///
    /// # Errors
    /// [`Error::Missing`] for the first missing record, and the errors of [`Store::record`].
    pub fn records<S: Recorded>(&self, settings: &[S], sha256: &str) -> Result<Vec<S::Record>, Error> {
        let records = settings.iter().map(|settings| {
            let key = settings.key(sha256)?;
            self.record::<S>(&key)?.ok_or_else(|| Error::Missing { path: self.path(&key) })
        });
        records.collect()
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

    /// Path of the metrics of the job `key`.
    pub fn metrics(&self, key: &str) -> PathBuf {
        self.folder().join(key).with_extension("metrics.jsonl")
    }

    /// Path of the checkpoint of the unfinished job `key`.
    pub fn checkpoint(&self, key: &str) -> PathBuf {
        self.folder().join(key).with_extension("checkpoint")
    }

    /// Makes this process an owner of jobs, until the result is dropped.
    ///
    /// # Errors
    /// [`Error::File`] if the folder is not writable.
    pub fn owner(&self) -> Result<Owner, Error> {
        Owner::new(&self.folder, Times::default())
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
