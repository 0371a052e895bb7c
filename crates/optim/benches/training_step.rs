//! Benchmarks of a training step and its parts, on one thread, for the networks of the report, and of the products of
//! wide layers.
//!
//! With 100 images, the images fit in a cache; with 45,000, they come from memory in shuffled order, as in training.
//!
//! The throughput of products is in operations (a multiply-add counts as two), that of whole steps in images, and that
//! of all other parts in elements processed.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use klayer_linalg::product::{self, Inputs, Scratch};
use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::softmax::softmax;
use klayer_linalg::{ColMajor, Images, Par, Pixels, RowMajor};
use klayer_nn::batch_norm::{BatchNorm, BatchNormGradient, Statistics};
use klayer_nn::{Architecture, Init, Network, Workspace};
use klayer_optim::{L2, Optimizer, Sgd};

/// Number of images in a mini-batch.
const BATCH: usize = 100;
/// Number of features of an image.
const FEATURES: usize = 3072;
/// The layers of the networks in the report, as (units, inputs, images). The inputs of the first are images.
const LAYERS: [Layer; 8] = [
    (50, FEATURES, BATCH),
    (50, 50, BATCH),
    (30, 50, BATCH),
    (20, 30, BATCH),
    (20, 20, BATCH),
    (10, 20, BATCH),
    (10, 10, BATCH),
    (10, 50, BATCH),
];
/// Wide layers, of which the first four take images.
const WIDE: [Layer; 8] = [
    (200, FEATURES, BATCH),
    (1000, FEATURES, BATCH),
    (1000, FEATURES, 500),
    (2048, FEATURES, 500),
    (200, 200, BATCH),
    (1000, 1000, BATCH),
    (1024, 2048, 500),
    (512, 1024, 500),
];
type Layer = (usize, usize, usize);
/// Number of images that exceeds every cache.
const MANY: usize = 45_000;

fn main() {
    divan::main();
}

fn normal(rows: usize, cols: usize) -> RowMajor<f32> {
    let mut matrix = RowMajor::zeros(rows, cols);
    fill_normal(&mut matrix, 1.0, &mut stream(42, "benchmark"));
    matrix
}

/// Images as bytes in shuffled order, and their normalization.
struct Bytes {
    images: Vec<&'static [u8]>,
    /// The first image of the next mini-batch.
    next: usize,
    /// Number of images in a mini-batch.
    batch: usize,
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl Bytes {
    fn new(features: usize, images: usize, batch: usize) -> Self {
        let bytes: &[u8] = (0..images * features).map(|i| (i * i / 7 % 256) as u8).collect::<Vec<_>>().leak();
        let in_order: Vec<_> = bytes.chunks_exact(features).collect();
        Self {
            // A step coprime to the number of images visits all of them.
            images: (0..images).map(|i| in_order[i * 7919 % images]).collect(),
            next: 0,
            batch,
            mean: vec![128.0; features],
            scale: vec![0.02; features],
        }
    }

    /// The next mini-batch; starts over after the last.
    fn next(&mut self) -> Pixels<'_, f32> {
        let start = self.next;
        self.next = (start + self.batch) % self.images.len();
        Pixels::new(&self.images[start..start + self.batch], &self.mean, &self.scale)
    }
}

fn operations((units, inputs, images): Layer) -> ItemsCount {
    ItemsCount::new(2 * units * inputs * images)
}

/// Scratch memory of a first layer, or of a hidden layer: then the network has a small first layer.
fn scratch((units, inputs, images): Layer) -> Scratch<f32> {
    let first = (inputs != FEATURES).then_some((1, 1));
    Scratch::new(first.into_iter().chain([(inputs, units)]), images, &Par::Seq)
}

/// The inputs of a layer: images, or the outputs of a hidden layer.
struct LayerInputs(Bytes, RowMajor<f32>);

impl LayerInputs {
    fn new((_, inputs, images): Layer) -> Self {
        Self(Bytes::new(inputs, images, images), normal(inputs, images))
    }

    fn get(&mut self) -> Inputs<'_, f32> {
        let images = self.0.next();
        if images.nrows() == FEATURES { Inputs::Images(Images::Pixels(images)) } else { Inputs::Hidden(&self.1) }
    }
}

#[divan::bench(args = LAYERS.iter().chain(&WIDE).copied())]
fn outputs(bencher: Bencher<'_, '_>, layer: Layer) {
    let (w, mut x, mut s) = (normal(layer.0, layer.1), LayerInputs::new(layer), RowMajor::zeros(layer.0, layer.2));
    let mut scratch = scratch(layer);
    bencher
        .counter(operations(layer))
        .bench_local(|| product::outputs(&mut s, &w, black_box(x.get()), &mut scratch, &Par::Seq));
}

#[divan::bench(args = LAYERS.iter().chain(&WIDE).copied())]
fn weight_gradient(bencher: Bencher<'_, '_>, layer: Layer) {
    let (g, mut x, mut d_w) = (normal(layer.0, layer.2), LayerInputs::new(layer), RowMajor::zeros(layer.0, layer.1));
    let mut scratch = scratch(layer);
    bencher
        .counter(operations(layer))
        .bench_local(|| product::weight_gradient(&mut d_w, &g, black_box(x.get()), &mut scratch, &Par::Seq));
}

