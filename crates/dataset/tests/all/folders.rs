//! Invalid folders and files, and the search order of folders.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use klayer_dataset::{
    Dataset, Error, Format, Options, Shape, Sizes, Source, Split, fetch, load, load_or_generate, parse_cifar10,
    parse_cifar100,
};
use proptest::prelude::*;
use tempfile::TempDir;

const RECORD: usize = 3073;
const ZEROS: &str = "3a8a84b64bcf861b26141d5cdcae007b8457d57210923dc132103760842ce568";

fn open(folder: &Path) -> Error {
    Dataset::open(Format::Cifar10, folder, &()).unwrap_err()
}

/// A sparse file of zeros.
fn sparse(path: &Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn errors_for_unrecognized_paths_describe_what_was_found() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("cifar-10-batches-bin");
    match open(&folder) {
        Error::Missing { path } => assert_eq!(path, folder),
        error => panic!("{error}"),
    }
    fs::write(&folder, "a file").unwrap();
    let told = |folder: &Path| match open(folder) {
        Error::Unrecognized { path, found, expected, .. } => {
            assert_eq!(path, folder);
            let all = ["data_batch_1.bin", "data_batch_1,", "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"];
            assert!(all.iter().all(|name| expected.contains(name)), "{expected}");
            found
        }
        error => panic!("{error}"),
    };
    assert_eq!(told(&folder), "a file of 6 bytes, not a .tar.gz archive");
    let mut tar = crate::sample::Tar::new();
    tar.add("photos/one.bin", tar::EntryType::Regular, b"one");
    fs::write(&folder, tar.gzip(flate2::Compression::fast())).unwrap();
    assert_eq!(told(&folder), "an archive of other files");
    let folder = parent.path().join("folder");
    fs::create_dir(&folder).unwrap();
    assert_eq!(told(&folder), "an empty folder");
    ["a", "b", "c"].iter().for_each(|name| fs::write(folder.join(name), "").unwrap());
    assert_eq!(told(&folder), "a folder with a, b, c");
    ["d", "e", "f", "g"].iter().for_each(|name| fs::write(folder.join(name), "").unwrap());
    assert_eq!(told(&folder), "a folder with a, b, c, d, e and 2 more");
}

#[test]
fn the_python_version_is_found_and_verified() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("cifar-10-batches-py");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("test_batch"), "").unwrap();
    assert!(matches!(open(&folder), Error::Missing { path } if path == folder.join("data_batch_1")));
    fs::write(folder.join("data_batch_1"), b"].").unwrap();
    // By itself, and in a folder that contains it.
    for place in [folder.as_path(), parent.path()] {
        match open(place) {
            Error::Checksum { path, algorithm: "MD5", expected, .. } => {
                assert_eq!(path, folder.join("data_batch_1"));
                assert_eq!(expected, "c99cafc152244af753f735de768cd75f");
            }
            error => panic!("{error}"),
        }
    }
    sparse(&folder.join("data_batch_1"), 40 << 20);
    assert!(matches!(open(&folder), Error::TooLong { most: 33_554_432, .. }));
    let mut tar = crate::sample::Tar::new();
    tar.add("cifar-10-batches-py/data_batch_1", tar::EntryType::Regular, b"].");
    let archive = parent.path().join("mine.tgz");
    fs::write(&archive, tar.gzip(flate2::Compression::fast())).unwrap();
    assert!(matches!(open(&archive), Error::Checksum { path, .. } if path == archive.join("data_batch_1")));
}

#[test]
fn hostile_archives_are_rejected_with_the_reason() {
    use tar::EntryType::{Regular, Symlink};
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("mine.tar.gz");
    let packed = |kind, size, bytes: &[u8]| {
        let mut tar = crate::sample::Tar::new();
        tar.add_claiming("cifar-10-batches-bin/data_batch_1.bin", kind, size, bytes);
        tar.gzip(flate2::Compression::fast())
    };
    let noise = crate::sample::pseudo_random(30_000, 1);
    let whole = packed(Regular, 30_000, &noise);
    let mut junk = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    junk.write_all(&noise).unwrap();
    for (bytes, reason) in [
        (packed(Regular, 1 << 30, b""), "an entry of 1073741824 bytes is larger than the dataset"),
        (packed(Regular, 200 << 20, b""), "cannot read the archive: "),
        (whole[..whole.len() / 2].to_vec(), "cannot read the archive: "),
        (junk.finish().unwrap(), "cannot read the archive: "),
        (packed(Symlink, 0, b""), "no CIFAR-10 dataset: found an archive of other files"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = open(&path).to_string();
        let told = error.strip_prefix(&format!("{}: ", path.display())).unwrap();
        assert!(told.starts_with(reason) && told.len() < 400 && !told.contains('\0'), "{error}");
    }
}

#[test]
fn missing_irregular_and_wrongly_sized_files_are_rejected() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("data_batch_1.bin");
    fs::write(folder.path().join("test_batch.bin"), "").unwrap();
    assert!(matches!(open(folder.path()), Error::Missing { path } if path == file));
    fs::create_dir(&file).unwrap();
    assert!(matches!(open(folder.path()), Error::NotAFile { path } if path == file));
    fs::remove_dir(&file).unwrap();
    for size in [0, 30_729_999, 30_730_001] {
        sparse(&file, size);
        let error = open(folder.path());
        assert_eq!(error.to_string(), format!("{}: wrong size: expected 30730000 bytes, found {size}", file.display()));
    }
}

