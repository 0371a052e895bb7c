//! Malicious and damaged archives.

use std::fs;
use std::path::Path;

use crate::sample::{Sample, Tar};
use flate2::Compression;
use klayer_dataset::Error;
use proptest::prelude::*;
use tar::EntryType;
use tempfile::TempDir;

/// Unpacks `bytes` in a folder that must stay empty, and returns the error.
fn refused(sample: &Sample, bytes: &[u8]) -> Error {
    let outside = TempDir::new().unwrap();
    let parent = outside.path().join("data");
    fs::create_dir(&parent).unwrap();
    let error = sample.archive.unpack(bytes, &parent, &()).unwrap_err();
    assert!(is_empty(&parent), "nothing remains after {error}");
    fs::remove_dir(&parent).unwrap();
    assert!(is_empty(outside.path()), "nothing was written outside");
    error
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn an_archive_unpacks_to_its_folder_without_ignored_files() {
    let (sample, parent) = (Sample::new(), TempDir::new().unwrap());
    // Leftovers of a killed process do not matter.
    fs::create_dir(parent.path().join("photos.part")).unwrap();
    fs::write(parent.path().join("photos.part/one.bin"), "half").unwrap();
    let folder = sample.archive.unpack(&*sample.bytes, parent.path(), &()).unwrap();
    assert_eq!(folder, parent.path().join("photos"));
    for (name, bytes) in &sample.files {
        assert_eq!(&fs::read(folder.join(name)).unwrap(), bytes);
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), sample.files.len());
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[test]
fn unexpected_entries_are_rejected() {
    let sample = Sample::new();
    let content = &sample.files[0].1;
    for (path, kind) in [
        ("../one.bin", EntryType::Regular),
        ("photos/../../one.bin", EntryType::Regular),
        ("photos/../photos/one.bin", EntryType::Regular),
        ("/photos/one.bin", EntryType::Regular),
        ("/tmp/one.bin", EntryType::Regular),
        ("one.bin", EntryType::Regular),
        ("other/one.bin", EntryType::Regular),
        ("photos/deeper/one.bin", EntryType::Regular),
        ("photos/three.bin", EntryType::Regular),
        ("photos/one.bin", EntryType::Symlink),
        ("photos/one.bin", EntryType::Link),
        ("photos/one.bin", EntryType::Fifo),
        ("photos/one.bin", EntryType::Directory),
        ("photos", EntryType::Symlink),
        ("photos", EntryType::Regular),
        ("photos/readme.html", EntryType::Symlink),
        ("other/", EntryType::Directory),
    ] {
        let mut tar = Tar::new();
        tar.add(path, kind, if kind == EntryType::Regular { content } else { &[] });
        match refused(&sample, &tar.gzip(Compression::fast())) {
            Error::Archive { entry, .. } => assert_eq!(entry, Path::new(path), "{kind:?}"),
            error => panic!("{path}: {error}"),
        }
    }
}

#[test]
fn control_characters_in_names_are_escaped_in_errors() {
    let sample = Sample::new();
    let mut tar = Tar::new();
    // A name too long for a header is stored as the content of an entry before it.
    tar.add("././@LongLink", EntryType::GNULongName, format!("photos/\u{1b}[2J{}", "x".repeat(10_000)).as_bytes());
    tar.add("photos/x", EntryType::Regular, b"two");
    let text = refused(&sample, &tar.gzip(Compression::fast())).to_string();
    assert!(text.contains(r"photos/\u{1b}[2Jxxx") && text.contains("unexpected entry"), "{text}");
    assert!(text.len() < 500 && !text.contains(char::is_control), "{text}");
}

#[test]
fn a_file_of_the_wrong_size_is_rejected_before_writing() {
    let sample = Sample::new();
    for size in [149_999, 150_001, 1 << 40] {
        let mut tar = Tar::new();
        tar.add_claiming("photos/one.bin", EntryType::Regular, size, &sample.files[0].1);
        match refused(&sample, &tar.gzip(Compression::fast())) {
            Error::Size { path, expected: 150_000, found } => {
                assert_eq!((path.as_path(), found), (Path::new("photos/one.bin"), size))
            }
            error => panic!("{error}"),
        }
    }
}

#[test]
fn a_checksum_mismatch_is_rejected_with_both_checksums() {
    let sample = Sample::new();
    let mut content = sample.files[0].1.clone();
    content[77] ^= 1;
    let mut tar = Tar::new();
    tar.add("photos/one.bin", EntryType::Regular, &content);
    match refused(&sample, &tar.gzip(Compression::fast())) {
        Error::Checksum { path, algorithm: "SHA-256", expected, found } => {
            assert_eq!(path, Path::new("photos/one.bin"));
            assert_eq!(expected, sample.archive.files[0].sha256);
            assert_ne!(found, expected);
        }
        error => panic!("{error}"),
    }
}

#[test]
fn duplicate_and_missing_files_are_rejected() {
    let sample = Sample::new();
    for names in [["one.bin", "one.bin"], ["two.bin", "readme.html"]] {
        let mut tar = Tar::new();
        for name in names {
            let content = sample.files.iter().find(|file| file.0 == name).map(|file| &*file.1);
            tar.add(&format!("photos/{name}"), EntryType::Regular, content.unwrap_or_default());
        }
        match refused(&sample, &tar.gzip(Compression::fast())) {
            Error::Archive { entry, .. } => assert_eq!(entry, Path::new("photos/one.bin")),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn a_truncated_archive_is_rejected() {
    let sample = Sample::new();
    for end in [0, 1, 15, 600, sample.bytes.len() / 2, sample.bytes.len() - 1000] {
        let error = refused(&sample, &sample.bytes[..end]);
        assert!(matches!(error, Error::Archive { .. }), "{end}: {error}");
    }
}

#[test]
fn a_decompression_bomb_is_rejected() {
    // 64 MB of zeros in an ignored entry.
    let sample = Sample::new();
    let mut tar = Tar::new();
    tar.add("photos/readme.html", EntryType::Regular, &vec![0; 64 << 20]);
    for (name, bytes) in &sample.files {
        tar.add(&format!("photos/{name}"), EntryType::Regular, bytes);
    }
    assert!(matches!(refused(&sample, &tar.gzip(Compression::fast())), Error::Archive { .. }));
}

#[test]
fn an_existing_folder_is_not_overwritten() {
    let (sample, parent) = (Sample::new(), TempDir::new().unwrap());
    fs::create_dir(parent.path().join("photos")).unwrap();
    fs::write(parent.path().join("photos/mine"), "mine").unwrap();
    let error = sample.archive.unpack(&*sample.bytes, parent.path(), &()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(fs::read(parent.path().join("photos/mine")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_archive_is_rejected_or_unpacks_to_the_right_files(at in 0_usize..200_000, mask in 1_u8..) {
        let (sample, parent) = (Sample::new(), TempDir::new().unwrap());
        let mut bytes = sample.bytes.clone();
        let at = at % bytes.len();
        bytes[at] ^= mask;
        match sample.archive.unpack(&*bytes, parent.path(), &()) {
            Ok(folder) => for (name, content) in &sample.files {
                prop_assert_eq!(&fs::read(folder.join(name)).unwrap(), content);
            },
            Err(_) => prop_assert!(is_empty(parent.path())),
        }
    }
}
