use std::path::Path;
use std::time::Duration;

use crate::Error;

/// What a caller wants to know while data are fetched and read; every method does nothing unless overridden.
///
/// `()` is the observer that looks away.
pub trait Progress {
    /// `received` of the `total` bytes of the archive are here, those of an earlier, interrupted download included.
    fn downloading(&self, received: u64, total: u64) {
        let _ = (received, total);
    }

    /// A try failed; the next one begins after `wait`.
    fn retrying(&self, error: &Error, wait: Duration) {
        let _ = (error, wait);
    }

    /// This entry of the archive is being unpacked.
    fn unpacking(&self, entry: &Path) {
        let _ = entry;
    }

    /// This file is being read and verified.
    fn verifying(&self, file: &Path) {
        let _ = file;
    }

    /// `images` of the `total` images of the synthetic stand-in are there.
    fn generating(&self, images: usize, total: usize) {
        let _ = (images, total);
    }

    /// Whether to give up. Asked between blocks of a download, between files and between waits.
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {}
