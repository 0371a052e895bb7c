//! Linear algebra for training small fully connected networks, built on faer.
//!
//! ```
//! use klayer_linalg::product::{Inputs, Scratch, outputs};
//! use klayer_linalg::{ColMajor, Par, RowMajor};
//!
//! // Two units over three inputs, for a batch of two images.
//! let weights = RowMajor::from_rows(2, 3, &[1.0, 2.0, 3.0, 0.0, -1.0, 1.0]);
//! let mut images = ColMajor::zeros(3, 2);
//! images.col_mut(0).copy_from_slice(&[1.0, 1.0, 1.0]);
//! images.col_mut(1).copy_from_slice(&[0.0, 2.0, 0.0]);
//!
//! let mut out = RowMajor::zeros(2, 2);
//! let mut scratch = Scratch::new([(3, 2)], 2, &Par::Seq);
//! outputs(&mut out, &weights, Inputs::Images(images.as_ref().into()), &mut scratch, &Par::Seq);
//! assert_eq!(out.row(0), [6.0, 4.0]);
//! assert_eq!(out.row(1), [0.0, -2.0]);
//! ```
//!
//! - [`Scalar`]: `f32` and `f64`. Generic code lets the gradient check run the code that trains.
//! - [`ColMajor`] and [`RowMajor`]: owned matrices with the memory layout in the type.
//! - [`Images`]: a mini-batch of numbers or bytes.
//! - [`product`]: the three products of a layer. Results do not depend on the number of threads in a [`Par`].
//! - [`dct`]: the two-dimensional cosine transform of images.
//! - [`for_rows`]: the rows of several matrices, split between threads.
//! - [`reduce`] and [`softmax`]: sums in a fixed order, and a softmax that cannot overflow.
//! - [`peak`]: the peak multiply-add rate of a core.
//! - [`random`]: independent named streams of random numbers from one seed.
//!
//! This is the only crate that depends on faer. It never reads a clock or a file, and starts no threads except those
//! that the caller requests. Two environment variables serve comparisons: `KLAYER_NO_KERNELS` sends all products to
//! faer, and `KLAYER_VECTOR_BITS` limits the width of vectors, which does not change results.

pub mod dct;
mod error;
mod exponential;
mod images;
mod kernels;
mod matrix;
mod normal;
mod par;
pub mod peak;
mod prefetch;
pub mod product;
pub mod random;
pub mod reduce;
mod rows;
mod scalar;
mod simd;
pub mod softmax;
pub mod text;

pub use error::Error;
pub use faer::{MatMut, MatRef};
pub use images::{Images, Pixels};
pub use kernels::on as kernels_on;
pub use matrix::{ColMajor, Columns, RowMajor};
pub use par::Par;
pub use rows::{RowsMut, for_rows};
pub use scalar::Scalar;
pub use simd::vectorize;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
