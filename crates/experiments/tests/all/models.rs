//! Model files.

use std::fs;

use klayer_experiments::model::{self, ModelInfo};
use klayer_experiments::{Error, Evaluator, Par, Silent, train};
use klayer_nn::model_file::{self, MODEL};
use tempfile::TempDir;

use crate::{DATA, short_run};

#[test]
fn a_saved_model_loads_unchanged() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("model.klayer");
    let config = short_run(0.003, 20);
    let trained = train::<f32>(&config, &DATA, &Par::Seq, &Silent).expect("a run");
    let test = trained.test.expect("requested");
    let info = ModelInfo {
        config,
        dataset: DATA.info(),
        normalization: DATA.normalization.clone(),
        classes: DATA.dataset.class_names().to_vec(),
        validation_accuracy: trained.curve[trained.curve.len() - 1].validation_accuracy,
        test_accuracy: Some(test.accuracy),
    };
    model::save(&path, &trained.network, &info).expect("written");

    let (network, found) = model::load(&path).expect("it is a model");
    assert_eq!(found, info);
    let normalizer = found.normalization.normalizer();
    let mut evaluator = Evaluator::new(network.architecture(), &normalizer, Par::Seq);
    assert_eq!(evaluator.evaluate(&network, DATA.dataset.test()).expect("it fits"), test);
    assert_eq!(
        model_file::encode(&MODEL, &network, &found).expect("it can be encoded"),
        fs::read(&path).expect("a file"),
        "every bit is kept"
    );

    let whole = fs::read(&path).expect("a file");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &whole[..60], &whole[..10], &[], &flipped] {
        fs::write(&path, damaged).expect("written");
        let error = model::load(&path).expect_err("it is damaged");
        assert!(matches!(&error, Error::Model { path: named, .. } if *named == path), "{error}");
    }
    let no_fit = ModelInfo { classes: vec!["only one".to_owned()], ..info };
    model::save(&path, &trained.network, &no_fit).expect("written");
    let error = model::load(&path).expect_err("classes are missing").to_string();
    assert!(error.contains("and 1 classes, but"), "{error}");
}

#[test]
fn invalid_model_files_are_not_read_to_their_end() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("model.klayer");
    let mut header = MODEL.magic.to_vec();
    header.extend(MODEL.version.to_le_bytes());
    header.extend([1; 40]);
    for (header, expected) in [(vec![], "wrong magic bytes"), (header, "the header declares")] {
        fs::write(&path, header).expect("written");
        // A sparse file of a hundred gigabytes, more than the memory.
        fs::File::options().write(true).open(&path).and_then(|file| file.set_len(100 << 30)).expect("a sparse file");
        let error = model::load(&path).expect_err("it is no model").to_string();
        assert!(error.contains(expected), "{error}");
    }
}
