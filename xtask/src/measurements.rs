//! The measurements of `cargo xtask bench`, as in bench.json.

use klayer_train::Environment;
use serde::Serialize;

/// A row of the table: the settings and the measurements.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The setting that varies.
    pub(crate) group: &'static str,
    /// Its value.
    pub(crate) value: usize,
    /// Widths of the hidden layers.
    pub(crate) hidden: Vec<usize>,
    /// Images in a mini-batch.
    pub(crate) batch: usize,
    /// Number of threads.
    pub(crate) threads: usize,
    /// Number of trials, each with its own lambda.
    pub(crate) trials: usize,
    /// Update steps of each trial.
    pub(crate) steps: u64,
    /// Update steps between validations.
    pub(crate) validate_every: u64,
    /// Operations of the matrix products of all trials, in training and validation; a multiply-add counts as two.
    pub(crate) operations: f64,
    /// Seconds of each round.
    pub(crate) seconds: Vec<f64>,
    /// Peak of one core in `f32`, measured before each round, in operations per second.
    pub(crate) peak: Vec<f64>,
    /// Median of the update steps per second, over all trials together.
    pub(crate) steps_per_second: f64,
    /// Median of the operations per second, divided by the number of threads and the peak of the same round.
    pub(crate) of_peak: f64,
}

/// All measurements, and the machine.
#[derive(Debug, Serialize)]
pub(crate) struct Bench {
    pub(crate) environment: Environment,
    pub(crate) synthetic: bool,
    pub(crate) quick: bool,
    pub(crate) rows: Vec<Row>,
}

/// The groups of rows with a figure, and the label of its axis.
pub(crate) const AXES: [(&str, &str); 5] = [
    ("threads", "threads"),
    ("width", "units of each hidden layer"),
    ("depth", "affine layers"),
    ("batch", "images in a mini-batch"),
    ("trials", "trials of a search, all cores"),
];
