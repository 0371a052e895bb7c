//! Tests of exporting to safetensors and importing again.

use klayer_export::{Error, Model, safetensors};
use klayer_nn::model_file::{self, MODEL};

use crate::{Training, generated, model};

/// The whole model as the bytes of a model file, for comparison.
fn bytes(model: &Model<Training>) -> Vec<u8> {
    let metadata = (model.training.clone(), model.normalization.clone(), model.classes.clone());
    model_file::encode(&MODEL, &model.network, &[], &metadata).expect("bytes")
}

#[test]
fn safetensors_round_trip_to_the_bit() {
    let dataset = generated();
    for hidden in [&[][..], &[7], &[6, 5, 4]] {
        for eps in [None, Some(1e-8), Some(1e-3)] {
            let mut model = model(hidden, eps, &dataset);
            // Numbers that a conversion to another type or to text may change.
            let weights = model.network.layers_mut()[0].affine.weight.row_mut(0);
            weights[..3].copy_from_slice(&[-0.0, f32::from_bits(1), f32::MIN]);
            let file = safetensors::encode(&model).expect("a file");
            assert!(file == safetensors::encode(&model).expect("a file"), "the same model gives the same bytes");
            let back: Model<Training> = safetensors::decode(&file).expect("a model");
            assert!(bytes(&back) == bytes(&model), "{}", model.network.architecture());
        }
    }
}

#[test]
fn tensors_have_the_names_and_shapes_of_pytorch() {
    let model = model(&[7, 6], Some(1e-8), &generated());
    let file = safetensors::encode(&model).expect("a file");
    let tensors = ::safetensors::SafeTensors::deserialize(&file).expect("safetensors");
    let mut found: Vec<_> = tensors.iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect();
    found.sort();
    let norm = |layer: &'static str, width: usize| {
        ["bias", "running_mean", "running_var", "weight"].map(|name| (format!("{layer}.{name}"), vec![width]))
    };
    let affine = |layer: &'static str, inputs: usize, outputs: usize| {
        [(format!("{layer}.bias"), vec![outputs]), (format!("{layer}.weight"), vec![outputs, inputs])]
    };
    let mut expected = [norm("bn1", 7), norm("bn2", 6)].concat();
    expected.extend([affine("fc1", 3072, 7), affine("fc2", 7, 6), affine("fc3", 6, 10)].concat());
    expected.extend(["mean", "std"].map(|name| (format!("normalization.{name}"), vec![3072])));
    let expected: Vec<_> = expected.iter().map(|(name, shape)| (name.as_str(), shape.clone())).collect();
    assert_eq!(found, expected);
}

#[test]
fn non_finite_metadata_is_rejected() {
    let mut model = model(&[4], None, &generated());
    for (lambda, accuracy) in [(f64::NAN, None), (0.1, Some(f64::INFINITY))] {
        model.training = Training { lambda, accuracy, dataset: String::new() };
        let error = safetensors::encode(&model).expect_err("a number is not finite");
        assert!(matches!(error, Error::Metadata { .. }), "{error}");
    }
}
