use std::sync::LazyLock;

use klayer_linalg::{Par, Scalar};
use klayer_nn::model_file::{self, MODEL};
use klayer_nn::{Activation, Error, Network, Workspace};
use proptest::prelude::*;
use proptest::sample::Index;
use sha2::{Digest, Sha256};

use crate::shapes::{Shape, cases, shapes};

/// A network after one mini-batch, and its bytes with metadata.
fn trained<T: Scalar>(shape: &Shape) -> (Network<T>, Vec<u8>) {
    let (mut network, (x, _)) = (shape.network::<T>(), shape.batch::<T>());
    network.forward_train(x.as_ref(), &mut Workspace::new(network.architecture(), shape.images, Par::Seq)).unwrap();
    let bytes = model_file::encode(&MODEL, &network, &[], &metadata()).unwrap();
    (network, bytes)
}

fn metadata() -> (String, u64) {
    ("three numbers and a name".to_owned(), 42)
}

fn logits<T: Scalar>(network: &Network<T>, shape: &Shape) -> Vec<u64> {
    let (x, _) = shape.batch::<T>();
    let mut workspace = Workspace::new(network.architecture(), shape.images, Par::Seq);
    let logits = network.infer(x.as_ref(), &mut workspace).unwrap();
    logits.as_matrix().rows().flatten().map(|logit| logit.to_f64().to_bits()).collect()
}

fn decoded<T: Scalar>(bytes: &[u8]) -> Result<Network<T>, Error> {
    model_file::decode::<T, (String, u64)>(&MODEL, bytes).map(|(network, numbers, found)| {
        assert!(numbers.is_empty());
        assert_eq!(found, metadata());
        network
    })
}

fn round_trip<T: Scalar>(shape: &Shape) {
    let (network, bytes) = trained::<T>(shape);
    let read = decoded::<T>(&bytes).unwrap();
    assert_eq!(read.architecture(), network.architecture());
    assert!(model_file::encode(&MODEL, &read, &[], &metadata()).unwrap() == bytes, "the same bytes");
    assert_eq!(logits(&read, shape), logits(&network, shape));
}

fn small() -> Shape {
    Shape { inputs: 3, hidden: vec![2], images: 6, seed: 5, ..Shape::default() }
}

proptest! {
    #![proptest_config(cases(50))]

    #[test]
    fn models_round_trip_exactly(shape in shapes()) {
        round_trip::<f32>(&shape);
        round_trip::<f64>(&shape);
    }

    #[test]
    fn random_bytes_are_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decoded::<f32>(&bytes).is_err());
    }

    #[test]
    fn damaged_models_are_rejected(shape in shapes(), at in any::<Index>(), change in 1_u8..) {
        assert_damage_is_refused::<f32>(&trained::<f32>(&shape).1, at, change);
        assert_damage_is_refused::<f64>(&trained::<f64>(&shape).1, at, change);
    }

    #[test]
    fn damaged_large_models_are_rejected(at in any::<Index>(), change in 1_u8..) {
        static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let shape = Shape { inputs: 3072, hidden: vec![50, 50], classes: 10, ..small() };
            trained::<f32>(&shape).1
        });
        assert_damage_is_refused::<f32>(&LARGE, at, change);
    }
}

/// Asserts that a file truncated at `at`, or with the byte there changed, is rejected.
fn assert_damage_is_refused<T: Scalar>(bytes: &[u8], at: Index, change: u8) {
    let at = at.index(bytes.len());
    assert!(matches!(decoded::<T>(&bytes[..at]), Err(Error::Format { .. })), "cut off at {at}");
    let mut damaged = bytes.to_vec();
    damaged[at] ^= change;
    let error = decoded::<T>(&damaged).err();
    assert!(matches!(error, Some(Error::Format { .. } | Error::Layout { .. })), "{change:#04x} at {at}");
}

