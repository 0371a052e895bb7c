//! Files are written atomically.

use std::fs;
use std::path::Path;

use klayer_store::{Error, files};
use tempfile::TempDir;

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_atomically_without_leftovers() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("file");
    for contents in [&b"a longer first text"[..], b"short", b""] {
        files::probe(&path).expect("it can be written");
        files::write(&path, contents).expect("written");
        assert_eq!(files::read(&path, u64::MAX).expect("read"), contents);
        assert_eq!(names(folder.path()), ["file"]);
    }
}

#[cfg(unix)]
#[test]
fn files_have_default_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a temporary folder");
    let mode = |name: &str| fs::metadata(folder.path().join(name)).expect("a file").permissions().mode();
    files::write(&folder.path().join("ours"), b"x").expect("written");
    fs::write(folder.path().join("any"), b"x").expect("written");
    assert_eq!(mode("ours"), mode("any"));
}

#[test]
fn a_failed_write_keeps_the_old_file_and_leaves_no_temporary_file() {
    let folder = TempDir::new().expect("a temporary folder");
    let (target, inside) = (folder.path().join("target"), folder.path().join("target").join("old"));
    fs::create_dir(&target).expect("a folder");
    fs::write(&inside, "old").expect("written");
    fs::write(folder.path().join("file"), "old").expect("written");

    for path in [target, folder.path().join("missing").join("new"), folder.path().join("file").join("new")] {
        for result in [files::probe(&path), files::write(&path, b"new")] {
            let error = result.expect_err("it cannot be written");
            assert!(matches!(error, Error::File { .. }), "{error}");
            let text = error.to_string();
            assert!(!text.contains(".klayer-"), "the user knows nothing of temporary names: {text}");
        }
        assert_eq!(names(folder.path()), ["file", "target"]);
        assert_eq!(names(&folder.path().join("target")), ["old"]);
        assert_eq!(fs::read(&inside).expect("it is still there"), b"old");
        assert_eq!(fs::read(folder.path().join("file")).expect("it is still there"), b"old");
    }
}
