//! Reading of files with a known size.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::Error;

/// Reads a file that must have exactly `expected` bytes; stops early if the file is longer.
pub(crate) fn read_sized(path: &Path, expected: u64) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io(path, e);
    let size = |found| Error::Size { path: path.to_path_buf(), expected, found };
    // Reject pipes and folders by their metadata: opening a pipe could block.
    let metadata = fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path: path.to_path_buf() });
    }
    let file = File::open(path).map_err(io)?;
    if metadata.len() != expected {
        return Err(size(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(expected as usize + 1);
    file.take(expected + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 != expected { Err(size(bytes.len() as u64)) } else { Ok(bytes) }
}