#[test]
fn a_checksum_mismatch_is_rejected() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("data_batch_1.bin");
    sparse(&file, 30_730_000);
    match open(folder.path()) {
        Error::Checksum { path, algorithm: "SHA-256", expected, found } => {
            assert_eq!(path, file);
            assert_eq!(expected, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5");
            // The SHA-256 of 30,730,000 zeros, by sha256sum.
            assert_eq!(found, ZEROS);
        }
        error => panic!("{error}"),
    }
}

#[cfg(unix)]
#[test]
#[allow(clippy::print_stderr)]
fn an_unreadable_file_is_named_in_the_error() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("data_batch_1.bin");
    sparse(&file, 30_730_000);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&file).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    match open(folder.path()) {
        Error::Io { path, error } => {
            assert_eq!((path, error.kind()), (file, std::io::ErrorKind::PermissionDenied));
        }
        error => panic!("{error}"),
    }
}

#[cfg(unix)]
#[test]
fn one_flipped_bit_in_the_real_data_is_detected() {
    let Some(real) = klayer_tests::cifar10() else { return };
    let real = fs::canonicalize(real).unwrap();
    let folder = TempDir::new().unwrap();
    for entry in fs::read_dir(&real).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    Dataset::open(Format::Cifar10, folder.path(), &()).unwrap();
    let file = folder.path().join("test_batch.bin");
    let mut bytes = fs::read(&file).unwrap();
    bytes[30_729_999] ^= 1;
    fs::remove_file(&file).unwrap();
    fs::write(&file, bytes).unwrap();
    assert!(matches!(open(folder.path()), Error::Checksum { path, .. } if path == file));
}

#[test]
fn invalid_labels_are_rejected_with_their_offset() {
    let mut bytes = vec![9; 3 * RECORD];
    assert_eq!(parse_cifar10(Path::new("x.bin"), &bytes).unwrap().len(), 3);
    bytes[2 * RECORD] = 10;
    let error = parse_cifar10(Path::new("x.bin"), &bytes).unwrap_err();
    assert_eq!(error.to_string(), "x.bin: invalid label 10 at byte 6146: must be below 10");
    let error = parse_cifar10(Path::new("x.bin"), &bytes[..RECORD + 5]).unwrap_err();
    assert_eq!(error.to_string(), "x.bin: the record at byte 3073 is truncated: expected 3073 bytes, found 5");

    let mut bytes = vec![19; 2 * 3074];
    assert_eq!(parse_cifar100(Path::new("x.bin"), &bytes).unwrap().len(), 2);
    bytes[3074 + 1] = 100;
    let error = parse_cifar100(Path::new("x.bin"), &bytes).unwrap_err();
    assert_eq!(error.to_string(), "x.bin: invalid label 100 at byte 3075: must be below 100");
    bytes[3074] = 20;
    let error = parse_cifar100(Path::new("x.bin"), &bytes).unwrap_err();
    assert_eq!(error.to_string(), "x.bin: invalid label 20 at byte 3074: must be below 20");
}

