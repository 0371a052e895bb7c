use klayer_linalg::{Par, Scalar};
use klayer_nn::model_file::{self, MODEL};
use klayer_nn::{Error, Init, Network, Workspace};
use proptest::prelude::*;

use crate::shapes::{Shape, cases, shapes};

/// A network that has seen one mini-batch, as bytes, with metadata.
fn trained<T: Scalar>(shape: &Shape) -> (Network<T>, Vec<u8>) {
    let (mut network, (x, _)) = (shape.network::<T>(), shape.batch::<T>());
    network.forward_train(x.as_ref(), &mut Workspace::new(network.architecture(), shape.images, Par::Seq)).unwrap();
    let bytes = model_file::encode(&MODEL, &network, &metadata()).unwrap();
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
    model_file::decode::<T, (String, u64)>(&MODEL, bytes).map(|(network, found)| {
        assert_eq!(found, metadata());
        network
    })
}

fn round_trip<T: Scalar>(shape: &Shape) {
    let (network, bytes) = trained::<T>(shape);
    let read = decoded::<T>(&bytes).unwrap();
    assert_eq!(read.architecture(), network.architecture());
    assert!(model_file::encode(&MODEL, &read, &metadata()).unwrap() == bytes, "the same bytes");
    assert_eq!(logits(&read, shape), logits(&network, shape));
}

fn small() -> Shape {
    Shape { inputs: 3, hidden: vec![2], classes: 2, batch_norm: true, init: Init::He, images: 6, seed: 5 }
}

proptest! {
    #![proptest_config(cases(50))]

    #[test]
    fn a_model_comes_back_with_the_same_bits_and_logits(shape in shapes()) {
        round_trip::<f32>(&shape);
        round_trip::<f64>(&shape);
    }

    #[test]
    fn bytes_that_are_no_model_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decoded::<f32>(&bytes).is_err());
    }
}

#[test]
fn running_statistics_that_are_not_there_yet_stay_so() {
    let network = small().network::<f32>();
    let read = decoded::<f32>(&model_file::encode(&MODEL, &network, &metadata()).unwrap()).unwrap();
    assert!(read.layers()[0].batch_norm.as_ref().unwrap().running.is_none());
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let (_, bytes) = trained::<f32>(&small());
    for length in 0..bytes.len() {
        let error = decoded::<f32>(&bytes[..length]).unwrap_err();
        assert!(matches!(error, Error::Format { offset, .. } if offset <= length), "{length} bytes: {error}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(decoded::<f32>(&longer).unwrap_err(), Error::Format { offset: 12, .. }));
}

#[test]
fn a_file_with_any_byte_changed_is_refused() {
    let (_, bytes) = trained::<f32>(&small());
    for position in 0..bytes.len() {
        // One bit, another one, all.
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[position] ^= change;
            let error = decoded::<f32>(&damaged).unwrap_err();
            // Magic, version, length and checksum.
            let offset = [0, 8, 12, 20][[8, 12, 20].iter().filter(|&&end| position >= end).count()];
            assert!(matches!(error, Error::Format { offset: found, .. } if found == offset), "{position}: {error}");
        }
    }
}

#[test]
fn a_file_of_other_numbers_is_refused_by_their_name() {
    fn error<Written: Scalar, Asked: Scalar>(shape: &Shape) -> String {
        decoded::<Asked>(&trained::<Written>(shape).1).unwrap_err().to_string()
    }
    // Of several sizes: what the numbers of one type look like in the other depends on how many there are.
    for hidden in [vec![], vec![2], vec![50, 3]] {
        let shape = Shape { hidden, ..small() };
        for error in [error::<f32, f64>(&shape), error::<f64, f32>(&shape)] {
            assert!(error.contains("f32") && error.contains("f64"), "{:?}: {error}", shape.hidden);
        }
    }
}
