//! Tests of exported files: they run in an ONNX runtime, and can be imported again.

mod damage;
mod graph;
mod round_trip;
mod runtime;

use klayer_dataset::{Dataset, Features, Format, Normalization, Normalize, Sizes, Subset};
use klayer_export::Model;
use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::{Par, RowMajor};
use klayer_nn::{Activation, Architecture, Init, Network, Workspace};
use serde::{Deserialize, Serialize};

/// A stand-in for the settings and results of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Training {
    lambda: f64,
    accuracy: Option<f64>,
    dataset: String,
}

/// The images of CIFAR-10, if available.
fn real() -> Option<Dataset> {
    let folder = klayer_tests::cifar10()?;
    Some(Dataset::open(Format::Cifar10, &folder, &()).expect("CIFAR-10"))
}

/// Generated images, for tests that work with any images.
fn generated() -> Dataset {
    let sizes = Sizes { training: 300, validation: 10, test: 10 };
    Dataset::generate(42, sizes, "generated", &()).expect("images")
}

/// A ReLU network with running statistics of `dataset` and random parameters.
fn model(hidden: &[usize], eps: Option<f64>, dataset: &Dataset) -> Model<Training> {
    model_of(hidden, eps, &[Activation::Relu], Normalize::Feature, dataset)
}

/// A network with running statistics of `dataset` and random parameters.
fn model_of(
    hidden: &[usize],
    eps: Option<f64>,
    activations: &[Activation],
    normalize: Normalize,
    dataset: &Dataset,
) -> Model<Training> {
    let classes = dataset.class_names();
    let architecture =
        Architecture::new(dataset.shape().features(), hidden, classes.len(), eps.is_some()).expect("an architecture");
    let architecture =
        eps.map_or(Ok(architecture.clone()), |eps| architecture.with_batch_norm_eps(eps)).expect("an eps");
    let architecture = architecture.with_activations(activations).expect("activations");
    let mut rng = stream(7, "test");
    let mut network = Network::<f32>::new(&architecture, Init::He, &mut rng).expect("a network");
    let mut around = |values: &mut [f32], middle: f32| {
        let mut noise = RowMajor::<f32>::zeros(1, values.len());
        fill_normal(&mut noise, 0.5, &mut rng);
        for (value, noise) in values.iter_mut().zip(noise.row(0)) {
            *value = middle + noise;
        }
    };
    for layer in network.layers_mut() {
        around(&mut layer.affine.bias, 0.1);
        if let Some(norm) = &mut layer.batch_norm {
            around(&mut norm.gamma, 1.0);
            around(&mut norm.beta, 0.1);
        }
    }
    let training = dataset.training();
    let normalization = Normalization::fit(normalize, training).expect("a normalization");
    let normalizer = normalization.normalizer::<f32>();
    let (mut workspace, mut features) = (Workspace::new(&architecture, 100, Par::Seq), Features::default());
    for start in [0, 100, 200] {
        let images: Vec<_> = training.slice(start..start + 100).images().collect();
        network
            .forward_train(normalizer.batch(&images, &mut features, &Par::Seq), &mut workspace)
            .expect("a forward pass");
    }
    let training = Training { lambda: 0.1 + 0.2, accuracy: Some(1.0 / 3.0), dataset: dataset.sha256().to_owned() };
    let classes = classes.to_vec();
    Model { network, normalization, classes, training }
}

/// The logits of `model` for `images`, images x classes, and its predictions.
fn logits(model: &Model<Training>, images: Subset<'_>) -> (Vec<f32>, Vec<u8>) {
    let n = images.len();
    let images: Vec<_> = images.images().collect();
    let normalizer = model.normalization.normalizer();
    let mut workspace = Workspace::new(model.network.architecture(), n, Par::Seq);
    let mut features = Features::default();
    let images = normalizer.batch(&images, &mut features, &Par::Seq);
    let logits = model.network.infer(images, &mut workspace).expect("logits");
    let mut classes = vec![0; n];
    logits.predict(&mut classes);
    let matrix = logits.as_matrix();
    ((0..n).flat_map(|j| matrix.rows().map(move |row| row[j])).collect(), classes)
}
