//! Experiments of many runs, each computed once and kept in a store, and studies of a network's training.
//!
//! - [`runs`] computes sets of independent [`Job`](runs::Job)s in parallel, and writes each record to a
//!   [`Store`](klayer_store::Store);
//! - [`search`] draws and ranks the trials of a lambda search, [`statistics`] summarizes runs over seeds;
//! - [`gradients`] checks every gradient of a network;
//! - [`lr_range`] finds learning rates for training.
//!
//! Training itself is in [`klayer_train`]. On one machine and build, the same settings give the same bits, on any
//! number of threads and next to any other runs.
//!
//! ```
//! use klayer_dataset::{Dataset, Sizes};
//! use klayer_experiments::runs::run_all;
//! use klayer_experiments::search::best;
//! use klayer_store::Store;
//! use klayer_train::{Data, NetworkConfig, RunConfig, ScheduleConfig, Silent};
//!
//! let sizes = Sizes { training: 200, validation: 50, test: 50 };
//! let data = Data::new(Dataset::generate(42, sizes, "an example", &())?);
//! let schedule = ScheduleConfig { n_s: 5, cycles: 1, ..ScheduleConfig::default() };
//! let network = |width| NetworkConfig { hidden: vec![width].into(), ..NetworkConfig::default() };
//! let trials = [5, 10].map(|width| RunConfig { network: network(width), schedule, ..RunConfig::default() });
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let store = Store::open(folder)?;
//! let records = run_all(&trials, &data, &store, 2, &Silent)?;
//! assert!(best(&records).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod error;
pub mod gradients;
mod left_over;
pub mod lr_range;
pub mod runs;
pub mod search;
pub mod statistics;

pub use error::Error;
pub use klayer_optim::{Growth, Ramp};
pub use runs::RunsObserver;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
