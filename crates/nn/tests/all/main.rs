//! What klayer-nn promises: the values and gradients of the definitions, and an error for whatever does not fit.

mod bad_input;
#[expect(dead_code, reason = "the training is checked where the optimizer is, in klayer-optim")]
#[path = "../golden/mod.rs"]
mod golden;
mod golden_pass;
mod gradients;
mod initial_network;
mod model_files;
mod planted_bugs;
mod properties;
mod shapes;
