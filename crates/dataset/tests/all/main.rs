//! Tests of the dataset crate: archives, downloads, folders, batches, and the real CIFAR-10.

mod archives;
mod augment;
mod batches;
mod download;
mod folders;
mod inputs;
mod normalization;
mod real_data;
mod sample;
mod server;
