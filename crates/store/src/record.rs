//! Keys of records: hashes of everything that determines a record.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::Error;

/// Version of the records; incremented when the same settings give another record.
pub const FORMAT: u32 = 4;

/// Settings of a job that determine its record, together with a dataset.
pub trait Recorded: Serialize {
    /// The record of the job.
    type Record: Serialize + DeserializeOwned + Send;
    /// The kind of job; part of the record's key.
    const KIND: &'static str;

    /// The settings in a record, and the SHA-256 of the dataset.
    fn origin(record: &Self::Record) -> (&Self, &str);

    /// The key of the record on the dataset with checksum `sha256`.
    ///
    /// # Errors
    /// The errors of [`key`].
    fn key(&self, sha256: &str) -> Result<String, Error> {
        key(Self::KIND, self, sha256)
    }
}

/// The key of the record of `settings` on the dataset with checksum `sha256`: a hash of both, of the kind of record
/// and of klayer's version.
///
/// # Errors
/// [`Error::Json`] if a number in the settings cannot be represented in JSON.
pub fn key(kind: &str, settings: &(impl Serialize + ?Sized), sha256: &str) -> Result<String, Error> {
    let version = env!("CARGO_PKG_VERSION");
    let determined_by = (kind, FORMAT, version, settings, sha256);
    let bytes = serde_json::to_vec(&determined_by).map_err(Error::Json)?;
    let hash = Sha256::digest(&bytes);
    Ok(hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}
