//! Tests of klayer-nn: values and gradients match their definitions, and invalid input gives an error.

mod bad_input;
#[expect(dead_code, reason = "klayer-optim tests the training cases")]
#[path = "../golden/mod.rs"]
mod golden;
mod golden_pass;
mod gradients;
mod initial_network;
mod model_files;
mod planted_bugs;
mod properties;
mod shapes;
