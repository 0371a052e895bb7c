//! CIFAR-10 and CIFAR-100 datasets: loading, downloading, verification, normalization and mini-batches.
//!
//! [`load`] finds the files as configured by [`Source`] and returns a [`Dataset`]. It searches, in this order:
//! 1. the folder given by the user (`--data`);
//! 2. the folder in `$CIFAR10_DIR`;
//! 3. `data`, relative to [`Source::root`];
//! 4. `../shared`, relative to the same folder;
//! 5. the official archive, which it downloads (resuming an interrupted download) and unpacks safely.
//!
//! A folder may hold the binary or the Python version of CIFAR-10, or its archive. [`load_or_generate`] generates
//! images if the archive cannot be downloaded; [`Dataset::synthetic_reason`] then gives the reason.
//!
//! Every file of CIFAR-10 is verified by its SHA-256 before use. Images stay in memory as bytes: a [`Shuffle`] selects
//! the images of a mini-batch, an [`Augmenter`] changes them, and a [`Normalizer`] converts them to numbers. Progress
//! is reported through [`Progress`]; this crate prints nothing. Of the crates below training, only this one and the
//! store read and write files.
//!
//! ```
//! use klayer_dataset::{Augment, Augmenter, Dataset, Features, Normalization, Normalize, Shuffle, Sizes};
//! use klayer_linalg::Par;
//! use klayer_linalg::random::stream;
//!
//! // A small generated dataset; use `load` for the real images.
//! let sizes = Sizes { training: 200, validation: 50, test: 50 };
//! let dataset = Dataset::generate(42, sizes, "an example", &())?;
//! let training = dataset.training();
//!
//! let normalizer = Normalization::fit(Normalize::Feature, training)?.normalizer::<f32>();
//! let mut augmenter = Augmenter::new(Augment { flip: true, shift: 4 }, training.shape(), 42)?;
//! let mut shuffle = Shuffle::new(stream(42, "shuffle"), training.len(), 100)?;
//! let mut features = Features::default();
//! for step in 0..shuffle.batches_per_epoch() {
//!     let indices = shuffle.next_batch();
//!     assert!(indices.iter().all(|&i| usize::from(training.label(i as usize)) < dataset.class_names().len()));
//!     let images = augmenter.batch(training, indices, step as u64, &Par::Seq);
//!     let batch = normalizer.batch(&images, &mut features, &Par::Seq);
//!     assert_eq!((batch.nrows(), batch.ncols()), (3072, 100));
//! }
//! # Ok::<(), klayer_dataset::Error>(())
//! ```

#![forbid(unsafe_code)]

mod archive;
mod augment;
mod checksum;
mod cifar;
mod dataset;
mod download;
mod error;
mod names;
mod normalization;
mod place;
mod progress;
mod python;
mod shape;
mod shuffle;
mod source;
mod synthetic;
mod view;
mod whitening;

pub use archive::Archive;
pub use augment::{Augment, Augmenter};
pub use cifar::{ExpectedFile, Kind, Part, parse_cifar10, parse_cifar100};
pub use dataset::{Dataset, Sizes, Subset};
pub use download::Patience;
pub use error::Error;
pub use normalization::{Features, Normalization, Normalize, Normalizer};
pub use progress::Progress;
pub use shape::Shape;
pub use shuffle::Shuffle;
pub use source::{Source, fetch, load, load_or_generate};
pub use view::{View, ViewBuffer, Views};
pub use whitening::Whitening;

/// Features of an image: 32 x 32 pixels in red, green and blue.
pub const FEATURES: usize = 3072;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
