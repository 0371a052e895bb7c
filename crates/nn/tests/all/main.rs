//! What klayer-nn promises: the values and gradients of the definitions, and an error for whatever does not fit.

mod bad_input;
#[path = "../golden/mod.rs"]
mod golden;
mod golden_pass;
mod gradients;
mod model_files;
mod planted_bugs;
mod properties;
mod shapes;
