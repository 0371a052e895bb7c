//! Datasets of labelled images: loading, downloading, verification, normalization and mini-batches.
//!
//! A [`Dataset`] has images of one [`Shape`], class names, and three parts: training, validation and test. It is loaded
//! from a folder or a file in one of several formats ([`Format`], [`Dataset::open`]), built from arrays
//! ([`Dataset::new`]), or generated ([`Dataset::generate`]).
//!
//! [`load`] finds the files as configured by [`Source`] and returns a [`Dataset`]. It searches for CIFAR-10 in this
//! order:
//! 1. the folder given by the user (`--data`), which may hold any format;
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
//! With the feature `pictures`, it reads folders of pictures, and the module `picture` converts a picture to an image.
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
//!     assert_eq!((batch.nrows(), batch.ncols()), (dataset.shape().features(), 100));
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
mod file;
mod format;
mod idx;
mod kind;
mod loader;
mod names;
mod normalization;
mod part;
mod parts;
#[cfg(feature = "pictures")]
pub mod picture;
#[cfg(feature = "pictures")]
mod pictures;
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
pub use cifar::{parse_cifar10, parse_cifar100};
pub use dataset::Dataset;
pub use download::Patience;
pub use error::Error;
pub use format::Format;
pub use kind::ExpectedFile;
pub use loader::Options;
pub use normalization::{Features, Normalization, Normalize, Normalizer};
pub use part::{Part, Subset};
pub use parts::{Dimensions, Parts, Sizes, Split};
pub use progress::{Progress, Skipped};
pub use shape::Shape;
pub use shuffle::Shuffle;
pub use source::{Source, fetch, load, load_or_generate};
pub use view::{View, ViewBuffer, Views};
pub use whitening::Whitening;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
