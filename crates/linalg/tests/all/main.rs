//! Tests of klayer-linalg: correct products, sums and softmax, and results that do not depend on the thread count.

mod dct;
mod exponential;
mod matrices;
mod normal;
mod products;
mod random;
mod softmax;
mod threads;

use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::{ColMajor, RowMajor, Scalar};
use proptest::test_runner::{Config, RngSeed};

/// `cases` random cases from a fixed seed, because a tolerance may fail once in a million draws.
fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(42), failure_persistence: None, ..Config::default() }
}

/// A matrix of standard normal numbers.
fn normal<T: Scalar>(rows: usize, cols: usize, seed: u64) -> RowMajor<T> {
    let mut matrix = RowMajor::zeros(rows, cols);
    fill_normal(&mut matrix, 1.0, &mut stream(seed, "test"));
    matrix
}

/// A column-major matrix of standard normal numbers, drawn column by column.
fn normal_columns<T: Scalar>(rows: usize, cols: usize, seed: u64) -> ColMajor<T> {
    let values = normal::<T>(cols, rows, seed);
    let mut matrix = ColMajor::zeros(rows, cols);
    for (j, column) in values.rows().enumerate() {
        matrix.col_mut(j).copy_from_slice(column);
    }
    matrix
}
