//! Tests that exported ONNX graphs give the logits of klayer.

use klayer_dataset::{Normalize, Subset};
use klayer_export::{Error, Model, onnx};
use klayer_nn::Activation;

use crate::graph::{self, Batch};
use crate::{Training, generated, logits, model, model_of, real};

const TOLERANCE: f32 = 1e-4;

/// The logits of the graph for `images`, images x classes.
fn run(bytes: &[u8], model: &Model<Training>, input: onnx::Input, images: Subset<'_>) -> Vec<f32> {
    match input {
        onnx::Input::Pixels => graph::logits(bytes, &Batch::Pixels(images)),
        onnx::Input::Normalized => {
            let normalizer = model.normalization.normalizer::<f32>();
            let mut values = vec![0.0; images.len() * images.shape().features()];
            if model.normalization.whitening().is_some() {
                let mean = model.normalization.mean().iter().cycle();
                let pixels = images.images().flatten().zip(mean).map(|(&p, mean)| (f64::from(p) / 255.0 - mean) as f32);
                return graph::logits(bytes, &Batch::Normalized(&pixels.collect::<Vec<_>>()));
            }
            for (image, values) in images.images().zip(values.chunks_mut(images.shape().features())) {
                normalizer.normalize(image, values);
            }
            graph::logits(bytes, &Batch::Normalized(&values))
        }
    }
}

/// The largest difference between logits, and the number of images classified differently.
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
fn exported_graphs_give_the_same_logits_and_classes() {
    let Some(dataset) = real() else { return };
    for hidden in [&[][..], &[50], &[50, 50], &[50, 30, 20, 20, 10, 10, 10, 10]] {
        // A large eps shows whether eps is exported.
        for eps in [None, Some(1e-8), Some(0.3)] {
            let model = model(hidden, eps, &dataset);
            let images = dataset.test().first(if eps == Some(1e-8) { 1000 } else { 100 });
            let ours = logits(&model, images);
            for options in ALL {
                let bytes = onnx::encode(&model, options).expect("a file");
                let theirs = run(&bytes, &model, options.input, images);
                let (distance, different) = compare(&ours, &theirs, 10);
                let what = format!("{}, {options:?}: {distance:e}", model.network.architecture());
                assert!(distance < TOLERANCE, "{what}");
                assert_eq!(different, 0, "{what}");
                // The batch size is dynamic.
                let one = run(&bytes, &model, options.input, images.slice(99..100));
                assert!(compare(&logits(&model, images.slice(99..100)), &one, 10).0 < TOLERANCE, "{what}");
            }
        }
    }
}

#[test]
fn graphs_of_every_activation_and_normalization_give_the_same_logits() {
    let Some(dataset) = real() else { return };
    let whitens = [Normalize::Channel, Normalize::Whiten { eps: 0.3 }];
    let cases = [
        (vec![Activation::Gelu], Normalize::Feature, Some(1e-8)),
        (vec![Activation::Modulus, Activation::Gelu], whitens[0], None),
        (vec![Activation::Modulus, Activation::Relu], whitens[1], Some(1e-8)),
    ];
    let images = dataset.test().first(100);
    for (activations, normalize, eps) in cases {
        let model = model_of(&[40, 20], eps, &activations, normalize, &dataset);
        let ours = logits(&model, images);
        for options in ALL {
            let bytes = onnx::encode(&model, options).expect("a file");
            let (distance, different) = compare(&ours, &run(&bytes, &model, options.input, images), 10);
            let what = format!("{}, {normalize}, {options:?}: {distance:e}", model.network.architecture());
            assert!(distance < TOLERANCE && different == 0, "{what}");
        }
    }
}

#[test]
fn constant_features_are_zero_in_the_graph() {
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
fn the_comparison_detects_a_slightly_wrong_statistic() {
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
fn invalid_models_are_not_exported() {
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
        "the tensor fc2.bias (10) has inf at position 3, expected a finite number"
    );
    assert_eq!(refused(|model| drop(model.classes.pop())), "got 9 class names, but the network has 10 classes");
    let mut model = good.clone();
    norm(&mut model, |norm| norm.running = None);
    let error = onnx::encode(&model, ALL[0]).expect_err("it is not trained");
    assert_eq!(error.to_string(), "bn1 has no running statistics: the network has not been trained");
    // Folded into the weights, this gamma overflows f32.
    let mut model = good.clone();
    norm(&mut model, |norm| {
        norm.gamma[2] = f32::MAX;
        norm.running.as_mut().expect("statistics").variance[2] = 0.0;
    });
    assert!(onnx::encode(&model, ALL[0]).is_ok());
    let error = onnx::encode(&model, ALL[2]).expect_err("too large");
    assert!(matches!(&error, Error::Value { name, .. } if name == "fc1.weight"), "{error}");
}