#[test]
fn cifar_100_has_coarse_and_fine_labels() {
    let folder = TempDir::new().unwrap();
    let error = |folder: &Path| Dataset::open(Format::Cifar100, folder, &()).unwrap_err();
    for (name, images) in [("train.bin", 50_000), ("test.bin", 10_000)] {
        let record = |i: usize| {
            let mut record = vec![(i % 251) as u8; 3074];
            (record[0], record[1]) = ((i % 20) as u8, (i % 100) as u8);
            record
        };
        fs::write(folder.path().join(name), (0..images).flat_map(record).collect::<Vec<u8>>()).unwrap();
    }
    let dataset = Dataset::open(Format::Cifar100, folder.path(), &()).unwrap();
    assert_eq!((dataset.name(), dataset.class_names().len()), ("CIFAR-100", 100));
    let validation = dataset.validation();
    assert_eq!((dataset.training().len(), validation.len(), dataset.test().len()), (45_000, 5_000, 10_000));
    assert_eq!((validation.coarse_labels()[37], validation.label(37)), (17, 37));
    assert_eq!(validation.image(37)[0], (45_037 % 251) as u8);

    assert_eq!(Format::detect(folder.path()).unwrap(), Format::Cifar100);
    let coarse = Dataset::open(Format::Cifar100Coarse, folder.path(), &()).unwrap();
    assert_eq!((coarse.class_names().len(), coarse.validation().label(37)), (20, 17));
    assert!(coarse.sha256() != dataset.sha256() && coarse.validation().coarse_labels().is_empty());
    let options = Options { validation: Some(0), ..Options::default() };
    let all = Dataset::open_with(&options, None, folder.path(), &()).unwrap();
    assert_eq!((all.training().len(), all.validation().len(), all.split()), (50_000, 0, Split::None));
    assert_ne!(all.sha256(), dataset.sha256());
    let options = Options { validation: Some(50_000), ..options };
    let refused = Dataset::open_with(&options, Format::Cifar100, folder.path(), &()).unwrap_err();
    assert!(matches!(refused, Error::Validation { images: 50_000, most: 49_999 }));

    let test = folder.path().join("test.bin");
    let mut bytes = fs::read(&test).unwrap();
    bytes[3074] = 20;
    fs::write(&test, &bytes).unwrap();
    assert!(matches!(error(folder.path()), Error::Label { path, offset: 3074, label: 20, .. } if path == test));
    fs::write(&test, &bytes[1..]).unwrap();
    assert!(matches!(error(folder.path()), Error::Size { path, found: 30_739_999, .. } if path == test));
}

#[test]
fn cifar_100_archives_and_python_files_are_verified() {
    let parent = TempDir::new().unwrap();
    let md5_of = |path: &Path, format: Option<Format>| match Dataset::open(format, path, &()) {
        Err(Error::Checksum { path, algorithm: "MD5", expected, .. }) => (path, expected),
        other => panic!("{other:?}"),
    };
    for (folder, file, named, expected) in [
        ("cifar-100-binary", "train.bin", "", "03b5dce01913d631647c71ecec9e9cb8"),
        ("cifar-100-python", "train", "train", "16019d7e3df5f24257cddd939b257f8d"),
    ] {
        let mut tar = crate::sample::Tar::new();
        tar.add(&format!("{folder}/{file}"), tar::EntryType::Regular, b"].");
        let archive = parent.path().join(format!("{folder}.tgz"));
        fs::write(&archive, tar.gzip(flate2::Compression::fast())).unwrap();
        assert_eq!(Format::detect(&archive).unwrap(), Format::Cifar100);
        let path = if named.is_empty() { archive.clone() } else { archive.join(named) };
        assert_eq!(md5_of(&archive, None), (path, expected.to_owned()));
    }
    let folder = parent.path().join("cifar-100-python");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("train"), b"].").unwrap();
    assert_eq!(md5_of(parent.path(), None).0, folder.join("train"), "in a folder that contains it");
    sparse(&folder.join("train"), 170 << 20);
    let refused = Dataset::open(Format::Cifar100Coarse, &folder, &()).unwrap_err();
    assert!(matches!(refused, Error::TooLong { most: 167_772_160, .. }));
}

#[test]
fn formats_have_names_and_places() {
    for &format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>(), Ok(format));
    }
    assert!(
        "cifar".parse::<Format>().unwrap_err().starts_with("expected one of cifar10, cifar100, cifar100-coarse, idx")
    );
    assert_eq!((Format::Cifar100Coarse.variable(), Format::Idx.variable()), (Some("CIFAR100_DIR"), None));
    let dimensions = Format::Cifar10.dimensions(None).unwrap();
    assert_eq!((dimensions.shape, dimensions.classes, dimensions.training), (Shape::CIFAR, 10, 45_000));
    assert!(matches!(load(&Source::new(Format::Idx, "."), &()), Err(Error::NoFolder { format: Format::Idx })));
    for (features, shape) in [(3072, "3 x 32 x 32"), (784, "1 x 28 x 28"), (3, "3 x 1 x 1"), (1, "1 x 1 x 1")] {
        assert_eq!(Shape::square(features).unwrap().to_string(), shape);
    }
    assert!([0, 2, 5, 3071].iter().all(|&features| Shape::square(features).is_none()));
}

#[test]
fn an_invalid_given_folder_is_an_error() {
    let root = TempDir::new().unwrap();
    let missing = root.path().join("nowhere");
    let usual = Source { offline: true, ..Source::new(Format::Cifar10, root.path()) };
    let named = Source { dir: Some(missing.clone()), ..usual.clone() };
    assert!(matches!(load(&named, &()), Err(Error::Missing { path }) if path == missing));
    let environment = Source { environment: Some(missing.clone()), ..usual.clone() };
    assert!(matches!(load(&environment, &()), Err(Error::Missing { path }) if path == missing));

    // The user's folder takes precedence over the environment's.
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let both = Source { dir: Some(file.clone()), ..environment };
    assert!(matches!(load(&both, &()), Err(Error::Unrecognized { path, .. }) if path == file));

    // An invalid default folder is an error too, and does not lead to the stand-in.
    let data = root.path().join("data/cifar-10-batches-bin");
    fs::create_dir_all(&data).unwrap();
    assert!(matches!(load(&usual, &()), Err(Error::Unrecognized { path, .. }) if path == data));
}

