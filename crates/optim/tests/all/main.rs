//! What klayer-optim promises: the training of the definitions, the same bits on any number of threads, and no
//! allocation in a step.

#[expect(dead_code, reason = "the single pass is checked in klayer-nn")]
#[path = "../../../nn/tests/golden/mod.rs"]
mod golden;
mod golden_training;
mod penalty;
mod schedule;
mod training_step;
