//! Serialization of networks with metadata: the class names of a model, for example, or the state of a training run.
//!
//! | bytes | content |
//! | --- | --- |
//! | 0..8 | magic bytes of the [`Kind`]: `KLAYERNN` for a model |
//! | 8..12 | layout version, little-endian |
//! | 12..20 | length of the payload, little-endian |
//! | 20..52 | SHA-256 of the payload |
//! | 52.. | payload: number type, network, further numbers and metadata, in the standard encoding of bincode 2 |
//!
//! The further numbers are those of the training state that has the network's precision, such as the momentum of every
//! parameter; a model has none. The metadata are JSON, which names its fields: a setting that is added later does not
//! make older files unreadable.
//!
//! The number type is `f32` or `f64`. If any activation is not ReLU, a space and the activations of the hidden layers
//! follow it, as in `f32 modulus,gelu`.
//!
//! The length and the checksum are verified before the payload is decoded. Decoding may claim at most four times the
//! size of the payload plus 64 KiB, so a damaged or malicious file cannot exhaust the memory. [`encode`] returns an
//! error for metadata that exceeds this limit.

use bincode::config;
use bincode::de::read::Reader;
use bincode::de::{Decode, Decoder, DecoderImpl};
use bincode::error::DecodeError;
use bincode::serde::{Compat, encode_to_vec};
use klayer_linalg::Scalar;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::batch_norm::Statistics;
use crate::{Activation, Architecture, Error, Network, Parameter};

/// A kind of file that contains a network. Kinds differ in their metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The name used in error messages.
    pub name: &'static str,
    /// The first bytes of the file.
    pub magic: &'static [u8; 8],
    /// The layout version, incremented with every change of the payload.
    pub version: u32,
}

/// Trained networks.
pub const MODEL: Kind = Kind { name: "model", magic: b"KLAYERNN", version: 2 };
/// Trained networks as written by klayer 0.1: without further numbers, and with metadata in the encoding of bincode.
pub const MODEL_1: Kind = Kind { version: 1, ..MODEL };

/// Size of the header, before the payload, in bytes.
pub const HEADER: usize = 52;
/// Number of bytes that decoding may claim per byte of the payload. A string claims its length before its first byte is
/// read, and an integer claims up to 8 bytes per byte in the file; a network with the narrowest layers claims 3.5.
const CLAIMS: usize = 4;
/// Number of additional bytes that decoding may claim, for payloads of a few integers.
const ROOM: usize = 0x1_0000;

/// Widths and eps of batch norm.
type StoredShape = (Vec<usize>, Option<f64>);

#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Scalar")]
struct StoredLayer<T> {
    /// In the order of [`Parameter::ALL`]; empty if the layer has no such parameters.
    parameters: [Vec<T>; Parameter::ALL.len()],
    running: Option<(Vec<T>, Vec<T>)>,
}

