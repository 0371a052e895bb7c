//! Datasets in the IDX format of MNIST: names of files, labels, splits, and damaged files.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use klayer_dataset::{Dataset, Error, Format, Options, Shape, Split};
use tempfile::TempDir;

const TRAINING: usize = 40;
const TEST: usize = 6;

/// An IDX file of unsigned bytes.
pub(crate) fn idx(sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let header = [0, 0, 8, sizes.len() as u8];
    header.into_iter().chain(sizes.iter().flat_map(|size| size.to_be_bytes())).chain(bytes.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Images of 2 x 3, and labels from `first` on: half of the images have the first label, a quarter each of the others.
fn files(first: u8) -> [(&'static str, Vec<u8>); 4] {
    let images =
        |count: usize| idx(&[count as u32, 2, 3], &(0..count * 6).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    let labels =
        |count: usize| idx(&[count as u32], &(0..count).map(|i| first + [0, 0, 1, 2][i % 4]).collect::<Vec<_>>());
    [
        ("train-images-idx3-ubyte", images(TRAINING)),
        ("train-labels-idx1-ubyte", labels(TRAINING)),
        ("t10k-images-idx3-ubyte", images(TEST)),
        ("t10k-labels-idx1-ubyte", labels(TEST)),
    ]
}

fn written(folder: &Path, name: impl Fn(&str) -> String, content: impl Fn(&[u8]) -> Vec<u8>, first: u8) {
    for (plain, bytes) in files(first) {
        fs::write(folder.join(name(plain)), content(&bytes)).unwrap();
    }
}

#[test]
fn every_spelling_is_found_and_gives_the_same_images() {
    type Name = fn(&str) -> String;
    let spellings: [(Name, bool); 5] = [
        (str::to_owned, false),
        (|name| format!("{name}.gz"), true),
        (|name| name.replace("-idx", ".idx"), false),
        (|name| format!("letters-{}.gz", name.replace("t10k", "test")), true),
        (|name| format!("raw/{name}"), false),
    ];
    let mut sums = Vec::new();
    for (name, compressed) in spellings {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("raw")).unwrap();
        written(folder.path(), name, |bytes| if compressed { gzip(bytes) } else { bytes.to_vec() }, 1);
        assert_eq!(Format::detect(folder.path()).unwrap(), Format::Idx);
        let dataset = Dataset::open(None, folder.path(), &()).unwrap();
        assert_eq!(dataset.shape(), Shape { channels: 1, height: 2, width: 3 });
        assert_eq!(dataset.class_names(), ["1", "2", "3"], "labels are numbered from 0, and keep their names");
        assert_eq!((dataset.training().len(), dataset.validation().len(), dataset.test().len()), (36, 4, 6));
        assert_eq!(dataset.split(), Split::Drawn { seed: 42 });
        assert_eq!((dataset.test().image(1), dataset.test().label(3)), (&[6, 7, 8, 9, 10, 11][..], 2));
        sums.push(dataset.sha256().to_owned());
    }
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
}

#[test]
fn rows_and_columns_of_emnist_are_exchanged() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), |name| format!("emnist-letters-{}", name.replace("t10k", "test")), <[u8]>::to_vec, 1);
    let dataset = Dataset::open(None, folder.path(), &()).unwrap();
    assert_eq!(dataset.shape(), Shape { channels: 1, height: 3, width: 2 });
    assert_eq!(dataset.test().image(1), [6, 9, 7, 10, 8, 11]);
}

#[test]
fn validation_images_are_drawn_from_every_class_by_the_seed() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), str::to_owned, <[u8]>::to_vec, 0);
    let open = |validation, seed| {
        let options = Options { validation: Some(validation), seed, ..Options::default() };
        Dataset::open_with(&options, Format::Idx, folder.path(), &())
    };
    let (one, same, other) = (open(8, 1).unwrap(), open(8, 1).unwrap(), open(8, 2).unwrap());
    let mut labels = one.validation().labels().to_vec();
    labels.sort();
    assert_eq!(labels, [0, 0, 0, 0, 1, 1, 2, 2]);
    assert!(one.sha256() == same.sha256() && one.sha256() != other.sha256(), "the checksum covers the split");
    assert!(one.validation().images().eq(same.validation().images()));
    // Together they are the training files, in their order.
    let mut all: Vec<_> = one.training().images().chain(one.validation().images()).map(|image| image[0]).collect();
    all.sort();
    assert_eq!(all, (0..TRAINING).map(|i| 6 * i as u8).collect::<Vec<_>>());
    assert!(one.training().images().map(|image| image[0]).is_sorted());

    let none = open(0, 1).unwrap();
    assert_eq!((none.training().len(), none.validation().len(), none.split()), (TRAINING, 0, Split::None));
    assert!(open(37, 1).is_ok());
    assert!(matches!(open(38, 1), Err(Error::Validation { images: 38, most: 37 })));
}

#[test]
fn several_datasets_in_a_folder_need_a_file_name() {
    let folder = TempDir::new().unwrap();
    for split in ["digits", "letters"] {
        written(folder.path(), |name| format!("emnist-{split}-{name}"), <[u8]>::to_vec, u8::from(split == "letters"));
    }
    let error = Dataset::open(None, folder.path(), &()).unwrap_err().to_string();
    let expected = "several datasets: emnist-digits-train-images, emnist-letters-train-images; give the path of one";
    assert!(error.contains(expected), "{error}");
    let file = folder.path().join("emnist-letters-train-images-idx3-ubyte");
    assert_eq!(Dataset::open(None, &file, &()).unwrap().class_names(), ["1", "2", "3"]);
}

