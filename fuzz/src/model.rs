//! What is kept beside the models that are decoded here, and model files whose header is right.

use klayer_experiments::{DatasetInfo, RunConfig};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes before the payload of a model file.
pub const HEADER: usize = 52;

/// What a trained network is kept with, but for the means and deviations of its 3,072 inputs: a payload of fifty
/// thousand bytes would leave the fuzzer little time for the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// The settings of its training.
    pub config: RunConfig,
    /// What it was trained on.
    pub dataset: DatasetInfo,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// Part of the test images that it classifies correctly, if it was tested.
    pub test_accuracy: Option<f64>,
}

/// A model file of `payload`, its length and its checksum right.
pub fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"KLAYERNN".to_vec();
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(payload));
    bytes.extend_from_slice(payload);
    bytes
}
