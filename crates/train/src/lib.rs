//! Training of one network, and its use: the loop, evaluation, checkpoints, metrics and model files.
//!
//! - [`train`](train()) trains one [`RunConfig`]; [`train_from`] also resumes it from [`Checkpoints`] and writes its
//!   [`Metrics`]. Both are one loop, which follows a [`Plan`];
//! - an [`Evaluator`] evaluates networks on labelled images, a [`Classifier`] classifies unlabelled ones;
//! - [`model`] saves a trained network with everything needed to use it; [`record`] is the result of a run as JSON.
//!
//! On one machine and build, the same settings give the same bits, on any number of threads. An [`Observer`] receives
//! the [`Event`]s of a run; this crate prints nothing.
//!
//! ```no_run
//! use klayer_dataset::{Format, Source, load};
//! use klayer_train::{Data, Par, RunConfig, Silent, train};
//!
//! let data = Data::new(load(&Source::from_environment(Format::Cifar10, "."), &())?);
//! let config = RunConfig { lambda: 0.005, ..RunConfig::default() };
//! let trained = train::<f32>(&config, &data, &Par::Seq, &Silent)?;
//! println!("validation accuracy {:?}", trained.curve.last().map(|point| point.validation_accuracy));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod checkpoint;
mod config;
mod data;
mod environment;
mod error;
mod evaluate;
pub mod inspect;
mod metrics;
pub mod model;
mod model_1;
mod network_file;
mod observer;
mod predict;
pub mod record;
mod train;

pub use checkpoint::Checkpoints;
pub use config::{
    Activations, AugmentConfig, BatchConfig, NetworkConfig, OptimizerConfig, RunConfig, ScheduleConfig, ScheduleKind,
    Widths, is_default,
};
#[cfg(feature = "clap")]
pub use config::{count as parse_count, seed as parse_seed};
pub use data::{Data, DatasetInfo};
pub use environment::Environment;
pub use error::Error;
pub use evaluate::{Evaluation, Evaluator};
pub use klayer_dataset::Normalize;
pub use klayer_linalg::Par;
pub use klayer_nn::{Activation, Init, Network};
pub use metrics::Metrics;
pub use observer::{Event, Observer, Silent, Step};
pub use predict::{Classifier, evaluate_probabilities, most_probable};
pub use train::{Plan, Run, Trained, train, train_from};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
