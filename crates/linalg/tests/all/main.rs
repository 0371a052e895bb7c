//! What klayer-linalg promises: right products, sums and softmax, and the same bits on any number of threads.

mod matrices;
mod products;
mod random;
mod softmax;
mod threads;

use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::{ColMajor, RowMajor, Scalar};
use proptest::test_runner::{Config, RngSeed};

/// `cases` random cases, the same ones every time: a tolerance that fails once in a million draws helps nobody.
fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(42), failure_persistence: None, ..Config::default() }
}

/// A matrix of standard normal numbers.
fn normal<T: Scalar>(rows: usize, cols: usize, seed: u64) -> RowMajor<T> {
    let mut matrix = RowMajor::zeros(rows, cols);
    fill_normal(&mut matrix, 1.0, &mut stream(seed, "test"));
    matrix
}

/// The same, columns together.
fn normal_columns<T: Scalar>(rows: usize, cols: usize, seed: u64) -> ColMajor<T> {
    let values = normal::<T>(cols, rows, seed);
    let mut matrix = ColMajor::zeros(rows, cols);
    for (j, column) in values.rows().enumerate() {
        matrix.col_mut(j).copy_from_slice(column);
    }
    matrix
}