#[test]
fn unknown_activations_in_models_are_rejected() {
    let gelu = Shape { activations: vec![Activation::Gelu], ..small() };
    let bytes = trained::<f32>(&gelu).1;
    assert_eq!(decoded::<f32>(&bytes).unwrap().architecture().activations(), [Activation::Gelu]);
    for (name, reason) in [("f32 gelU", "unknown activation gelU"), ("f32 relu", "standard form")] {
        let error = decoded::<f32>(&sealed(&[&[8], name.as_bytes(), &bytes[61..]].concat())).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let error = decoded::<f64>(&bytes).unwrap_err().to_string();
    assert!(error.contains("f32") && error.contains("f64"), "{error}");
}

#[test]
fn missing_running_statistics_stay_missing() {
    let network = small().network::<f32>();
    let read = decoded::<f32>(&model_file::encode(&MODEL, &network, &[], &metadata()).unwrap()).unwrap();
    assert!(read.layers()[0].batch_norm.as_ref().unwrap().running.is_none());
}

#[test]
fn truncated_files_are_rejected() {
    let (_, bytes) = trained::<f32>(&small());
    for length in 0..bytes.len() {
        let error = decoded::<f32>(&bytes[..length]).unwrap_err();
        assert!(matches!(error, Error::Format { offset, .. } if offset <= length), "{length} bytes: {error}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(decoded::<f32>(&longer).unwrap_err(), Error::Format { offset: 12, .. }));
}

#[test]
fn files_with_any_byte_changed_are_rejected() {
    let (_, bytes) = trained::<f32>(&small());
    for position in 0..bytes.len() {
        for change in 1..=u8::MAX {
            let mut damaged = bytes.clone();
            damaged[position] ^= change;
            let error = decoded::<f32>(&damaged).unwrap_err();
            // Magic, version, length and checksum.
            match (position, error) {
                (8..12, Error::Layout { .. }) => {}
                (_, Error::Format { offset, .. }) => {
                    let part = [0, 12, 20][[8, 20].iter().filter(|&&end| position >= end).count()];
                    assert_eq!(offset, part, "{position}");
                }
                (_, error) => panic!("{position}: {error}"),
            }
        }
    }
}

#[test]
fn the_error_names_a_mismatched_number_type() {
    fn error<Written: Scalar, Asked: Scalar>(shape: &Shape) -> String {
        decoded::<Asked>(&trained::<Written>(shape).1).unwrap_err().to_string()
    }
    // Several sizes, because the result of decoding one type as the other depends on the number of weights.
    for hidden in [vec![], vec![2], vec![50, 3]] {
        let shape = Shape { hidden, ..small() };
        for error in [error::<f32, f64>(&shape), error::<f64, f32>(&shape)] {
            assert!(error.contains("f32") && error.contains("f64"), "{:?}: {error}", shape.hidden);
        }
    }
}

/// Returns a file of `payload` with the correct length and checksum.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [&MODEL.magic[..], &MODEL.version.to_le_bytes(), &length, &Sha256::digest(payload), payload].concat()
}

#[test]
fn damaged_payloads_with_valid_checksums_are_rejected_or_round_trip() {
    let decode = |bytes: &[u8]| model_file::decode::<f32, (String, u64)>(&MODEL, bytes);
    let (_, bytes) = trained::<f32>(&small());
    let payload = &bytes[52..];
    let json = payload.len() - serde_json::to_string(&metadata()).unwrap().len();
    assert!(sealed(payload) == bytes);
    for end in 0..payload.len() {
        assert!(decode(&sealed(&payload[..end])).is_err(), "cut off at {end}");
    }
    let mut models = 0;
    for position in 0..payload.len() {
        for change in 1..=u8::MAX {
            let mut damaged = payload.to_vec();
            damaged[position] ^= change;
            let damaged = sealed(&damaged);
            match decode(&damaged) {
                Ok((network, numbers, metadata)) => {
                    // JSON has several forms of the same metadata; everything else has one.
                    let again = model_file::encode(&MODEL, &network, &numbers, &metadata).unwrap();
                    assert!(again == damaged || position >= json, "byte {position}");
                    models += 1;
                }
                Err(error) => assert!(matches!(error, Error::Format { .. } | Error::Layout { .. }), "{error}"),
            }
        }
    }
    // Any bits are a valid weight.
    assert!(models > 4 * 255 * small().architecture().parameters());
}

/// Sets each length of a string or list in the payload to 2^30.
#[test]
fn false_lengths_allocate_little_memory() {
    let (_, bytes) = trained::<f32>(&small());
    let payload = &bytes[52..];
    // All bytes before the JSON text.
    let json = serde_json::to_string(&metadata()).unwrap().len();
    for position in 0..payload.len() - json {
        let length = [&[0xfc][..], &(1_u32 << 30).to_le_bytes()].concat();
        let lie = sealed(&[&payload[..position], &length, &payload[position + 1..]].concat());
        let mut error = None;
        let taken = allocation_counter::measure(|| error = decoded::<f32>(&lie).err());
        assert!(matches!(error, Some(Error::Format { .. })), "byte {position}: {error:?}");
        // Lists grow by at most 1 MiB at a time while their elements are read.
        assert!(taken.bytes_max < 4 << 20, "byte {position}: {} bytes", taken.bytes_max);
    }
}

/// At most a few times the size of the payload, whatever the declared length of a string or list.
#[test]
fn false_lengths_in_large_payloads_allocate_a_bounded_amount() {
    let (_, bytes) = trained::<f32>(&Shape { inputs: 3072, hidden: vec![100], ..small() });
    let payload = &bytes[52..];
    assert!(payload.len() > 1 << 20);
    // The number type, the widths and the first layer's weights; at the end, the metadata after their one-byte length.
    let json = serde_json::to_string(&metadata()).unwrap().len();
    let text = payload.len() - json - 1;
    assert_eq!(usize::from(payload[text]), json);
    for position in (0..20).chain([text]) {
        for size in [23, 26, 30, 40, 62] {
            let length = [&[0xfd][..], &(1_u64 << size).to_le_bytes()].concat();
            let lie = sealed(&[&payload[..position], &length, &payload[position + 1..]].concat());
            let mut error = None;
            let taken = allocation_counter::measure(|| error = decoded::<f32>(&lie).err());
            assert!(matches!(error, Some(Error::Format { .. })), "2^{size} at byte {position}: {error:?}");
            let most = 6 * payload.len() as u64;
            assert!(taken.bytes_max < most, "2^{size} at byte {position}: {} bytes", taken.bytes_max);
        }
    }
}

#[test]
fn every_encoded_network_can_be_decoded() {
    // The narrowest layers have the most lengths per number.
    for batch_norm in [true, false] {
        let shape = Shape { inputs: 1, hidden: vec![1; 30_000], batch_norm, ..small() };
        assert!(decoded::<f32>(&trained::<f32>(&shape).1).is_ok(), "batch norm: {batch_norm}");
    }
    let (network, numbers) = (small().network::<f32>(), vec![1.5; 1_000_000]);
    let bytes = model_file::encode(&MODEL, &network, &numbers, &"momentum").unwrap();
    let (_, found, metadata) = model_file::decode::<f32, String>(&MODEL, &bytes).unwrap();
    assert!(found == numbers && metadata == "momentum");
}

#[test]
fn errors_quote_files_briefly_and_without_control_characters() {
    let numbers = "\u{1b}[2J\n".repeat(40);
    let payload = [&[numbers.len() as u8][..], numbers.as_bytes()].concat();
    let widths = [&[3][..], b"f32", &[251, 0, 1], &[0; 257]].concat();
    for (payload, word) in [(payload, "\\u{1b}[2J\\n"), (widths, "[0, 0, 0,")] {
        let text = decoded::<f32>(&sealed(&payload)).unwrap_err().to_string();
        assert!(text.contains(word) && !text.contains(char::is_control), "{text}");
        assert!(text.len() < 500, "{text}");
    }
}
