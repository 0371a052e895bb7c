//! Networks as bytes: with what its users need to know, or with the state of its training.
//!
//! | bytes | content |
//! | --- | --- |
//! | 0..8 | the magic of the [`Kind`]: `KLAYERNN` for a model |
//! | 8..12 | version of the layout, little-endian |
//! | 12..20 | length of the payload, little-endian |
//! | 20..52 | SHA-256 of the payload |
//! | 52.. | the payload: kind of number, network and metadata, in bincode 2's standard encoding |
//!
//! Length and checksum are verified before the payload is decoded, and decoding is limited by the size of the file, so
//! a damaged or hostile one costs an error and no more.

use bincode::config;
use bincode::error::DecodeError;
use bincode::serde::{decode_from_slice, encode_to_vec};
use klayer_linalg::{RowMajor, Scalar};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::batch_norm::Statistics;
use crate::{Architecture, Error, Network};

/// A kind of file that holds a network. Kinds differ in their metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// Its first bytes.
    pub magic: &'static [u8; 8],
    /// Version of its layout; it grows with every change of the payload.
    pub version: u32,
}

/// Trained networks.
pub const MODEL: Kind = Kind { name: "model", magic: b"KLAYERNN", version: 1 };

const HEADER: usize = 52;
/// Most bytes that decoding may claim of any file.
const LIMIT: usize = 1 << 31;

#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Scalar, M: DeserializeOwned", serialize = "T: Scalar, M: Serialize"))]
struct Payload<T, M> {
    architecture: Architecture,
    layers: Vec<StoredLayer<T>>,
    metadata: M,
}

#[derive(Serialize, Deserialize)]
struct StoredLayer<T> {
    weight: Vec<T>,
    bias: Vec<T>,
    gamma: Vec<T>,
    beta: Vec<T>,
    running: Option<(Vec<T>, Vec<T>)>,
}

/// The bytes of a file of `kind`: `network` and whatever else its users need to know, `metadata`.
///
/// # Errors
/// [`Error::Format`] if `metadata` cannot be encoded.
pub fn encode<T: Scalar, M: Serialize>(kind: &Kind, network: &Network<T>, metadata: &M) -> Result<Vec<u8>, Error> {
    let layers = network.layers().iter().map(|layer| {
        let (gamma, beta, running) = match &layer.batch_norm {
            Some(norm) => (norm.gamma.clone(), norm.beta.clone(), norm.running.clone()),
            None => (Vec::new(), Vec::new(), None),
        };
        StoredLayer {
            weight: layer.affine.weight.rows().flatten().copied().collect(),
            bias: layer.affine.bias.clone(),
            gamma,
            beta,
            running: running.map(|running| (running.mean, running.variance)),
        }
    });
    let payload = Payload { architecture: network.architecture().clone(), layers: layers.collect(), metadata };
    let payload = encode_to_vec((T::NAME, &payload), config::standard())
        .map_err(|error| kind.refuse(HEADER, error.to_string()))?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(kind.magic);
    bytes.extend_from_slice(&kind.version.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(&payload));
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// The network and the metadata that [`encode`] turned into `bytes`.
///
/// # Errors
/// [`Error::Format`] if the bytes are cut off, damaged, of another kind or version, or of another kind of number.
pub fn decode<T: Scalar, M: DeserializeOwned>(kind: &Kind, bytes: &[u8]) -> Result<(Network<T>, M), Error> {
    let refuse = |offset, reason: String| kind.refuse(offset, reason);
    if bytes.len() < HEADER || &bytes[..8] != kind.magic {
        return Err(refuse(0, "it does not begin as one".into()));
    }
    let version = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    if version != kind.version {
        return Err(refuse(8, format!("its layout is of version {version}, and only {} is known", kind.version)));
    }
    let length = u64::from_le_bytes(bytes[12..20].try_into().expect("eight bytes"));
    let payload = &bytes[HEADER..];
    if length != payload.len() as u64 {
        return Err(refuse(12, format!("it promises {length} bytes and has {}", payload.len())));
    }
    if Sha256::digest(payload).as_slice() != &bytes[20..HEADER] {
        return Err(refuse(20, "its checksum does not match: it is damaged".into()));
    }
    let (scalar, start) = decode_part::<String>(kind, payload, 0)?;
    if scalar != T::NAME {
        return Err(refuse(HEADER, format!("its numbers are {scalar}, and {} are asked for", T::NAME)));
    }
    let (payload, end) = decode_part::<Payload<T, M>>(kind, payload, start)?;
    if end as u64 != length {
        return Err(refuse(HEADER + end, "bytes are left over".into()));
    }
    let network = restore(&payload).ok_or_else(|| refuse(HEADER, "its parameters do not fit its widths".into()))?;
    Ok((network, payload.metadata))
}

impl Kind {
    fn refuse(&self, offset: usize, reason: String) -> Error {
        Error::Format { what: self.name, reason, offset }
    }
}

/// A part of the payload that begins at `start`, and where it ends.
fn decode_part<P: DeserializeOwned>(kind: &Kind, payload: &[u8], start: usize) -> Result<(P, usize), Error> {
    // An integer claims up to 16 bytes for each one that it takes in the file, and a text all that its length says
    // before the first byte is read. The limit is part of a type: there can be a few of them, but not any.
    let decode = match payload.len() {
        0..=0xfff => decode_within::<P, 0x1_0000>,
        0x1000..=0x3_ffff => decode_within::<P, 0x40_0000>,
        0x4_0000..=0xff_ffff => decode_within::<P, 0x1000_0000>,
        _ => decode_within::<P, LIMIT>,
    };
    let (part, read) = decode(&payload[start..]).map_err(|error| kind.refuse(HEADER + start, error.to_string()))?;
    Ok((part, start + read))
}

/// What `bytes` begin with, and how many of them it took, claiming no more than `LIMIT` bytes.
fn decode_within<P: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<(P, usize), DecodeError> {
    decode_from_slice(bytes, config::standard().with_limit::<LIMIT>())
}

/// The stored network, if every part has the size that its architecture gives it.
fn restore<T: Scalar, M>(payload: &Payload<T, M>) -> Option<Network<T>> {
    let sizes = || payload.architecture.layers();
    let fits = sizes().zip(&payload.layers).all(|((inputs, outputs), stored)| {
        inputs.checked_mul(outputs) == Some(stored.weight.len()) && stored.bias.len() == outputs
    });
    if !fits || payload.layers.len() != payload.architecture.depth() {
        return None;
    }
    let mut network = Network::zeros(&payload.architecture);
    for ((layer, stored), (inputs, outputs)) in network.layers_mut().iter_mut().zip(&payload.layers).zip(sizes()) {
        layer.affine.weight = RowMajor::from_rows(outputs, inputs, &stored.weight);
        layer.affine.bias.clone_from(&stored.bias);
        let units = layer.batch_norm.as_ref().map_or(0, |_| outputs);
        let running = stored.running.iter().flat_map(|(mean, variance)| [mean, variance]);
        if [&stored.gamma, &stored.beta].into_iter().chain(running).any(|values| values.len() != units) {
            return None;
        }
        let Some(norm) = &mut layer.batch_norm else {
            if stored.running.is_some() {
                return None;
            }
            continue;
        };
        norm.gamma.clone_from(&stored.gamma);
        norm.beta.clone_from(&stored.beta);
        norm.running = stored.running.clone().map(|(mean, variance)| Statistics { mean, variance });
    }
    Some(network)
}
