//! Datasets in the IDX format: what is loaded contains the bytes of the files.

#![no_main]

use std::fs;

use klayer_dataset::{Dataset, Format, Options};
use klayer_fuzz::assert_sentence;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// Ends the file of images in the input; the file of labels follows.
const END: &[u8] = b"END";

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.windows(END.len()).position(|window| window == END).unwrap_or(bytes.len());
    let (images, labels) = (&bytes[..at], bytes.get(at + END.len()..).unwrap_or(&[]));
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("train-images-idx3-ubyte"), images).expect("written");
    fs::write(folder.path().join("train-labels-idx1-ubyte"), labels).expect("written");
    let options = Options { validation: Some(0), ..Options::default() };
    match Dataset::open_with(&options, Format::Idx, folder.path(), &()) {
        Ok(dataset) => {
            let training = dataset.training();
            assert!(training.images().flatten().eq(&images[16..]));
            assert_eq!(training.labels().len(), labels.len() - 8);
            assert!(training.labels().iter().all(|&label| usize::from(label) < dataset.class_names().len()));
        }
        Err(error) => assert_sentence(&error),
    }
});
