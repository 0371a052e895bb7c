use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use klayer_linalg::text::printable;

use crate::Error;

/// A file that was skipped while a dataset was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why it was skipped.
    pub reason: String,
}

/// Receives progress while a dataset is downloaded and loaded; every method has an empty default.
///
/// `()` ignores all events.
pub trait Progress {
    /// `received` of `total` bytes of the archive are downloaded, including those of an earlier, interrupted
    /// download.
    fn downloading(&self, received: u64, total: u64) {
        let _ = (received, total);
    }

    /// An attempt failed; the next one starts after `wait`.
    fn retrying(&self, error: &Error, wait: Duration) {
        let _ = (error, wait);
    }

    /// This archive entry is being unpacked.
    fn unpacking(&self, entry: &Path) {
        let _ = entry;
    }

    /// This file is being read and verified.
    fn verifying(&self, file: &Path) {
        let _ = file;
    }

    /// `images` of `total` images of the synthetic stand-in are generated.
    fn generating(&self, images: usize, total: usize) {
        let _ = (images, total);
    }

    /// `images` of `total` pictures are decoded.
    fn decoding(&self, images: usize, total: usize) {
        let _ = (images, total);
    }

    /// This file is skipped because it cannot be read.
    fn skipping(&self, file: &Skipped) {
        let _ = file;
    }

    /// Whether to cancel. Called between blocks of a download, between files and during waits.
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", printable(self.path.display()), printable(&self.reason))
    }
}
