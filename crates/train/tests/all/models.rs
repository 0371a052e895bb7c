//! Model files.

use std::fs;
use std::path::Path;

use klayer_dataset::{Dataset, Sizes, View};
use klayer_nn::model_file::{self, MODEL};
use klayer_train::model::{self, ModelInfo};
use klayer_train::{Classifier, Error, Evaluation, Evaluator, Par, RunConfig, Silent, train};
use tempfile::TempDir;

use crate::{DATA, short_run, with};

#[test]
fn a_saved_model_loads_unchanged() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("model.klayer");
    let config = short_run(0.003, 20);
    let trained = train::<f32>(&config, &DATA, &Par::Seq, &Silent).expect("a run");
    let test = trained.test.clone().expect("requested");
    let info = ModelInfo::new(&config, &DATA, &trained);
    model::save(&path, &trained.network, &info).expect("written");

    let (network, found) = model::load(&path).expect("it is a model");
    assert_eq!(found, info);
    let normalizer = found.normalization.normalizer();
    let mut evaluator = Evaluator::new(network.architecture(), &normalizer, Par::Seq);
    assert_eq!(evaluator.evaluate(&network, DATA.dataset.test()).expect("it fits"), test);
    assert_eq!(
        model_file::encode(&MODEL, &network, &[], &found).expect("it can be encoded"),
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
    let before = fs::read(&path).expect("a file");
    let error = model::save(&path, &trained.network, &no_fit).expect_err("classes are missing").to_string();
    assert!(error.contains("and 1 classes, but") && fs::read(&path).expect("a file") == before, "{error}");
    fs::write(&path, model_file::encode(&MODEL, &network, &[], &no_fit).expect("it can be encoded")).expect("written");
    assert_eq!(model::load(&path).expect_err("classes are missing").to_string(), error);
}

#[test]
fn a_model_of_the_previous_layout_loads_unchanged() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all/layout_1.klayer"));
    let (network, info) = model::load(path).expect("it is a model");
    let config = RunConfig { lambda: 0.01, validate_every: Some(50), test: true, ..RunConfig::default() };
    let expected = with(config, |config| {
        config.network.hidden = vec![2].into();
        (config.schedule.n_s, config.schedule.cycles) = (50, 1);
    });
    assert_eq!(info.config, expected);
    assert_eq!((info.validation_accuracy, info.test_accuracy), (Some(0.1246), Some(0.1438)));
    let dataset = Dataset::generate(42, Sizes::CIFAR, "for tests", &()).expect("nobody cancels");
    assert_eq!((info.dataset.sha256.as_str(), info.dataset.synthetic), (dataset.sha256(), true));
    assert!(info.classes == dataset.class_names());
    let normalizer = info.normalization.normalizer();
    let mut evaluator = Evaluator::new(network.architecture(), &normalizer, Par::Seq);
    let test = evaluator.evaluate(&network, dataset.test()).expect("it fits");
    assert_eq!(test.accuracy, 0.1438);
    assert!((test.loss - 2.268_102_041_852_474).abs() < 1e-8, "{}", test.loss);

    let mut damaged = fs::read(path).expect("a file");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("model.klayer");
    fs::write(&path, damaged).expect("written");
    let error = model::load(&path).expect_err("it is damaged").to_string();
    assert!(error.contains("checksum"), "{error}");
}

#[test]
fn invalid_model_files_are_not_read_to_their_end() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("model.klayer");
    let mut header = MODEL.magic.to_vec();
    header.extend(MODEL.version.to_le_bytes());
    let lying = [&header[..], &[1; 40]].concat();
    let huge = [&header[..], &((100_u64 << 30) - 52).to_le_bytes(), &[1; 32]].concat();
    let cases = [(vec![], "wrong magic bytes"), (lying, "the header declares"), (huge, "longer than 1610612736 bytes")];
    for (header, expected) in cases {
        fs::write(&path, header).expect("written");
        // A sparse file of a hundred gigabytes, more than the memory.
        fs::File::options().write(true).open(&path).and_then(|file| file.set_len(100 << 30)).expect("a sparse file");
        let error = model::load(&path).expect_err("it is no model").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn views_give_the_mean_of_their_probabilities() {
    let trained = train::<f32>(&short_run(0.003, 20), &DATA, &Par::Seq, &Silent).expect("a run");
    let (test, shape) = (DATA.dataset.test(), DATA.dataset.shape());
    let mut classifier = Classifier::new(&trained.network, &DATA.normalization, Par::Seq);
    let plain = classifier.probabilities(test.images()).expect("finite");
    let alone = [View::default()];
    assert_eq!(classifier.view_probabilities(test.images(), shape, &alone).expect("finite"), plain);
    let evaluation = classifier.evaluate_views(test, &alone).expect("finite");
    let Evaluation { loss, accuracy, confusion } = trained.test.expect("requested");
    assert_eq!((evaluation.accuracy, evaluation.confusion), (accuracy, confusion));
    assert!((evaluation.loss - loss).abs() < 1e-6, "{} and {loss}", evaluation.loss);

    // 18 views of each image, one view at a time.
    let views = View::all(shape, true, &[-2, 0, 2]).expect("small shifts");
    let mut sums = vec![vec![0.0; 10]; test.len()];
    for view in &views {
        let mut bytes = vec![0; test.len() * shape.features()];
        for (image, out) in test.images().zip(bytes.chunks_exact_mut(shape.features())) {
            view.write(shape, image, out);
        }
        let of_view = classifier.probabilities(bytes.chunks_exact(shape.features())).expect("finite");
        for (sums, of_image) in sums.iter_mut().zip(of_view) {
            sums.iter_mut().zip(of_image).for_each(|(sum, p)| *sum += p);
        }
    }
    let means = classifier.view_probabilities(test.images(), shape, &views).expect("finite");
    let different = sums.iter().flatten().zip(means.iter().flatten());
    assert!(different.map(|(sum, mean)| (sum / 18.0 - mean).abs()).fold(0.0, f64::max) < 1e-12);
    assert!(means != plain);
}
