//! Tests of the dataset crate: archives, downloads, formats, splits, batches, and the real CIFAR-10.

mod archives;
mod arrays;
mod augment;
mod batches;
mod download;
mod folders;
mod idx;
mod inputs;
mod normalization;
#[cfg(feature = "pictures")]
mod pictures;
mod real_data;
mod sample;
mod server;
