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
//! Length and checksum are verified before the payload is decoded, and decoding may claim no more than four times the
//! payload and 64 KiB, so a damaged or hostile one costs an error and no more. What would not be read back within that
//! is not written either.

use bincode::config;
use bincode::de::read::Reader;
use bincode::de::{Decode, Decoder, DecoderImpl};
use bincode::error::DecodeError;
use bincode::serde::{Compat, encode_to_vec};
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

/// Bytes before the payload.
pub const HEADER: usize = 52;
/// What decoding may claim for each byte of the payload. A text claims its length before the first byte is read, and an
/// integer up to 8 bytes for each one that it takes in the file; a network, of the narrowest layers, claims 3.5.
const CLAIMS: usize = 4;
/// What it may claim beyond that, for payloads of a few integers.
const ROOM: usize = 0x1_0000;

#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Scalar")]
struct StoredNetwork<T> {
    architecture: Architecture,
    layers: Vec<StoredLayer<T>>,
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
/// [`Error::Format`] if `metadata` cannot be encoded, or not be decoded again.
pub fn encode<T, M>(kind: &Kind, network: &Network<T>, metadata: &M) -> Result<Vec<u8>, Error>
where
    T: Scalar,
    M: Serialize + DeserializeOwned,
{
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
    let stored = StoredNetwork { architecture: network.architecture().clone(), layers: layers.collect() };
    let refuse = |reason: String| kind.refuse(HEADER, reason);
    let mut payload =
        encode_to_vec((T::NAME, &stored), config::standard()).map_err(|error| refuse(error.to_string()))?;
    let metadata = encode_to_vec(metadata, config::standard()).map_err(|error| refuse(error.to_string()))?;
    // Of the room beyond its bytes it gets a half, so that the network has the other.
    let mut again = limited(&metadata, ROOM / 2);
    match decode_part::<M>(kind, &mut again) {
        Ok(_) if again.reader().at == metadata.len() => payload.extend_from_slice(&metadata),
        Ok(_) => return Err(refuse("its metadata would come back as something else".into())),
        Err(error) => return Err(refuse(format!("its metadata would not be read again: {error}"))),
    }
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
/// [`Error::Format`] if the bytes are cut off, damaged or of another kind of file; [`Error::Layout`] if they are of
/// another version, or another kind of number.
pub fn decode<T: Scalar, M: DeserializeOwned>(kind: &Kind, bytes: &[u8]) -> Result<(Network<T>, M), Error> {
    let refuse = |offset, reason: String| kind.refuse(offset, reason);
    check_header(kind, bytes, bytes.len() as u64)?;
    let payload = &bytes[HEADER..];
    if Sha256::digest(payload).as_slice() != &bytes[20..HEADER] {
        return Err(refuse(20, "its checksum does not match: it is damaged".into()));
    }
    let mut decoder = limited(payload, ROOM);
    let scalar: String = decode_part(kind, &mut decoder)?;
    if scalar != T::NAME {
        let reason = format!("its numbers are {scalar}, and {} are asked for", T::NAME);
        let known = [f32::NAME, f64::NAME].contains(&scalar.as_str());
        return Err(if known { Error::Layout { what: kind.name, reason } } else { refuse(HEADER, reason) });
    }
    let stored: StoredNetwork<T> = decode_part(kind, &mut decoder)?;
    let metadata = decode_part(kind, &mut decoder)?;
    let end = decoder.reader().at;
    if end != payload.len() {
        return Err(refuse(HEADER + end, "bytes are left over".into()));
    }
    let network = restore(&stored).ok_or_else(|| refuse(HEADER, "its parameters do not fit its widths".into()))?;
    Ok((network, metadata))
}

/// Looks at the first [`HEADER`] bytes of a file of `length` bytes, or at more, before the others are read.
///
/// # Errors
/// Those that [`decode`] would have of them.
pub fn check_header(kind: &Kind, bytes: &[u8], length: u64) -> Result<(), Error> {
    if bytes.len() < HEADER || &bytes[..8] != kind.magic {
        return Err(kind.refuse(0, "it does not begin as one".into()));
    }
    let version = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    if version != kind.version {
        let reason = format!("its layout is of version {version}, and only {} is known", kind.version);
        return Err(Error::Layout { what: kind.name, reason });
    }
    let promised = u64::from_le_bytes(bytes[12..20].try_into().expect("eight bytes"));
    let found = length - HEADER as u64;
    if promised != found {
        return Err(kind.refuse(12, format!("it promises {promised} bytes and has {found}")));
    }
    Ok(())
}

/// Bytes of the whole file that begins with the header `bytes`; none for one that is cut short.
pub fn promised_length(bytes: &[u8]) -> u64 {
    let promised = bytes.get(12..20).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    promised.map_or(bytes.len() as u64, |payload| payload.saturating_add(HEADER as u64))
}

impl Kind {
    fn refuse(&self, offset: usize, reason: String) -> Error {
        Error::Format { what: self.name, reason, offset }
    }
}

/// Bytes that are read, and how many of them have been.
struct Position<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader for Position<'_> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        let left = &self.bytes[self.at..];
        let missing = || DecodeError::UnexpectedEnd { additional: bytes.len() - left.len() };
        let part = left.get(..bytes.len()).ok_or_else(missing)?;
        bytes.copy_from_slice(part);
        self.at += bytes.len();
        Ok(())
    }
}

/// A decoder of `bytes` that may claim [`CLAIMS`] times as many, and `room`.
fn limited(bytes: &[u8], room: usize) -> impl Decoder<R = Position<'_>, Context = ()> {
    // The limit is part of a type. What is not allowed is claimed before anything else is.
    const LIMIT: usize = usize::MAX;
    let mut decoder = DecoderImpl::new(Position { bytes, at: 0 }, config::standard().with_limit::<LIMIT>(), ());
    let allowed = bytes.len().saturating_mul(CLAIMS).saturating_add(room);
    decoder.claim_bytes_read(LIMIT - allowed).expect("it is within the limit");
    decoder
}

/// The next part of the payload.
fn decode_part<'a, P: DeserializeOwned>(
    kind: &Kind,
    decoder: &mut impl Decoder<R = Position<'a>, Context = ()>,
) -> Result<P, Error> {
    let part = <Compat<P> as Decode<()>>::decode(decoder);
    part.map(|Compat(part)| part).map_err(|error| kind.refuse(HEADER + decoder.reader().at, error.to_string()))
}

/// The stored network, if every part has the size that its architecture gives it.
fn restore<T: Scalar>(stored: &StoredNetwork<T>) -> Option<Network<T>> {
    let StoredNetwork { architecture, layers } = stored;
    let sizes = || architecture.layers();
    let fits = sizes().zip(layers).all(|((inputs, outputs), stored)| {
        inputs.checked_mul(outputs) == Some(stored.weight.len()) && stored.bias.len() == outputs
    });
    if !fits || layers.len() != architecture.depth() {
        return None;
    }
    let mut network = Network::zeros(architecture);
    for ((layer, stored), (inputs, outputs)) in network.layers_mut().iter_mut().zip(layers).zip(sizes()) {
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
