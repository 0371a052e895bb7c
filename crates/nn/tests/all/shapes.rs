//! Random networks and mini-batches.

use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::{ColMajor, Par, RowMajor, Scalar};
use klayer_nn::{Activation, Architecture, Init, Network, Objective, Workspace};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};
use rand::RngExt;

/// The parameters of a random network and mini-batch.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) inputs: usize,
    pub(crate) hidden: Vec<usize>,
    pub(crate) classes: usize,
    pub(crate) batch_norm: bool,
    pub(crate) init: Init,
    pub(crate) images: usize,
    pub(crate) seed: u64,
    pub(crate) activations: Vec<Activation>,
    pub(crate) objective: Objective,
}

impl Default for Shape {
    /// 4 inputs, 3 hidden units with batch norm and ReLU, 2 classes, 8 images.
    fn default() -> Self {
        Self {
            inputs: 4,
            hidden: vec![3],
            classes: 2,
            batch_norm: true,
            init: Init::He,
            images: 8,
            seed: 1,
            activations: vec![Activation::Relu],
            objective: Objective::default(),
        }
    }
}

/// `cases` random cases from a fixed seed, because a tolerance may fail once in a million draws.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(42), failure_persistence: None, ..Config::default() }
}

/// Networks of 1 to 4 layers with batches of 8 to 13 images. With fewer inputs or images, some variances are nearly 0
/// and the loss curves within a step, which makes the differences (not the gradients) inaccurate. Half of the networks
/// have only ReLU, and half have neither dropout nor label smoothing.
pub(crate) fn shapes() -> impl Strategy<Value = Shape> {
    let init = prop_oneof![Just(Init::He), (0.2..0.8).prop_map(|sigma| Init::Normal { sigma })];
    let activations = prop_oneof![Just(vec![Activation::Relu; 3]), vec(select(&Activation::ALL), 3)];
    let objective = prop_oneof![Just((0.0, 0.0)), (0.0..0.5, 0.0..0.5)];
    let sizes = (3..9_usize, vec(3..8_usize, 0..4), 2..6_usize, 8..14_usize);
    (sizes, any::<bool>(), init, any::<u64>(), activations, objective).prop_map(
        |((inputs, mut hidden, classes, images), batch_norm, init, seed, mut activations, (dropout, smoothing))| {
            for (units, activation) in hidden.iter_mut().zip(&activations) {
                *units *= activation.units_per_output();
            }
            activations.truncate(hidden.len());
            let objective = Objective::default().with_dropout(dropout, seed).unwrap();
            let objective = objective.with_smoothing(smoothing).unwrap();
            Shape { inputs, hidden, classes, batch_norm, init, images, seed, activations, objective }
        },
    )
}

impl Shape {
    pub(crate) fn architecture(&self) -> Architecture {
        let architecture = Architecture::new(self.inputs, &self.hidden, self.classes, self.batch_norm).unwrap();
        architecture.with_activations(&self.activations).unwrap()
    }

    /// A workspace with the objective of the shape, in step 0.
    pub(crate) fn workspace<T: Scalar>(&self) -> Workspace<T> {
        let mut workspace = Workspace::new(&self.architecture(), self.images, Par::Seq);
        workspace.set_objective(self.objective);
        workspace
    }

    /// The network. Its biases, gammas and betas are also random, because values of 0 and 1 could hide a bug.
    pub(crate) fn network<T: Scalar>(&self) -> Network<T> {
        let mut network = Network::new(&self.architecture(), self.init, &mut stream(self.seed, "init")).unwrap();
        let mut rng = stream(self.seed, "biases");
        let mut near = |center: f64| T::from_f64(center + rng.random_range(-0.4..0.4));
        for layer in network.layers_mut() {
            layer.affine.bias.iter_mut().for_each(|p| *p = near(0.0));
            if let Some(batch_norm) = &mut layer.batch_norm {
                batch_norm.gamma.iter_mut().for_each(|p| *p = near(1.0));
                batch_norm.beta.iter_mut().for_each(|p| *p = near(0.1));
            }
        }
        network
    }

    /// Standard normal images and random labels.
    pub(crate) fn batch<T: Scalar>(&self) -> (ColMajor<T>, Vec<u8>) {
        let mut rng = stream(self.seed, "images");
        let mut rows = RowMajor::zeros(self.images, self.inputs);
        fill_normal(&mut rows, 1.0, &mut rng);
        let mut images = ColMajor::zeros(self.inputs, self.images);
        for (j, image) in rows.rows().enumerate() {
            images.col_mut(j).copy_from_slice(image);
        }
        let labels = (0..self.images).map(|_| rng.random_range(0..self.classes) as u8).collect();
        (images, labels)
    }
}
