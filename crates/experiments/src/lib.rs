//! Training runs and experiments: training, evaluation, records and checkpoints.
//!
//! - [`train`](train()) trains one [`RunConfig`]; an [`Evaluator`] evaluates networks on labelled images, a
//!   [`Classifier`] classifies unlabelled ones;
//! - [`runs`] computes sets of independent runs in parallel, and writes each to a [`Store`] of JSON records;
//! - [`gradients`] checks every gradient of a network, [`search`] draws and ranks the trials of a lambda search;
//! - [`lr_range`] finds learning rates for training;
//! - [`model`] saves a trained network with everything needed to use it.
//!
//! On one machine and build, the same settings give the same bits, on any number of threads. Progress is reported
//! through an [`Observer`]; this crate prints nothing.
//!
//! ```no_run
//! use klayer_dataset::{Format, Source, load};
//! use klayer_experiments::{Data, Par, RunConfig, Silent, train};
//!
//! let data = Data::new(load(&Source::from_environment(Format::Cifar10, "."), &())?);
//! let config = RunConfig::three_layer(0.005, 2, 42)?;
//! let trained = train::<f32>(&config, &data, &Par::Seq, &Silent)?;
//! println!("validation accuracy {:?}", trained.curve.last().map(|point| point.validation_accuracy));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod arithmetic;
pub mod checkpoint;
mod config;
mod data;
mod environment;
mod error;
mod evaluate;
pub mod files;
pub mod gradients;
mod left_over;
mod lock;
pub mod lr_range;
mod metrics;
pub mod model;
mod observer;
mod predict;
pub mod record;
pub mod runs;
pub mod search;
pub mod statistics;
mod store;
mod train;

pub use arithmetic::Arithmetic;
pub use checkpoint::Checkpoints;
pub use config::RunConfig;
pub use data::{Data, DatasetInfo};
pub use environment::Environment;
pub use error::Error;
pub use evaluate::{Evaluation, Evaluator};
pub use klayer_linalg::Par;
pub use klayer_nn::{Init, Network};
pub use klayer_optim::{Cyclical, Growth, Ramp};
pub use metrics::Metrics;
pub use observer::{Observer, RunsObserver, Silent, Step};
pub use predict::Classifier;
pub use store::Store;
pub use train::{Run, Trained, train, train_from};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
