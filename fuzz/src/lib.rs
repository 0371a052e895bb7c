//! Code shared by fuzz targets and seeds: expected contents of files, and valid checksums.
//!
//! A changed byte invalidates every checksum over it, so a fuzzer would never reach the code behind. The targets
//! therefore test each input twice: unchanged, and with valid checksums.

pub mod archive;
pub mod model;

use std::fmt::Display;
use std::path::Path;

use tempfile::TempDir;

/// Maximum number of characters of an error message.
const SENTENCE: usize = 1_000;

/// Creates a temporary folder for files that are written thousands of times per second; in memory, if possible.
///
/// # Panics
/// If the folder cannot be created.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("a temporary folder")
}

/// Asserts that an error message is safe to print: not empty, at most 1,000 characters, and without control characters
/// from a malicious file.
///
/// # Panics
/// If it is not.
pub fn assert_sentence(error: &impl Display) {
    let text = error.to_string();
    assert!(!text.is_empty(), "an empty error message");
    assert!(text.chars().count() <= SENTENCE, "an error of {} bytes: {}", text.len(), text.escape_debug());
    assert!(!text.chars().any(char::is_control), "control characters in an error: {}", text.escape_debug());
}
