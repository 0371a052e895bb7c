//! Tests of the dataset crate: archives, downloads, folders, batches, and the real CIFAR-10.

mod archives;
mod batches;
mod download;
mod folders;
mod real_data;
mod sample;
mod server;