/// Encodes `network`, `numbers` and `metadata` as a file of `kind`.
///
/// # Errors
/// [`Error::Format`] if `metadata` cannot be represented in JSON.
pub fn encode<T: Scalar>(
    kind: &Kind,
    network: &Network<T>,
    numbers: &[T],
    metadata: &impl Serialize,
) -> Result<Vec<u8>, Error> {
    let layers = network.layers().iter().map(|layer| {
        let mut parameters: [Vec<T>; Parameter::ALL.len()] = Default::default();
        for (kind, values) in layer.parameters() {
            parameters[kind as usize].extend(values.iter());
        }
        let running = layer.batch_norm.as_ref().and_then(|norm| norm.running.clone());
        StoredLayer { parameters, running: running.map(|running| (running.mean, running.variance)) }
    });
    let layers: Vec<_> = layers.collect();
    let shape: StoredShape = (network.architecture().widths().to_vec(), network.architecture().batch_norm_eps());
    let refuse = |reason: String| kind.refuse(HEADER, reason);
    let metadata = serde_json::to_string(metadata).map_err(|error| refuse(error.to_string()))?;
    let payload = encode_to_vec((number_type(network), shape, layers, numbers, metadata), config::standard())
        .map_err(|error| refuse(error.to_string()))?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(kind.magic);
    bytes.extend_from_slice(&kind.version.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(&payload));
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// Decodes a network, further numbers and metadata from the `bytes` of a file of `kind`.
///
/// # Errors
/// [`Error::Format`] if the file is truncated, damaged or of another kind; [`Error::Layout`] if it has another layout
/// version or number type.
pub fn decode<T: Scalar, M: DeserializeOwned>(kind: &Kind, bytes: &[u8]) -> Result<(Network<T>, Vec<T>, M), Error> {
    let mut rest = None;
    let network = decode_with(kind, bytes, &mut |decoder| {
        let numbers: Vec<T> = decode_part(kind, decoder)?;
        let metadata: String = decode_part(kind, decoder)?;
        let metadata: M = serde_json::from_str(&metadata)
            .map_err(|error| kind.refuse(HEADER + decoder.reader().at, format!("invalid metadata: {error}")))?;
        rest = Some((numbers, metadata));
        Ok(())
    })?;
    let (numbers, metadata) = rest.expect("decoded after the network");
    Ok((network, numbers, metadata))
}

/// Decodes a network and metadata from the `bytes` of a file of [`MODEL_1`].
///
/// # Errors
/// Those of [`decode`].
pub fn decode_1<T: Scalar, M: DeserializeOwned>(bytes: &[u8]) -> Result<(Network<T>, M), Error> {
    let mut metadata = None;
    let network = decode_with(&MODEL_1, bytes, &mut |decoder| {
        metadata = Some(decode_part(&MODEL_1, decoder)?);
        Ok(())
    })?;
    Ok((network, metadata.expect("decoded after the network")))
}

/// Decodes a network and, with `decode_rest`, what follows it.
fn decode_with<'a, T: Scalar>(
    kind: &Kind,
    bytes: &'a [u8],
    decode_rest: &mut dyn FnMut(&mut Decoding<'a>) -> Result<(), Error>,
) -> Result<Network<T>, Error> {
    let refuse = |offset, reason: String| kind.refuse(offset, reason);
    check_header(kind, bytes, bytes.len() as u64)?;
    let payload = &bytes[HEADER..];
    if Sha256::digest(payload).as_slice() != &bytes[20..HEADER] {
        return Err(refuse(20, "the checksum does not match: the file is damaged".into()));
    }
    let mut decoder = limited(payload, ROOM);
    let number_type: String = decode_part(kind, &mut decoder)?;
    let (scalar, activations) = number_type.split_once(' ').unwrap_or((&number_type, ""));
    if scalar != T::NAME {
        let reason = format!("its numbers are {scalar}, expected {}", T::NAME);
        let known = [f32::NAME, f64::NAME].contains(&scalar);
        return Err(if known { Error::Layout { what: kind.name, reason } } else { refuse(HEADER, reason) });
    }
    let names = activations.split(',').filter(|_| !activations.is_empty());
    let activations = names.map(str::parse).collect::<Result<Vec<Activation>, _>>();
    let activations = activations.map_err(|error| refuse(HEADER, error.to_string()))?;
    let (widths, batch_norm_eps): StoredShape = decode_part(kind, &mut decoder)?;
    let architecture = Architecture::checked(widths, batch_norm_eps, &activations);
    let architecture = architecture.map_err(|error| refuse(HEADER, error.to_string()))?;
    let layers: Vec<StoredLayer<T>> = decode_part(kind, &mut decoder)?;
    decode_rest(&mut decoder)?;
    let end = decoder.reader().at;
    if end != payload.len() {
        return Err(refuse(HEADER + end, "unexpected bytes after the metadata".into()));
    }
    let network = restore::<T>(&architecture, &layers);
    let network = network.ok_or_else(|| refuse(HEADER, "the parameters do not match the widths".into()))?;
    if number_type != self::number_type(&network) {
        return Err(refuse(HEADER, "the activations are not in their standard form".into()));
    }
    Ok(network)
}

/// The first part of the payload.
fn number_type<T: Scalar>(network: &Network<T>) -> String {
    let architecture = network.architecture();
    let names: Vec<_> = architecture.activations().iter().map(|activation| activation.name()).collect();
    if architecture.is_relu() { T::NAME.to_owned() } else { format!("{} {}", T::NAME, names.join(",")) }
}

/// Checks the header of a file of `length` bytes, before the rest is read. `bytes` are its first [`HEADER`] bytes or
/// more.
///
/// # Errors
/// The errors of [`decode`] for the header.
pub fn check_header(kind: &Kind, bytes: &[u8], length: u64) -> Result<(), Error> {
    if bytes.len() < HEADER || &bytes[..8] != kind.magic {
        return Err(kind.refuse(0, "wrong magic bytes".into()));
    }
    let version = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    if version != kind.version {
        let reason = format!("layout version {version} is not supported, expected {}", kind.version);
        return Err(Error::Layout { what: kind.name, reason });
    }
    let promised = u64::from_le_bytes(bytes[12..20].try_into().expect("eight bytes"));
    let found = length - HEADER as u64;
    if promised != found {
        return Err(kind.refuse(12, format!("the header declares {promised} bytes of payload, found {found}")));
    }
    Ok(())
}

/// Returns the size of the whole file, as declared by the header at the start of `bytes`; for a truncated header, the
/// length of `bytes`.
pub fn promised_length(bytes: &[u8]) -> u64 {
    let promised = bytes.get(12..20).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    promised.map_or(bytes.len() as u64, |payload| payload.saturating_add(HEADER as u64))
}

impl Kind {
    fn refuse(&self, offset: usize, reason: String) -> Error {
        Error::Format { what: self.name, reason, offset }
    }
}

/// A decoder of a byte slice.
type Decoding<'a> = DecoderImpl<Position<'a>, Limited, ()>;
/// The limit of bincode is part of a type. Claiming the difference up front sets the actual limit.
type Limited = config::Configuration<config::LittleEndian, config::Varint, config::Limit<{ usize::MAX }>>;

/// A byte slice and the position of the next byte to read.
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

/// Returns a decoder of `bytes` that may claim [`CLAIMS`] times their number plus `room` bytes.
fn limited(bytes: &[u8], room: usize) -> Decoding<'_> {
    // The limit of bincode is part of a type. Claiming the difference up front sets the actual limit.
    const LIMIT: usize = usize::MAX;
    let mut decoder = DecoderImpl::new(Position { bytes, at: 0 }, config::standard().with_limit::<LIMIT>(), ());
    let allowed = bytes.len().saturating_mul(CLAIMS).saturating_add(room);
    decoder.claim_bytes_read(LIMIT - allowed).expect("the claim is within the limit");
    decoder
}

