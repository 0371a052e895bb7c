//! Tests of klayer-optim: training matches its definition, does not depend on the thread count, and allocates nothing.

#[expect(dead_code, reason = "klayer-nn tests the single pass")]
#[path = "../../../nn/tests/golden/mod.rs"]
mod golden;
mod golden_training;
mod momentum;
mod penalty;
mod schedule;
mod training_step;
