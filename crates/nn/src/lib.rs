//! Fully connected networks with batch norm: forward and backward passes, the loss, and gradient checking.
//!
//! ```
//! use klayer_linalg::{ColMajor, Par, random::stream};
//! use klayer_nn::{Architecture, Gradients, Init, Network, Workspace};
//!
//! let architecture = Architecture::new(4, &[8], 3, true)?;
//! let mut network = Network::<f32>::new(&architecture, Init::He, &mut stream(42, "init"))?;
//! let mut workspace = Workspace::new(&architecture, 2, Par::Seq);
//! let mut gradients = Gradients::zeros(&architecture);
//!
//! let mut images = ColMajor::zeros(4, 2); // d x n: one column per image
//! images.col_mut(0).copy_from_slice(&[1.0, 0.0, -1.0, 0.5]);
//! let labels = [0, 2];
//!
//! let loss = network.forward_train(images.as_ref(), &mut workspace)?.cross_entropy(&labels)?;
//! network.backward(images.as_ref(), &mut workspace, &mut gradients)?;
//! assert!(loss > 0.0);
//! assert_eq!(gradients.layers[0].affine.weight.nrows(), 8);
//! # Ok::<(), klayer_nn::Error>(())
//! ```
//!
//! A [`Network`] holds the parameters, a [`Workspace`] the activations of one mini-batch, and [`Gradients`] the
//! gradient of every parameter. All three are allocated once; a training step allocates nothing. The method determines
//! which statistics batch norm uses: those of the batch in [`Network::forward_train`], the running ones in
//! [`Network::infer`].
//!
//! The forward pass applies [`affine`], [`batch_norm`], an [`activation`] and, in training, dropout in each hidden
//! layer, then `affine` and `cross_entropy` at the top; the backward pass runs in reverse. An [`Objective`] sets
//! dropout and label smoothing. [`parameters`] visits all parameters, [`gradient_check`] compares the gradients with
//! finite differences of the objective, and [`model_file`] serializes networks.
//!
//! The crate does no I/O, reads no clock, and starts no threads except those that the caller requests. Everything is
//! generic over [`Scalar`](klayer_linalg::Scalar).

#![forbid(unsafe_code)]

pub mod activation;
pub mod affine;
mod architecture;
pub mod batch_norm;
mod cross_entropy;
mod dropout;
mod error;
pub mod gradient_check;
mod gradients;
mod init;
mod layer;
pub mod model_file;
mod network;
mod objective;
pub mod parameters;
mod probe;
mod update;
mod visit;
mod workspace;

pub use activation::Activation;
pub use architecture::{Architecture, BATCH_NORM_EPS};
pub use error::Error;
pub use gradients::{Gradients, LayerGradients};
pub use init::Init;
pub use layer::Layer;
pub use network::{Logits, Network};
pub use objective::Objective;
pub use parameters::Parameter;
pub use update::Update;
pub use workspace::Workspace;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