/// Decodes the next part of the payload.
fn decode_part<'a, P: DeserializeOwned>(
    kind: &Kind,
    decoder: &mut impl Decoder<R = Position<'a>, Context = ()>,
) -> Result<P, Error> {
    let part = <Compat<P> as Decode<()>>::decode(decoder);
    part.map(|Compat(part)| part).map_err(|error| kind.refuse(HEADER + decoder.reader().at, error.to_string()))
}

/// Restores a network, or returns `None` if the size of a part does not match the architecture.
fn restore<T: Scalar>(architecture: &Architecture, layers: &[StoredLayer<T>]) -> Option<Network<T>> {
    let [weight, bias] = [Parameter::Weight, Parameter::Bias].map(|kind| kind as usize);
    let fits = architecture.layers().zip(layers).all(|((inputs, outputs), StoredLayer { parameters, .. })| {
        inputs.checked_mul(outputs) == Some(parameters[weight].len()) && parameters[bias].len() == outputs
    });
    // Checked before memory for the network is allocated.
    if !fits || layers.len() != architecture.depth() {
        return None;
    }
    let mut network = Network::zeros(architecture);
    for (layer, stored) in network.layers_mut().iter_mut().zip(layers) {
        let mut expected = [0; Parameter::ALL.len()];
        for (kind, mut values) in layer.parameters_mut() {
            let stored = &stored.parameters[kind as usize];
            expected[kind as usize] = values.len();
            if values.len() == stored.len() {
                values.copy_from_slice(stored);
            }
        }
        if expected != stored.parameters.each_ref().map(Vec::len) {
            return None;
        }
        match (&mut layer.batch_norm, &stored.running) {
            (_, None) => {}
            (Some(norm), Some((mean, variance)))
                if [mean, variance].iter().all(|part| part.len() == norm.gamma.len()) =>
            {
                norm.running = Some(Statistics { mean: mean.clone(), variance: variance.clone() });
            }
            _ => return None,
        }
    }
    Some(network)
}
