//! What fuzz targets and seeds share: what a file must hold, and how its checksums are made right.
//!
//! A fuzzer that changes a byte breaks every checksum over it, and would never see the code behind. So the targets
//! look at each input twice: as it is, and with its checksums made right.

pub mod archive;
pub mod model;

use std::fmt::Display;
use std::path::Path;

use tempfile::TempDir;

/// Most characters of an error's sentence.
const SENTENCE: usize = 1_000;

/// A folder of its own for files that are written many thousand times a second: in memory, where there is such a place.
///
/// # Panics
/// If none can be made.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("a temporary folder")
}

/// Asserts that `error` is a sentence that a terminal can show: one line, not endless, and without the control
/// characters that a hostile file may hold.
///
/// # Panics
/// If it is not.
pub fn assert_sentence(error: &impl Display) {
    let text = error.to_string();
    assert!(!text.is_empty(), "an error without a word");
    assert!(text.chars().count() <= SENTENCE, "an error of {} bytes: {}", text.len(), text.escape_debug());
    assert!(!text.chars().any(char::is_control), "control characters in an error: {}", text.escape_debug());
}
