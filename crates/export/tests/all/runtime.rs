//! ONNX graphs give klayer's logits.

use klayer_dataset::{FEATURES, Subset};
use klayer_export::{Error, Model, onnx};

use crate::graph::{self, Batch};
use crate::{Training, generated, logits, model, real};

const TOLERANCE: f32 = 1e-4;

/// The logits that the graph gives for `images`, images x classes.
fn run(bytes: &[u8], model: &Model<Training>, input: onnx::Input, images: Subset<'_>) -> Vec<f32> {
    match input {
        onnx::Input::Pixels => graph::logits(bytes, &Batch::Pixels(images)),
        onnx::Input::Normalized => {
            let normalizer = model.normalization.normalizer::<f32>();
            let mut values = vec![0.0; images.len() * FEATURES];
            for (image, values) in images.images().zip(values.chunks_mut(FEATURES)) {
                normalizer.normalize(image, values);
            }
            graph::logits(bytes, &Batch::Normalized(&values))
        }
    }
}

/// The largest distance of two logits, and how many images are classified differently.
fn compare(ours: &(Vec<f32>, Vec<u8>), theirs: &[f32], classes: usize) -> (f32, usize) {
    assert_eq!(ours.0.len(), theirs.len());
    let distance = ours.0.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = |row: &[f32]| (1..classes).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    let different = theirs.chunks(classes).zip(&ours.1).filter(|(row, class)| largest(row) != usize::from(**class));
    (distance, different.count())
}

const ALL: [onnx::Options; 4] = [
    onnx::Options { fold_batch_norm: false, input: onnx::Input::Normalized },
    onnx::Options { fold_batch_norm: false, input: onnx::Input::Pixels },
    onnx::Options { fold_batch_norm: true, input: onnx::Input::Normalized },
    onnx::Options { fold_batch_norm: true, input: onnx::Input::Pixels },
];

#[test]
fn every_form_of_every_network_gives_our_logits_on_a_thousand_test_images() {
    let Some(dataset) = real() else { return };
    let images = dataset.test().slice(0..1000);
    for hidden in [&[][..], &[50], &[50, 50], &[50, 30, 20, 20, 10, 10, 10, 10]] {
        // A large eps too: one that is lost on the way would show.
        for eps in [None, Some(1e-8), Some(0.3)] {
            let model = model(hidden, eps, &dataset);
            let ours = logits(&model, images);
            for options in ALL {
                let bytes = onnx::encode(&model, options).expect("a file");
                let theirs = run(&bytes, &model, options.input, images);
                let (distance, different) = compare(&ours, &theirs, 10);
                let what = format!("{}, {options:?}: {distance:e}", model.network.architecture());
                assert!(distance < TOLERANCE, "{what}");
                assert_eq!(different, 0, "{what}");
                // The graph is the same for any number of images.
                let one = run(&bytes, &model, options.input, images.slice(999..1000));
                assert!(compare(&logits(&model, images.slice(999..1000)), &one, 10).0 < TOLERANCE, "{what}");
            }
        }
    }
}

#[test]
fn a_feature_that_never_varied_is_zero_in_the_graph_too() {
    let dataset = generated();
    let mut model = model(&[5], Some(1e-8), &dataset);
    let (mean, mut deviation) = (model.normalization.mean().to_vec(), model.normalization.deviation().to_vec());
    deviation[17] = 0.0;
    model.normalization = klayer_dataset::Normalization::new(mean, deviation).expect("a normalization");
    let options = ALL[1];
    let theirs = run(&onnx::encode(&model, options).expect("a file"), &model, options.input, dataset.test());
    assert!(compare(&logits(&model, dataset.test()), &theirs, 10).0 < TOLERANCE);
}

#[test]
fn a_statistic_that_is_a_hundredth_off_is_noticed() {
    let dataset = generated();
    let model = model(&[5, 5], Some(1e-8), &dataset);
    let ours = logits(&model, dataset.test());
    let mut other = model.clone();
    for layer in other.network.layers_mut() {
        if let Some(running) = layer.batch_norm.as_mut().and_then(|norm| norm.running.as_mut()) {
            running.mean[0] += 0.01;
        }
    }
    for options in ALL {
        let theirs = run(&onnx::encode(&other, options).expect("a file"), &other, options.input, dataset.test());
        assert!(compare(&ours, &theirs, 10).0 > TOLERANCE, "{options:?}");
    }
}

#[test]
fn what_cannot_be_used_is_not_exported() {
    let good = model(&[4], Some(1e-8), &generated());
    let refused = |change: fn(&mut Model<Training>)| {
        let mut model = good.clone();
        change(&mut model);
        onnx::encode(&model, ALL[2]).expect_err("it cannot be used").to_string()
    };
    let norm = |model: &mut Model<Training>, change: fn(&mut klayer_nn::batch_norm::BatchNorm<f32>)| {
        change(model.network.layers_mut()[0].batch_norm.as_mut().expect("batch norm"));
    };
    assert_eq!(
        refused(|model| model.network.layers_mut()[1].affine.bias[3] = f32::INFINITY),
        "the tensor fc2.bias (10) holds inf at position 3, but a finite number is needed"
    );
    assert_eq!(refused(|model| drop(model.classes.pop())), "9 classes are named, but the network has 10");
    let mut model = good.clone();
    norm(&mut model, |norm| norm.running = None);
    let error = onnx::encode(&model, ALL[0]).expect_err("it is not trained");
    assert_eq!(error.to_string(), "bn1 has no running statistics: the network has not been trained");
    // Folded into its weights, this gamma is beyond f32.
    let mut model = good.clone();
    norm(&mut model, |norm| {
        norm.gamma[2] = f32::MAX;
        norm.running.as_mut().expect("statistics").variance[2] = 0.0;
    });
    assert!(onnx::encode(&model, ALL[0]).is_ok());
    let error = onnx::encode(&model, ALL[2]).expect_err("too large");
    assert!(matches!(&error, Error::Value { name, .. } if name == "fc1.weight"), "{error}");
}
