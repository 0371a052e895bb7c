//! Model files and checkpoints: valid headers, and checks of everything that decodes.

use klayer_linalg::{ColMajor, Par, Scalar};
use klayer_nn::model_file::{HEADER, Kind, decode, encode};
use klayer_nn::{Error, Network, Workspace};
use klayer_train::{DatasetInfo, RunConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::assert_sentence;

/// The metadata of a trained network, without the means and deviations of its 3,072 inputs: their fifty thousand bytes
/// would leave the fuzzer little time for the other fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// The training settings.
    pub config: RunConfig,
    /// The training dataset.
    pub dataset: DatasetInfo,
    /// The class names.
    pub classes: Vec<String>,
    /// The accuracy on the test images, if measured.
    pub test_accuracy: Option<f64>,
}

/// Replaces the header of `bytes` by a valid one of `kind`. Returns `None` if there is no payload.
pub fn sealed(kind: &Kind, bytes: &[u8]) -> Option<Vec<u8>> {
    let payload = bytes.get(HEADER..)?;
    let mut sealed = kind.magic.to_vec();
    sealed.extend_from_slice(&kind.version.to_le_bytes());
    sealed.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    sealed.extend_from_slice(&Sha256::digest(payload));
    sealed.extend_from_slice(payload);
    Some(sealed)
}

/// Decodes `bytes`, checks that the result round-trips and can be used, and returns it.
///
/// # Panics
/// If a check fails.
pub fn check<T: Scalar, M: Serialize + DeserializeOwned>(kind: &Kind, bytes: &[u8]) -> Option<(Network<T>, M)> {
    let (network, numbers, metadata) = match decode::<T, M>(kind, bytes) {
        Ok(decoded) => decoded,
        Err(error) => {
            let place = if let Error::Format { offset, .. } = error { Some(offset) } else { None };
            assert!(matches!(error, Error::Format { .. } | Error::Layout { .. }), "{error}");
            assert!(place.is_none_or(|offset| offset <= bytes.len()), "{error}");
            assert_sentence(&error);
            return None;
        }
    };
    // The encoding is unique, except that an integer may take more bytes than it needs, and JSON has several forms.
    let again = encode(kind, &network, &numbers, &metadata).expect("it was decoded");
    if again != bytes {
        let (network, numbers, metadata) = decode::<T, M>(kind, &again).expect("it was encoded");
        assert!(encode(kind, &network, &numbers, &metadata).expect("it was decoded") == again, "the same bytes");
    }

    let mut workspace = Workspace::new(network.architecture(), 2, Par::Seq);
    let x = ColMajor::zeros(network.architecture().inputs(), 2);
    network.infer(x.as_ref(), &mut workspace).expect("it fits").predict(&mut [0; 2]);
    Some((network, metadata))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use klayer_nn::model_file::MODEL;
    use klayer_train::checkpoint::{CHECKPOINT, State};

    use super::*;

    fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let seeds: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).expect("a seed"))).collect();
        assert!(seeds.len() >= 3, "{target}");
        seeds
    }

    /// A seed that does not decode does not lead the fuzzer past the header.
    #[test]
    fn all_seeds_decode() {
        for (path, bytes) in seeds("checkpoint") {
            assert!(check::<f32, State>(&CHECKPOINT, &bytes).is_some(), "{}", path.display());
        }
        for (path, bytes) in seeds("model") {
            let read = check::<f32, Notes>(&MODEL, &bytes).is_some() || check::<f64, Notes>(&MODEL, &bytes).is_some();
            assert!(read, "{}", path.display());
        }
    }
}
