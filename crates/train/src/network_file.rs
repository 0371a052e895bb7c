//! Reading of files that hold a network: models and checkpoints.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use klayer_nn::model_file::{HEADER, Kind, check_header, promised_length};
use klayer_store::files::{LONGEST, too_long};

use crate::Error;

/// Reads the file at `path`, opened by `open`, of one of `kinds`: the current layout, then older ones. Returns the one
/// that it has. Fails without reading to the end if the header is invalid or declares another length, or one above
/// [`LONGEST`].
pub(crate) fn read(
    kinds: &[Kind],
    path: &Path,
    open: impl FnOnce(&Path) -> io::Result<File>,
) -> Result<(Kind, Vec<u8>), Error> {
    let mut file = open(path).map_err(Error::file(path))?;
    let data = file.metadata().map_err(Error::file(path))?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(HEADER as u64).read_to_end(&mut bytes).map_err(Error::file(path))?;
    // A pipe has no known length: the header determines how much to read.
    let length = if data.is_file() { data.len() } else { promised_length(&bytes) };
    let kind = kinds[1..].iter().find(|kind| check_header(kind, &bytes, length).is_ok()).unwrap_or(&kinds[0]);
    check_header(kind, &bytes, length).map_err(Error::model(path))?;
    if length > LONGEST {
        return Err(Error::file(path)(too_long(LONGEST)));
    }
    file.take(length - bytes.len() as u64 + 1).read_to_end(&mut bytes).map_err(Error::file(path))?;
    Ok((*kind, bytes))
}
