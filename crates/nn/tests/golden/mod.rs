//! Reads `golden.json`, which `make_golden.py` computes from the definitions, independently of klayer.

use klayer_linalg::random::stream;
use klayer_linalg::{ColMajor, Par, RowMajor, Scalar};
use klayer_nn::{Activation, Architecture, Init, Network, Objective, Workspace};
use serde::Deserialize;

/// A network, images (a row each in the file, a column each in the matrix) and the expected results.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) widths: Vec<usize>,
    pub(crate) batch_norm: bool,
    pub(crate) activations: Vec<Activation>,
    pub(crate) dropout: f64,
    pub(crate) smoothing: f64,
    pub(crate) mask_seed: u64,
    pub(crate) layers: Vec<Parameters>,
    pub(crate) images: Vec<Vec<f64>>,
    pub(crate) labels: Vec<u8>,
    pub(crate) pass: Pass,
    pub(crate) training: Training,
}

/// The parameters of a layer, or their gradients.
#[derive(Deserialize)]
pub(crate) struct Parameters {
    pub(crate) weight: Vec<Vec<f64>>,
    pub(crate) bias: Vec<f64>,
    #[serde(default)]
    pub(crate) gamma: Vec<f64>,
    #[serde(default)]
    pub(crate) beta: Vec<f64>,
}

/// The running statistics of a hidden layer; empty without batch norm.
#[derive(Deserialize)]
pub(crate) struct Running {
    #[serde(default)]
    pub(crate) mean: Vec<f64>,
    #[serde(default)]
    pub(crate) variance: Vec<f64>,
}

/// A forward and backward pass in step 0 on the first `images` images, then inference on all. Logits have one row per image.
#[derive(Deserialize)]
pub(crate) struct Pass {
    pub(crate) images: usize,
    pub(crate) logits: Vec<Vec<f64>>,
    pub(crate) loss: f64,
    pub(crate) objective: f64,
    pub(crate) gradients: Vec<Parameters>,
    pub(crate) running: Vec<Running>,
    pub(crate) infer_logits: Vec<Vec<f64>>,
}

/// Training on mini-batches of `batch` images, cycling through the images, then inference on all.
#[derive(Deserialize)]
pub(crate) struct Training {
    pub(crate) eta_min: f64,
    pub(crate) eta_max: f64,
    pub(crate) n_s: u64,
    pub(crate) lambda: f64,
    pub(crate) batch: usize,
    pub(crate) losses: Vec<f64>,
    pub(crate) costs: Vec<f64>,
    pub(crate) layers: Vec<Parameters>,
    pub(crate) running: Vec<Running>,
    pub(crate) infer_logits: Vec<Vec<f64>>,
}

/// All cases of the file.
pub(crate) fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("golden.json")).expect("golden.json is valid")
}

impl Case {
    pub(crate) fn network<T: Scalar>(&self) -> Network<T> {
        let [inputs, hidden @ .., classes] = &self.widths[..] else { panic!("widths") };
        let architecture = Architecture::new(*inputs, hidden, *classes, self.batch_norm).unwrap();
        let architecture = architecture.with_activations(&self.activations).unwrap();
        let mut network = Network::new(&architecture, Init::He, &mut stream(0, "overwritten")).unwrap();
        for (layer, golden) in network.layers_mut().iter_mut().zip(&self.layers) {
            let rounded = |values: &[f64]| values.iter().map(|&value| T::from_f64(value)).collect::<Vec<T>>();
            let (outputs, inputs) = (golden.bias.len(), golden.weight[0].len());
            layer.affine.weight = RowMajor::from_rows(outputs, inputs, &rounded(&golden.weight.concat()));
            layer.affine.bias = rounded(&golden.bias);
            if let Some(batch_norm) = &mut layer.batch_norm {
                batch_norm.gamma = rounded(&golden.gamma);
                batch_norm.beta = rounded(&golden.beta);
            }
        }
        network
    }

    /// A workspace with the objective of the case.
    pub(crate) fn workspace<T: Scalar>(&self, network: &Network<T>, images: usize) -> Workspace<T> {
        let mut workspace = Workspace::new(network.architecture(), images, Par::Seq);
        let objective = Objective::default().with_dropout(self.dropout, self.mask_seed).unwrap();
        workspace.set_objective(objective.with_smoothing(self.smoothing).unwrap());
        workspace
    }

    /// `count` images, starting at `first`, and their labels.
    pub(crate) fn batch<T: Scalar>(&self, first: usize, count: usize) -> (ColMajor<T>, &[u8]) {
        let mut images = ColMajor::zeros(self.widths[0], count);
        for (j, image) in self.images[first..first + count].iter().enumerate() {
            for (to, &from) in images.col_mut(j).iter_mut().zip(image) {
                *to = T::from_f64(from);
            }
        }
        (images, &self.labels[first..first + count])
    }
}

/// Asserts that values agree within `tolerance`, relative to the larger of the golden value and 0.01.
#[track_caller]
pub(crate) fn assert_near<T: Scalar>(found: &[T], golden: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), golden.len(), "{what}");
    for (found, golden) in found.iter().zip(golden) {
        let error = (found.to_f64() - golden).abs() / golden.abs().max(0.01);
        assert!(error <= tolerance, "{what}: {found} is not {golden} (off by {error:.1e})");
    }
}

/// Asserts that logits (classes x n) agree with the golden ones (one row per image).
#[track_caller]
pub(crate) fn assert_logits<T: Scalar>(found: &RowMajor<T>, golden: &[Vec<f64>], tolerance: f64, what: &str) {
    assert_eq!(found.ncols(), golden.len(), "{what}");
    for (j, golden) in golden.iter().enumerate() {
        let column: Vec<T> = found.rows().map(|row| row[j]).collect();
        assert_near(&column, golden, tolerance, what);
    }
}

/// Asserts that the running statistics of a network agree with the golden ones.
#[track_caller]
pub(crate) fn assert_running<T: Scalar>(network: &Network<T>, golden: &[Running], tolerance: f64, what: &str) {
    for (layer, golden) in network.layers().iter().zip(golden) {
        let running = layer.batch_norm.as_ref().and_then(|batch_norm| batch_norm.running.clone());
        let (mean, variance) = running.map_or((Vec::new(), Vec::new()), |running| (running.mean, running.variance));
        assert_near(&mean, &golden.mean, tolerance, what);
        assert_near(&variance, &golden.variance, tolerance, what);
    }
}