#[test]
fn damaged_files_are_rejected_with_path_and_offset() {
    type Damage = fn(&mut Vec<u8>);
    let cases: [(usize, Damage, &str); 15] = [
        (0, |b| b[2] = 0x0d, "byte 0: wrong magic number: expected 0x00000803, found 0x00000d03"),
        (1, |b| b[3] = 3, "byte 0: wrong magic number: expected 0x00000801, found 0x00000803"),
        (0, |b| b.truncate(11), "byte 11: truncated: expected a header of 16 bytes, found 11"),
        (0, |b| b.clear(), "byte 0: truncated: expected a header of 16 bytes, found 0"),
        (0, |b| b.truncate(255), "byte 255: truncated: 40 x 2 x 3 needs 240 bytes, found 239"),
        (0, |b| b.push(7), "byte 256: trailing bytes after 40 x 2 x 3 = 240 bytes"),
        (0, |b| b[8..12].fill(0), "byte 8: no content: the sizes are 40 x 0 x 3"),
        (0, |b| b[4..16].fill(255), "4294967295 x 4294967295 x 4294967295 bytes are too many: must be at most"),
        (0, |b| b[4..6].fill(2), "needs 202113264 bytes, more than the file can hold"),
        (1, |b| b[7] = 41, "byte 48: truncated: 41 needs 41 bytes, found 40"),
        (1, |b| *b = idx(&[39], &[1; 39]), "39 labels do not match the 40 images of"),
        (1, |b| *b = idx(&[40], &[9; 40]), "found 1 class, but a dataset must have from 2 to 256"),
        (3, |b| b[10] = 200, "byte 10: invalid label 200: no training image has it"),
        (2, |b| *b = idx(&[6, 3, 2], &[0; 36]), "byte 8: images of 1 x 3 x 2, but the training images are 1 x 2 x 3"),
        (2, |b| *b = gzip(b), "wrong magic number"),
    ];
    for (file, damage, expected) in cases {
        for compressed in [false, true] {
            let folder = TempDir::new().unwrap();
            let mut all = files(0);
            damage(&mut all[file].1);
            for (name, bytes) in &all {
                let (name, bytes) =
                    if compressed { (format!("{name}.gz"), gzip(bytes)) } else { ((*name).to_owned(), bytes.clone()) };
                fs::write(folder.path().join(name), bytes).unwrap();
            }
            let error = Dataset::open(Format::Idx, folder.path(), &()).unwrap_err();
            let told = error.to_string();
            // In a compressed file, less is known before the content is read.
            let expected = match expected {
                "byte 255: truncated: 40 x 2 x 3 needs 240 bytes, found 239" if !compressed => "needs 240 bytes",
                "byte 48: truncated: 41 needs 41 bytes, found 40" if !compressed => "41 needs 41 bytes",
                other => other,
            };
            assert!(told.contains(expected), "{told}: {expected}");
            if matches!(error, Error::Idx { .. }) {
                assert!(told.contains(all[file].0), "{told}");
            }
        }
    }
}

#[test]
fn broken_compression_and_missing_files_are_rejected() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), |name| format!("{name}.gz"), gzip, 0);
    let open = || Dataset::open(None, folder.path(), &()).unwrap_err().to_string();
    let (images, labels) = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz");
    let good = fs::read(folder.path().join(images)).unwrap();
    fs::write(folder.path().join(images), &good[..good.len() - 30]).unwrap();
    assert!(open().contains("damaged compressed data"), "{}", open());
    fs::write(folder.path().join(images), b"not gzip").unwrap();
    assert!(open().contains("damaged compressed data"), "{}", open());
    fs::write(folder.path().join(images), good).unwrap();
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
    assert!(open().ends_with("t10k-labels-idx1-ubyte: not found"), "{}", open());
    fs::remove_file(folder.path().join(labels)).unwrap();
    assert!(open().ends_with("train-labels-idx1-ubyte: not found"), "{}", open());
    fs::create_dir(folder.path().join(labels)).unwrap();
    assert!(open().ends_with("not a regular file"), "{}", open());
}

#[test]
fn a_dataset_may_have_no_test_images_and_many_classes() {
    let folder = TempDir::new().unwrap();
    let labels: Vec<u8> = (0..=255).cycle().take(512).collect();
    fs::write(folder.path().join("train-images-idx3-ubyte"), idx(&[512, 1, 1], &[5; 512])).unwrap();
    fs::write(folder.path().join("train-labels-idx1-ubyte"), idx(&[512], &labels)).unwrap();
    let dataset = Dataset::open(None, folder.path(), &()).unwrap();
    assert_eq!((dataset.class_names().len(), dataset.test().len(), dataset.validation().len()), (256, 0, 51));
    fs::write(folder.path().join("train-images-idx3-ubyte"), idx(&[256, 1, 1], &[5; 256])).unwrap();
    fs::write(folder.path().join("train-labels-idx1-ubyte"), idx(&[256], &labels[..256])).unwrap();
    let dataset = Dataset::open(None, folder.path(), &()).unwrap();
    assert_eq!((dataset.training().len(), dataset.split()), (256, Split::None), "every class keeps its only image");
}
