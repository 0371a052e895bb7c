//! Images for the tests of what happens before the first layer, and golden values from golden/inputs.py.

use klayer_dataset::Shape;
use proptest::test_runner::{Config, RngSeed};
use serde_json::Value;

use crate::sample::pseudo_random;

/// `cases` random cases from a fixed seed, because a tolerance may fail once in a million draws.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(42), failure_persistence: None, ..Config::default() }
}

/// Images of one shape.
pub(crate) struct Pictures {
    pub(crate) shape: Shape,
    pub(crate) count: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Pictures {
    pub(crate) fn random(shape: Shape, count: usize, seed: u64) -> Self {
        Self { shape, count, bytes: pseudo_random(count * shape.features(), seed) }
    }

    /// The images of the golden values.
    pub(crate) fn congruential(shape: Shape, count: usize) -> Self {
        let mut state = (shape.channels + shape.height + shape.width) as u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        Self { shape, count, bytes: (0..count * shape.features()).map(|_| next()).collect() }
    }

    pub(crate) fn images(&self) -> Vec<&[u8]> {
        self.bytes.chunks(self.shape.features()).collect()
    }
}

pub(crate) fn golden() -> Value {
    serde_json::from_str(include_str!("golden/inputs.json")).unwrap()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

pub(crate) fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(number).collect()
}