#[test]
fn default_folders_are_searched_in_order() {
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("checkout");
    fs::create_dir(&root).unwrap();
    let source = Source { offline: true, ..Source::new(Format::Cifar10, &root) };
    assert!(matches!(fetch(&source, &()), Err(Error::Offline { .. })));

    // Each folder is recognized by its error.
    let shared = parent.path().join("shared/cifar-10-batches-bin");
    fs::create_dir_all(&shared).unwrap();
    sparse(&shared.join("data_batch_1.bin"), 1);
    assert!(matches!(fetch(&source, &()), Err(Error::Size { found: 1, .. })));
    let data = root.join("data/cifar-10-batches-bin");
    fs::create_dir_all(&data).unwrap();
    sparse(&data.join("data_batch_1.bin"), 2);
    assert!(matches!(fetch(&source, &()), Err(Error::Size { found: 2, .. })));

    // Without it, whatever --data accepts; the archives of Keras are tried last.
    fs::remove_dir_all(&data).unwrap();
    let data = root.join("data");
    for name in ["cifar-10-batches-py-target_archive", "cifar-10-batches-py.tar.gz", "cifar-10-binary.tar.gz"] {
        fs::write(data.join(name), name).unwrap();
        assert!(matches!(fetch(&source, &()), Err(Error::Unrecognized { path, .. }) if path == data.join(name)));
    }
    for name in ["cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-py"] {
        fs::create_dir_all(data.join(name)).unwrap();
        fs::write(data.join(name).join("data_batch_1"), "").unwrap();
        assert!(matches!(fetch(&source, &()), Err(Error::Checksum { path, .. }) if path.starts_with(data.join(name))));
    }
    // Other files are skipped.
    fs::remove_dir_all(&data).unwrap();
    for other in ["data/notes", "data"] {
        fs::create_dir_all(root.join(other).parent().unwrap()).unwrap();
        fs::write(root.join(other), "").unwrap();
        assert!(matches!(fetch(&source, &()), Err(Error::Size { found: 1, .. })), "{other}");
        let _ = fs::remove_dir_all(&data);
    }
}

#[test]
fn the_stand_in_has_a_reason() {
    let root = TempDir::new().unwrap();
    let offline = Source {
        offline: true,
        options: Options { seed: 7, ..Options::default() },
        ..Source::new(Format::Cifar10, root.path())
    };
    assert!(matches!(load(&offline, &()), Err(Error::Offline { .. })));
    let dataset = load_or_generate(&offline, &()).unwrap();
    assert!(dataset.synthetic() && dataset.name() == "synthetic stand-in");
    assert!(dataset.synthetic_reason().unwrap().contains("downloads are disabled"));
    assert_eq!((dataset.training().len(), dataset.validation().len(), dataset.test().len()), (45_000, 5_000, 10_000));
    let asked = load(&Source { synthetic: true, ..offline.clone() }, &()).unwrap();
    assert_eq!(asked.synthetic_reason(), Some("requested"));
    assert_eq!(asked.sha256(), dataset.sha256());
    assert_eq!(asked.sha256(), Dataset::generate(7, Sizes::CIFAR, "", &()).unwrap().sha256());

    let cifar100 = Source { format: Some(Format::Cifar100), ..offline };
    assert!(matches!(load(&cifar100, &()), Err(Error::Missing { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_rejected(records in 0_usize..4, rest in 0_usize..3074, seed: u64, limit in 1_u8..=255) {
        let mut bytes = crate::sample::pseudo_random(records * RECORD + rest, seed);
        for label in bytes.iter_mut().step_by(RECORD) {
            *label %= limit;
        }
        match parse_cifar10(Path::new("x"), &bytes) {
            Ok(part) => {
                prop_assert_eq!(part.len() * RECORD, bytes.len());
                let subset = klayer_dataset::Subset::of(&part);
                for (i, record) in bytes.chunks(RECORD).enumerate() {
                    prop_assert_eq!((subset.label(i), subset.image(i)), (record[0], &record[1..]));
                }
            }
            Err(Error::PartialRecord { offset, found, .. }) => {
                prop_assert_eq!(offset as usize + found, bytes.len());
            }
            Err(Error::Label { offset, label, .. }) => {
                prop_assert!(label > 9 && bytes[offset as usize] == label);
            }
            Err(error) => panic!("{error}"),
        }
    }
}
