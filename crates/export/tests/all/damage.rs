//! Tests of damaged and modified safetensors files.

use std::collections::HashMap;
use std::sync::LazyLock;

use ::safetensors::tensor::{Dtype, TensorView};
use ::safetensors::{SafeTensors, serialize};
use klayer_export::{Error, Model, safetensors};
use proptest::prelude::*;

use crate::{Training, generated, model};

static FILE: LazyLock<Vec<u8>> =
    LazyLock::new(|| safetensors::encode(&model(&[4, 3], Some(1e-8), &generated())).expect("a file"));

/// A modifiable tensor.
#[derive(Clone)]
struct Tensor {
    name: String,
    numbers: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The tensors and the metadata of the file.
fn parts() -> (Vec<Tensor>, String) {
    let file = SafeTensors::deserialize(&FILE).expect("a file");
    let tensors = file.iter().map(|(name, tensor)| Tensor {
        name: name.to_owned(),
        numbers: tensor.dtype(),
        shape: tensor.shape().to_vec(),
        bytes: tensor.data().to_vec(),
    });
    let (_, header) = SafeTensors::read_metadata(&FILE).expect("a header");
    (tensors.collect(), header.metadata().as_ref().expect("metadata")["klayer"].clone())
}

fn write(tensors: &[Tensor], metadata: Option<String>) -> Vec<u8> {
    let views = tensors.iter().map(|tensor| {
        (tensor.name.as_str(), TensorView::new(tensor.numbers, tensor.shape.clone(), &tensor.bytes).expect("a tensor"))
    });
    serialize(views, metadata.map(|text| HashMap::from([("klayer".to_owned(), text)]))).expect("a file")
}

fn decode(bytes: &[u8]) -> Result<Model<Training>, Error> {
    safetensors::decode(bytes)
}

/// The error for the file after `change` of the tensor `name`.
fn after(name: &str, change: impl FnOnce(&mut Tensor)) -> String {
    let (mut tensors, metadata) = parts();
    change(tensors.iter_mut().find(|tensor| tensor.name == name).expect("the tensor is there"));
    decode(&write(&tensors, Some(metadata))).expect_err("it is damaged").to_string()
}

#[test]
fn errors_name_the_invalid_tensor_and_its_shape() {
    let number = |position: usize, value: f32| {
        move |tensor: &mut Tensor| tensor.bytes[4 * position..][..4].copy_from_slice(&value.to_le_bytes())
    };
    assert_eq!(
        after("fc2.weight", |tensor| tensor.shape = vec![4, 3]),
        "the tensor fc2.weight has shape 4 x 3, expected 3 x 4"
    );
    assert_eq!(
        after("bn1.bias", |tensor| tensor.shape = vec![2, 2]),
        "the tensor bn1.bias has shape 2 x 2, expected 4"
    );
    assert_eq!(
        after("bn2.weight", |tensor| (tensor.numbers, tensor.shape) = (Dtype::I32, vec![3])),
        "the tensor bn2.weight (3) has type I32, expected F32"
    );
    assert_eq!(
        after("bn2.running_var", number(1, -1.0)),
        "the tensor bn2.running_var (3) has -1 at position 1, expected a finite number of at least 0"
    );
    assert_eq!(
        after("fc1.weight", number(5, f32::NAN)),
        "the tensor fc1.weight (4 x 3072) has NaN at position 5, expected a finite number"
    );
    assert_eq!(
        after("normalization.std", |tensor| tensor.bytes[..8].copy_from_slice(&(-0.5_f64).to_le_bytes())),
        "the tensor normalization.std (3072) has -0.5 at position 0, expected a finite number of at least 0"
    );
    for (tensor, shape) in [("fc3.bias", "10"), ("bn1.running_mean", "4"), ("normalization.mean", "3072")] {
        let renamed = after(tensor, |tensor| tensor.name = "other".to_owned());
        assert_eq!(renamed, format!("the tensor {tensor} ({shape}) is missing"));
    }
}

#[test]
fn extra_tensors_are_rejected_except_those_of_pytorch() {
    let (mut tensors, metadata) = parts();
    let count = Tensor { name: String::new(), numbers: Dtype::I64, shape: vec![], bytes: vec![0; 8] };
    for name in ["bn1.num_batches_tracked", "bn2.num_batches_tracked"] {
        tensors.push(Tensor { name: name.to_owned(), ..count.clone() });
    }
    assert!(decode(&write(&tensors, Some(metadata.clone()))).is_ok());
    tensors.push(Tensor { name: "fc4.\u{1b}[2J".to_owned(), ..count });
    let error = decode(&write(&tensors, Some(metadata))).expect_err("a tensor too many").to_string();
    assert_eq!(error, "unexpected tensor fc4.\\u{1b}[2J");
}

#[test]
fn metadata_that_does_not_match_the_tensors_is_rejected() {
    let (tensors, metadata) = parts();
    let cases = [
        (None, "has no entry \"klayer\""),
        (Some("no JSON".to_owned()), "metadata"),
        (Some(metadata.replace("\"version\":1", "\"version\":9")), "layout version 9 is not supported, expected 1"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,4,4,10]")), "fc2.weight has shape 3 x 4, expected 4 x 4"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,4,3,10,10]")), "the tensor bn3.weight (10) is missing"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,40000,3,10]")), "fc1.weight has shape 4 x 3072"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,4,0,10]")), "every layer needs at least one unit"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,9999999999,3,10]")), "too large"),
        (
            Some(metadata.replace("[3072,4,3,10]", "[3072,4,3,11]")),
            "got 10 class names, but the network has 11 classes",
        ),
        (Some(metadata.replace("1e-8", "null")), "unexpected tensor bn1."),
        (Some(metadata.replace("1e-8", "-1.0")), "eps of batch norm"),
        (Some(metadata.replace("1e-8", "1e999")), "number out of range"),
        (Some(metadata.replace("lambda", "lambada")), "missing field `lambda`"),
    ];
    for (text, expected) in cases {
        assert_ne!(text.as_ref(), Some(&metadata), "{expected}: the case changes nothing");
        let error = decode(&write(&tensors, text)).expect_err(expected).to_string();
        assert!(error.contains(expected) && error.lines().count() == 1, "{expected}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Most errors are in the header, which is a hundredth of the file.
    #[test]
    fn damaged_files_are_rejected_or_decode_to_a_valid_model(
        header in prop::collection::vec((0_usize..2_200, any::<u8>()), 0..4),
        anywhere in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = FILE.clone();
        for (position, byte) in header {
            bytes[position] = byte;
        }
        for (position, byte) in anywhere {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        match decode(&bytes) {
            // A changed number in a tensor gives another valid model, which must round-trip.
            Ok(model) => {
                let again = safetensors::encode(&model).expect("it can be used");
                let back = decode(&again).expect("it is a file");
                prop_assert_eq!(back.network.architecture(), model.network.architecture());
                prop_assert_eq!(safetensors::encode(&back).expect("it can be used"), again);
            }
            Err(error) => {
                let text = error.to_string();
                prop_assert!(text.lines().count() == 1 && text.len() < 1000, "{}", text);
            }
        }
    }
}
