//! Trained networks in the formats of others: safetensors, there and back, and ONNX.
//!
//! A [`Model`] is a network with what it takes to use it. [`safetensors`] turns one into a file whose tensors have the
//! names that PyTorch users expect, and such a file back into the same bits; [`onnx`] turns one into a graph that any
//! runtime can run. Bytes go in and come out: files are the caller's.
//!
//! ```
//! use klayer_dataset::{Dataset, FEATURES, Normalization, Sizes};
//! use klayer_export::{Model, onnx, safetensors};
//! use klayer_linalg::random::stream;
//! use klayer_nn::{Architecture, Init, Network};
//!
//! let sizes = Sizes { training: 20, validation: 10, test: 10 };
//! let dataset = Dataset::generate(42, sizes, "an example", &())?;
//! let architecture = Architecture::new(FEATURES, &[8], 10, false)?;
//! let model = Model {
//!     network: Network::new(&architecture, Init::He, &mut stream(42, "init"))?,
//!     normalization: Normalization::fit(dataset.training()),
//!     classes: dataset.class_names().iter().map(|&name| name.to_owned()).collect(),
//!     training: "not at all".to_owned(), // anything that JSON can hold
//! };
//!
//! let bytes = safetensors::encode(&model)?;
//! let back: Model<String> = safetensors::decode(&bytes)?;
//! assert_eq!(back.network.layers()[0].affine.bias, model.network.layers()[0].affine.bias);
//!
//! let graph = onnx::encode(&model, onnx::Options { fold_batch_norm: false, input: onnx::Input::Pixels })?;
//! assert!(graph.len() > 4 * FEATURES * 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod model;
pub mod onnx;
pub mod safetensors;

pub use error::Error;
pub use model::Model;
