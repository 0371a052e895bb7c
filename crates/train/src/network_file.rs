//! Reading of files that hold a network: models and checkpoints.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use klayer_nn::model_file::{HEADER, Kind, check_header, promised_length};

use crate::Error;

/// Maximum size of a model or checkpoint read from a pipe, in bytes.
const LONGEST_STREAM: u64 = 1 << 30;

/// Reads the file of `kind` at `path`. Fails without reading to the end if the header is invalid or declares another
/// length.
pub(crate) fn read(kind: &Kind, path: &Path) -> Result<Vec<u8>, Error> {
    let mut file = File::open(path).map_err(Error::file(path))?;
    let data = file.metadata().map_err(Error::file(path))?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(HEADER as u64).read_to_end(&mut bytes).map_err(Error::file(path))?;
    // A pipe has no known length: the header determines how much to read.
    let length = if data.is_file() { data.len() } else { promised_length(&bytes).min(LONGEST_STREAM) };
    check_header(kind, &bytes, length).map_err(Error::model(path))?;
    file.take(length - bytes.len() as u64 + 1).read_to_end(&mut bytes).map_err(Error::file(path))?;
    Ok(bytes)
}
