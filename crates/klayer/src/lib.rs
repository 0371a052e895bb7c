//! klayer as one dependency: fully connected networks on images, from the dataset to the exported model.
//!
//! Each module is one of klayer's crates, which can also be used alone; [`prelude`] has the types of a typical program.
//!
//! ```
//! use klayer::prelude::*;
//!
//! // Generated images; load real ones with `Dataset::open(None, "mnist".as_ref(), &())`.
//! let sizes = Sizes { training: 400, validation: 100, test: 100 };
//! let data = Data::new(Dataset::generate(42, sizes, "an example", &())?);
//!
//! let config = RunConfig {
//!     network: NetworkConfig { hidden: vec![20].into(), ..NetworkConfig::default() },
//!     schedule: ScheduleConfig { n_s: 20, cycles: 1, ..ScheduleConfig::default() },
//!     ..RunConfig::default()
//! };
//! let trained = train::<f32>(&config, &data, &Par::Seq, &Silent)?;
//! let mut classifier = Classifier::new(&trained.network, &data.normalization, Par::Seq);
//! let probabilities = classifier.probabilities(data.dataset.test().images())?;
//! assert_eq!((probabilities.len(), probabilities[0].len()), (100, 10));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The feature `command` (default) builds the `klayer` command; `pictures` reads folders of pictures. Without default
//! features, this is the library alone.

#![forbid(unsafe_code)]

pub use {
    klayer_dataset as dataset, klayer_experiments as experiments, klayer_export as export, klayer_linalg as linalg,
    klayer_nn as nn, klayer_optim as optim, klayer_store as store, klayer_train as train,
};

/// The types of a typical program: load or build a dataset, train a network, evaluate it and use it.
pub mod prelude {
    pub use klayer_dataset::{Dataset, Format, Normalize, Options, Part, Parts, Shape, Sizes, Source, View, load};
    pub use klayer_linalg::Par;
    pub use klayer_nn::{Activation, Architecture, Network};
    pub use klayer_train::model::{self, ModelInfo};
    pub use klayer_train::{
        AugmentConfig, BatchConfig, Classifier, Data, Evaluation, Evaluator, Event, NetworkConfig, Observer,
        OptimizerConfig, RunConfig, ScheduleConfig, Silent, Trained, train,
    };
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
