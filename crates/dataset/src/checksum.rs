//! Checksums in lower-case hexadecimal.

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Error;

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
    }
    hex
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The checksum of a set of `(name, SHA-256)` pairs: the SHA-256 of their list in the format of `sha256sum`.
pub(crate) fn of_files(sums: &[(String, String)]) -> String {
    let list: String = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    sha256(list.as_bytes())
}

/// The checksum of files with the checksum `sum`, with `validation` of their images for validation.
pub(crate) fn of_split(sum: &str, validation: usize) -> String {
    sha256(format!("{sum}  {validation} validation images\n").as_bytes())
}

pub(crate) fn verify_sha256(path: &Path, expected: &str, bytes: &[u8]) -> Result<(), Error> {
    compare(path, "SHA-256", expected, sha256(bytes))
}

pub(crate) fn compare(path: &Path, algorithm: &'static str, expected: &str, found: String) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Checksum { path: path.to_path_buf(), algorithm, expected: expected.to_owned(), found })
}
