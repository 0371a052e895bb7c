//! What it costs to gather a mini-batch: 100 images at random among 45,000, converted and normalized. One thread.

use divan::Bencher;
use divan::counter::ItemsCount;
use klayer_dataset::{Dataset, FEATURES, Normalization, Shuffle, Sizes};
use klayer_linalg::random::stream;
use klayer_linalg::{ColMajor, Par, Scalar};

const BATCH: usize = 100;

fn main() {
    divan::main();
}

#[divan::bench(types = [f32, f64])]
fn gather<T: Scalar>(bencher: Bencher<'_, '_>) {
    let sizes = Sizes { training: 45_000, validation: 1, test: 1 };
    let dataset = Dataset::generate(42, sizes, "a benchmark", &()).expect("images");
    let training = dataset.training();
    let normalizer = Normalization::fit(training.first(1_000)).normalizer::<T>();
    let mut shuffle = Shuffle::new(stream(42, "shuffle"), training.len(), BATCH).expect("batches");
    let mut batch = ColMajor::zeros(FEATURES, BATCH);
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| normalizer.gather(training, shuffle.next_batch(), &mut batch, &Par::Seq));
}
