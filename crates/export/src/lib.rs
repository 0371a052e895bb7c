//! Exports trained networks to safetensors and ONNX, and imports them from safetensors.
//!
//! ```
//! use klayer_dataset::{Dataset, Normalization, Normalize, Sizes};
//! use klayer_export::{Model, onnx, safetensors};
//! use klayer_linalg::random::stream;
//! use klayer_nn::{Architecture, Init, Network};
//!
//! let sizes = Sizes { training: 20, validation: 10, test: 10 };
//! let dataset = Dataset::generate(42, sizes, "an example", &())?;
//! let architecture = Architecture::new(dataset.shape().features(), &[8], 10, false)?;
//! let model = Model {
//!     network: Network::new(&architecture, Init::He, &mut stream(42, "init"))?,
//!     normalization: Normalization::fit(Normalize::Feature, dataset.training())?,
//!     classes: dataset.class_names().to_vec(),
//!     training: "untrained".to_owned(), // any type that serializes to JSON
//! };
//!
//! let bytes = safetensors::encode(&model)?;
//! let back: Model<String> = safetensors::decode(&bytes)?;
//! assert_eq!(back.network.layers()[0].affine.bias, model.network.layers()[0].affine.bias);
//!
//! let graph = onnx::encode(&model, onnx::Options { fold_batch_norm: false, input: onnx::Input::Pixels })?;
//! assert!(graph.len() > 4 * dataset.shape().features() * 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Model`] is a network with everything needed to use it. [`safetensors`] writes files with PyTorch's tensor names
//! and reads them back to the same bits; [`onnx`] writes graphs for any ONNX runtime. All functions work on bytes in
//! memory; reading and writing files is up to the caller.

#![forbid(unsafe_code)]

mod error;
mod model;
pub mod onnx;
pub mod safetensors;

pub use error::Error;
pub use model::Model;
