//! Safetensors files that are not what was exported.

use std::collections::HashMap;
use std::sync::LazyLock;

use ::safetensors::tensor::{Dtype, TensorView};
use ::safetensors::{SafeTensors, serialize};
use klayer_export::{Error, Model, safetensors};
use proptest::prelude::*;

use crate::{Training, generated, model};

static FILE: LazyLock<Vec<u8>> =
    LazyLock::new(|| safetensors::encode(&model(&[4, 3], Some(1e-8), &generated())).expect("a file"));

/// A tensor that can be changed.
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

/// What is said of the file after `change` of the tensor `name`.
fn after(name: &str, change: impl FnOnce(&mut Tensor)) -> String {
    let (mut tensors, metadata) = parts();
    change(tensors.iter_mut().find(|tensor| tensor.name == name).expect("the tensor is there"));
    decode(&write(&tensors, Some(metadata))).expect_err("it is damaged").to_string()
}

#[test]
fn a_tensor_that_does_not_belong_is_named_with_its_shape() {
    let number = |position: usize, value: f32| {
        move |tensor: &mut Tensor| tensor.bytes[4 * position..][..4].copy_from_slice(&value.to_le_bytes())
    };
    assert_eq!(
        after("fc2.weight", |tensor| tensor.shape = vec![4, 3]),
        "the tensor fc2.weight is 4 x 3, but 3 x 4 is needed"
    );
    assert_eq!(after("bn1.bias", |tensor| tensor.shape = vec![2, 2]), "the tensor bn1.bias is 2 x 2, but 4 is needed");
    assert_eq!(
        after("bn2.weight", |tensor| (tensor.numbers, tensor.shape) = (Dtype::I32, vec![3])),
        "the tensor bn2.weight (3) holds I32 numbers, but F32 are needed"
    );
    assert_eq!(
        after("bn2.running_var", number(1, -1.0)),
        "the tensor bn2.running_var (3) holds -1 at position 1, but a finite number, not below 0, is needed"
    );
    assert_eq!(
        after("fc1.weight", number(5, f32::NAN)),
        "the tensor fc1.weight (4 x 3072) holds NaN at position 5, but a finite number is needed"
    );
    assert_eq!(
        after("normalization.std", |tensor| tensor.bytes[..8].copy_from_slice(&(-0.5_f64).to_le_bytes())),
        "the tensor normalization.std (3072) holds -0.5 at position 0, but a finite number, not below 0, is needed"
    );
    for (tensor, shape) in [("fc3.bias", "10"), ("bn1.running_mean", "4"), ("normalization.mean", "3072")] {
        let renamed = after(tensor, |tensor| tensor.name = "other".to_owned());
        assert_eq!(renamed, format!("the tensor {tensor} ({shape}) is missing"));
    }
}

#[test]
fn a_tensor_too_many_is_refused_but_not_what_pytorch_adds() {
    let (mut tensors, metadata) = parts();
    let count = Tensor { name: String::new(), numbers: Dtype::I64, shape: vec![], bytes: vec![0; 8] };
    for name in ["bn1.num_batches_tracked", "bn2.num_batches_tracked"] {
        tensors.push(Tensor { name: name.to_owned(), ..count.clone() });
    }
    assert!(decode(&write(&tensors, Some(metadata.clone()))).is_ok());
    tensors.push(Tensor { name: "fc4.\u{1b}[2J".to_owned(), ..count });
    let error = decode(&write(&tensors, Some(metadata))).expect_err("a tensor too many").to_string();
    assert_eq!(error, "there is a tensor fc4.\\u{1b}[2J that the network has no place for");
}

#[test]
fn metadata_that_do_not_describe_the_tensors_are_refused() {
    let (tensors, metadata) = parts();
    let cases = [
        (None, "has no entry \"klayer\""),
        (Some("no JSON".to_owned()), "metadata"),
        (Some(metadata.replace("\"version\":1", "\"version\":9")), "version 9, and only 1"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,4,4,10]")), "fc2.weight is 3 x 4, but 4 x 4 is needed"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,4,3,10,10]")), "the tensor bn3.weight (10) is missing"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,40000,3,10]")), "fc1.weight is 4 x 3072"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,4,0,10]")), "every layer needs at least one unit"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,9999999999,3,10]")), "too large"),
        (Some(metadata.replace("[3072,4,3,10]", "[3072,4,3,11]")), "10 classes are named, but the network has 11"),
        (Some(metadata.replace("1e-8", "null")), "there is a tensor bn1."),
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

    /// Most of what can go wrong stands in the header, which is a hundredth of the file.
    #[test]
    fn a_file_that_is_damaged_anywhere_is_refused_or_a_whole_model(
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
            // Another number in a tensor is another model, but one that can be used: it is exported as it was read.
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
