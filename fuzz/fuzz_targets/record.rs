//! Records: valid ones round-trip, and invalid ones are rejected and left unchanged.

#![no_main]

use std::fmt::Debug;
use std::fs;
use std::sync::LazyLock;

use klayer_experiments::gradients::GradientRecord;
use klayer_fuzz::{assert_sentence, scratch};
use klayer_store::{Error, Store};
use klayer_train::record::RunRecord;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(scratch);
static STORE: LazyLock<Store> = LazyLock::new(|| Store::open(FOLDER.path()).expect("a store"));

fuzz_target!(|bytes: &[u8]| {
    let path = STORE.path("some");
    fs::write(&path, bytes).expect("written");
    check::<RunRecord>();
    check::<GradientRecord>();
    assert_eq!(fs::read(&path).expect("a file"), bytes);
});

fn check<R: Serialize + DeserializeOwned + PartialEq + Debug>() {
    match STORE.get::<R>("some") {
        Ok(record) => {
            let record = record.expect("a file is there");
            STORE.put("again", &record).expect("written");
            assert_eq!(STORE.get::<R>("again").expect("a record"), Some(record));
        }
        Err(error) => {
            assert!(matches!(error, Error::Record { .. }), "{error}");
            assert_sentence(&error);
        }
    }
}
