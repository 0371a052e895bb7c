//! Mini-batch gradient descent with learning-rate schedules and L2 regularization.
//!
//! ```
//! use klayer_linalg::{ColMajor, Par, random::stream};
//! use klayer_nn::{Architecture, Init, Network, Workspace};
//! use klayer_optim::{Cyclical, L2, Momentum, Optimizer, Schedule};
//!
//! let architecture = Architecture::new(2, &[5], 2, true)?;
//! let mut network = Network::<f64>::new(&architecture, Init::He, &mut stream(42, "init"))?;
//! let mut workspace = Workspace::new(&architecture, 2, Par::Seq);
//! let schedule = Cyclical::new(1e-5, 1e-1, 50)?;
//! let momentum = Momentum::new(0.5, true)?;
//! let mut optimizer = Optimizer::new(&architecture, momentum, L2::new(0.005)?, Par::Seq);
//!
//! let mut images = ColMajor::zeros(2, 2);
//! images.col_mut(0).copy_from_slice(&[1.0, 2.0]);
//! images.col_mut(1).copy_from_slice(&[2.0, 1.0]);
//! let mut loss = 0.0;
//! for step in 0..schedule.cycle() {
//!     loss = network.forward_train(images.as_ref(), &mut workspace)?.cross_entropy(&[0, 1])?;
//!     optimizer.descend(&mut network, images.as_ref(), &mut workspace, schedule.rate(step))?;
//! }
//! assert!(loss < 0.1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Schedule`] ([`Cyclical`], [`Cosine`], [`Constant`], [`Ramp`] or your own) gives the learning rate of each step. An
//! [`Optimizer`] performs the step, by a [`Rule`] ([`Sgd`], [`Momentum`] or your own) and with the penalty [`L2`].
//! [`Method`] lists the rules that a setting can name. The crate does no I/O, reads no clock, and starts
//! no threads except those that the caller requests.

#![forbid(unsafe_code)]

mod error;
mod l2;
mod optimizer;
mod rule;
mod schedule;

pub use error::Error;
pub use l2::L2;
pub use optimizer::{Optimizer, OptimizerState};
pub use rule::{Method, Momentum, Rule, Sgd, Step};
pub use schedule::{Constant, Cosine, Cyclical, Growth, Ramp, Schedule};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