#[divan::bench(args = LAYERS.iter().chain(&WIDE).copied())]
fn descend(bencher: Bencher<'_, '_>, layer: Layer) {
    let (g, mut x, mut w) = (normal(layer.0, layer.2), LayerInputs::new(layer), normal(layer.0, layer.1));
    let mut scratch = scratch(layer);
    bencher
        .counter(operations(layer))
        .bench_local(|| product::descend(&mut w, &g, black_box(x.get()), (1.0, 1e-9), &mut scratch, &Par::Seq));
}

#[divan::bench(args = LAYERS[1..].iter().chain(&WIDE[4..]).copied())]
fn input_gradient(bencher: Bencher<'_, '_>, layer: Layer) {
    let (w, g, mut d_x) = (normal(layer.0, layer.1), normal(layer.0, layer.2), RowMajor::zeros(layer.1, layer.2));
    let mut scratch = scratch(layer);
    bencher
        .counter(operations(layer))
        .bench_local(|| product::input_gradient(&mut d_x, black_box(&w), &g, &mut scratch, &Par::Seq));
}

/// Converts a mini-batch of images to numbers; the products with images do this one strip at a time.
#[divan::bench(consts = [BATCH, MANY])]
fn gather<const IMAGES: usize>(bencher: Bencher<'_, '_>) {
    let (mut images, mut numbers) = (Bytes::new(FEATURES, IMAGES, BATCH), ColMajor::zeros(FEATURES, BATCH));
    bencher
        .counter(ItemsCount::new(FEATURES * BATCH))
        .bench_local(|| black_box(images.next()).write(&mut numbers, &Par::Seq));
}

#[divan::bench(args = [50, 30, 20, 10])]
fn batch_norm_forward(bencher: Bencher<'_, '_>, units: usize) {
    let (layer, mut s, mut out) = (BatchNorm::new(units, 1e-8), normal(units, BATCH), RowMajor::zeros(units, BATCH));
    let mut batch = Statistics::zeros(units);
    bencher
        .counter(ItemsCount::new(units * BATCH))
        .bench_local(|| layer.forward_train(black_box(&mut s), &mut out, &mut batch, &Par::Seq));
}

#[divan::bench(args = [50, 30, 20, 10])]
fn batch_norm_backward(bencher: Bencher<'_, '_>, units: usize) {
    let (layer, mut s, mut out) = (BatchNorm::new(units, 1e-8), normal(units, BATCH), RowMajor::zeros(units, BATCH));
    let mut batch = Statistics::zeros(units);
    layer.forward_train(&mut s, &mut out, &mut batch, &Par::Seq);
    let (start, mut gradient) = (normal(units, BATCH), BatchNormGradient::zeros(units));
    bencher.counter(ItemsCount::new(units * BATCH)).bench_local(|| {
        // Reset each time, because gradients that shrink with every call would become slow subnormal numbers.
        out.copy_from(&start);
        layer.backward(&s, &batch, black_box(&mut out), &mut gradient, &Par::Seq);
    });
}

#[divan::bench]
fn softmax_of_ten_classes(bencher: Bencher<'_, '_>) {
    let (logits, mut work, mut log_sum_exp) = (normal(10, BATCH), RowMajor::zeros(10, BATCH), [0.0; BATCH]);
    bencher.counter(ItemsCount::new(10 * BATCH)).bench_local(|| {
        work.copy_from(&logits);
        softmax(black_box(&mut work), &mut log_sum_exp);
    });
}

#[divan::bench(args = ["2-layer", "3-layer", "9-layer"], consts = [BATCH, MANY])]
fn whole_step<const IMAGES: usize>(bencher: Bencher<'_, '_>, name: &str) {
    let architecture = architecture(name);
    let mut network = Network::<f32>::new(&architecture, Init::He, &mut stream(42, "init")).expect("a network");
    let mut workspace = Workspace::new(&architecture, BATCH, Par::Seq);
    let mut optimizer = Optimizer::new(&architecture, Sgd, L2::new(0.005).expect("a lambda"), Par::Seq);
    let (mut images, labels) = (Bytes::new(architecture.inputs(), IMAGES, BATCH), [3; BATCH]);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let x = images.next();
        let loss = network.forward_train(x, &mut workspace).and_then(|logits| logits.cross_entropy(&labels));
        optimizer.descend(&mut network, x, &mut workspace, 1e-6).expect("shapes agree");
        loss
    });
}

fn architecture(name: &str) -> Architecture {
    let hidden: &[usize] = match name {
        "2-layer" => &[50],
        "3-layer" => &[50, 50],
        _ => &[50, 30, 20, 20, 10, 10, 10, 10],
    };
    Architecture::new(FEATURES, hidden, 10, true).expect("a valid architecture")
}
