//! Serialization of networks with metadata: the class names of a model, for example, or the state of a training run.
//!
//! | bytes | content |
//! | --- | --- |
//! | 0..8 | magic bytes of the [`Kind`]: `KLAYERNN` for a model |
//! | 8..12 | layout version, little-endian |
//! | 12..20 | length of the payload, little-endian |
//! | 20..52 | SHA-256 of the payload |
//! | 52.. | payload: number type, network and metadata, in the standard encoding of bincode 2 |
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
pub const MODEL: Kind = Kind { name: "model", magic: b"KLAYERNN", version: 1 };

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

/// Encodes `network` and `metadata` as a file of `kind`.
///
/// # Errors
/// [`Error::Format`] if `metadata` cannot be encoded or decoded again.
pub fn encode<T, M>(kind: &Kind, network: &Network<T>, metadata: &M) -> Result<Vec<u8>, Error>
where
    T: Scalar,
    M: Serialize + DeserializeOwned,
{
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
    let mut payload = encode_to_vec((number_type(network), shape, layers), config::standard())
        .map_err(|error| refuse(error.to_string()))?;
    let metadata = encode_to_vec(metadata, config::standard()).map_err(|error| refuse(error.to_string()))?;
    // Allows the metadata half of the additional bytes, which leaves the other half to the network.
    let mut again = limited(&metadata, ROOM / 2);
    match decode_part::<M>(kind, &mut again) {
        Ok(_) if again.reader().at == metadata.len() => payload.extend_from_slice(&metadata),
        Ok(_) => return Err(refuse("the metadata does not round-trip".into())),
        Err(error) => return Err(refuse(format!("the metadata cannot be decoded again: {error}"))),
    }
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(kind.magic);
    bytes.extend_from_slice(&kind.version.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(&payload));
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// Decodes a network and its metadata from the `bytes` of a file of `kind`.
///
/// # Errors
/// [`Error::Format`] if the file is truncated, damaged or of another kind; [`Error::Layout`] if it has another layout
/// version or number type.
pub fn decode<T: Scalar, M: DeserializeOwned>(kind: &Kind, bytes: &[u8]) -> Result<(Network<T>, M), Error> {
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
    let metadata = decode_part(kind, &mut decoder)?;
    let end = decoder.reader().at;
    if end != payload.len() {
        return Err(refuse(HEADER + end, "unexpected bytes after the metadata".into()));
    }
    let network = restore::<T>(&architecture, &layers);
    let network = network.ok_or_else(|| refuse(HEADER, "the parameters do not match the widths".into()))?;
    if number_type != self::number_type(&network) {
        return Err(refuse(HEADER, "the activations are not in their standard form".into()));
    }
    Ok((network, metadata))
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
fn limited(bytes: &[u8], room: usize) -> impl Decoder<R = Position<'_>, Context = ()> {
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
