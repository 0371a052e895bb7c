//! The real CIFAR-10 against values computed by NumPy: see golden/cifar10.py.

use std::fs;

use crate::sample::Tar;
use crate::server::{Answer, Server};
use flate2::Compression;
use klayer_dataset::{Dataset, ExpectedFile, Format, Normalization, Normalize, Source, Subset, fetch, load};
use klayer_linalg::{ColMajor, Par, Scalar};
use md5::{Digest, Md5};
use serde_json::Value;
use tar::EntryType;
use tempfile::TempDir;

/// SHA-256 of the list of the files' official checksums, by `sha256sum SHA256SUMS`.
const SHA256: &str = "f4a3dbff9ebda862d34055038b3982ae1a40274f12ac79a50534afa0d32da0ba";

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/cifar10.json")).unwrap()
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn part<'a>(dataset: &'a Dataset, name: &str) -> Subset<'a> {
    match name {
        "training" => dataset.training(),
        "validation" => dataset.validation(),
        "test" => dataset.test(),
        _ => panic!("{name}"),
    }
}

#[test]
fn real_images_labels_and_normalization_match_numpy() {
    let Some(folder) = klayer_tests::cifar10() else { return };
    let dataset = Dataset::open(Format::Cifar10, &folder, &()).unwrap();
    let golden = golden();

    assert_eq!((dataset.name(), dataset.synthetic(), dataset.synthetic_reason()), ("CIFAR-10", false, None));
    assert_eq!(dataset.sha256(), SHA256);
    let names = fs::read_to_string(folder.join("batches.meta.txt")).unwrap();
    assert_eq!(names.split_whitespace().collect::<Vec<_>>(), dataset.class_names());

    for image in golden["images"].as_array().unwrap() {
        let subset = part(&dataset, image["part"].as_str().unwrap());
        let i = image["index"].as_u64().unwrap() as usize;
        assert_eq!(u64::from(subset.label(i)), image["label"], "{image}");
        let pixels = subset.image(i);
        let picked = [0, 1024 + 5 * 32 + 7, 3071].map(|at| f64::from(pixels[at]));
        assert_eq!(picked.as_slice(), numbers(&image["picked"]), "{image}");
        let weighted: u64 = pixels.iter().zip(1_u64..).map(|(&pixel, weight)| weight * u64::from(pixel)).sum();
        assert_eq!(weighted, image["weighted"], "{image}");
    }
    for (name, counts) in golden["label_counts"].as_object().unwrap() {
        let mut found = vec![0.0; 10];
        part(&dataset, name).labels().iter().for_each(|&label| found[usize::from(label)] += 1.0);
        assert_eq!(found, numbers(counts), "{name}");
    }

    let normalization = Normalization::fit(Normalize::Feature, dataset.training()).unwrap();
    let features: Vec<usize> = numbers(&golden["features"]).iter().map(|&feature| feature as usize).collect();
    for (name, found) in [("mean", normalization.mean()), ("deviation", normalization.deviation())] {
        let picked: Vec<f64> = features.iter().map(|&feature| found[feature]).collect();
        close(&picked, &numbers(&golden[name]), 1e-12);
    }
    let average = |values: &[f64]| values.iter().sum::<f64>() / 3072.0;
    close(&[average(normalization.mean())], &[golden["mean_of_means"].as_f64().unwrap()], 1e-12);
    close(&[average(normalization.deviation())], &[golden["mean_of_deviations"].as_f64().unwrap()], 1e-7);

    let expected = numbers(&golden["normalized_last_of_validation"]);
    close(&normalized::<f64>(&normalization, dataset.validation(), &features), &expected, 1e-12);
    close(&normalized::<f32>(&normalization, dataset.validation(), &features), &expected, 1e-6);
}

#[test]
fn real_data_load_from_a_folder_an_archive_and_a_download() {
    let Some(folder) = klayer_tests::cifar10() else { return };
    let mut tar = Tar::new();
    tar.add("cifar-10-batches-bin/", EntryType::Directory, &[]);
    for file in ExpectedFile::cifar10() {
        let bytes = fs::read(folder.join(&file.name)).unwrap();
        tar.add(&format!("cifar-10-batches-bin/{}", file.name), EntryType::Regular, &bytes);
    }
    let bytes = tar.gzip(Compression::none());
    let parent = TempDir::new().unwrap();
    // The downloaded archive: by its path, and in a folder that contains it.
    let (downloads, binary) = (parent.path().join("downloads"), Dataset::open(Format::Cifar10, &folder, &()).unwrap());
    fs::create_dir(&downloads).unwrap();
    let archive = downloads.join("cifar-10-binary.tar.gz");
    fs::write(&archive, &bytes).unwrap();
    for place in [&archive, &downloads] {
        let dataset = Dataset::open(Format::Cifar10, place, &()).unwrap();
        assert_eq!((dataset.sha256(), dataset.folder()), (SHA256, Some(archive.as_path())));
        assert!(dataset.training().images().eq(binary.training().images()));
        assert_eq!(dataset.test().labels(), binary.test().labels());
    }
    drop(binary);

    let root = parent.path().join("checkout");
    let mut source = Source::new(Format::Cifar10, &root);
    (source.archive.bytes, source.archive.md5) = (bytes.len() as u64, crate::sample::hex(&Md5::digest(&bytes)));
    let server = Server::start(bytes, vec![Answer::Cut(100_000_000), Answer::Honest]);
    source.archive.url = server.url.clone();

    let dataset = load(&source, &()).unwrap();
    assert_eq!((dataset.synthetic(), dataset.sha256()), (false, SHA256));
    assert_eq!(server.starts(), [None, Some(100_000_000)]);
    assert_eq!(fs::read_dir(root.join("data")).unwrap().count(), 1);
    let around = Dataset::open(Format::Cifar10, &root.join("data"), &()).unwrap();
    assert_eq!((around.sha256(), around.folder()), (SHA256, dataset.folder()), "the folder around it");
    // The dataset now exists and needs no server.
    assert_eq!(fetch(&source, &()).unwrap(), root.join("data/cifar-10-batches-bin"));
}

/// Some features of the last image of a mini-batch.
fn normalized<T: Scalar>(normalization: &Normalization, subset: Subset<'_>, features: &[usize]) -> Vec<f64> {
    let mut batch = ColMajor::<T>::zeros(3072, 2);
    let images = [0, subset.len() - 1].map(|i| subset.image(i));
    normalization.normalizer().pixels(&images).write(&mut batch, &Par::Seq);
    features.iter().map(|&feature| batch.col(1)[feature].to_f64()).collect()
}

fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
    }
}
