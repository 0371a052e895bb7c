//! Archives, as gzip and tar files: unpacking gives the expected files or an error that leaves nothing behind.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use klayer_dataset::Archive;
use klayer_fuzz::archive::{archive, files, gzip, with_right_sums};
use klayer_fuzz::{assert_sentence, scratch};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static OUTSIDE: LazyLock<TempDir> = LazyLock::new(scratch);
static ARCHIVE: LazyLock<Archive> = LazyLock::new(archive);

fuzz_target!(|bytes: &[u8]| {
    unpack(bytes);
    unpack(&gzip(&with_right_sums(bytes)));
});

fn unpack(bytes: &[u8]) {
    let parent = OUTSIDE.path().join("data");
    fs::create_dir_all(&parent).expect("a folder");
    match ARCHIVE.unpack(bytes, &parent, &()) {
        Ok(folder) => {
            assert_eq!(folder, parent.join("photos"));
            for (name, content) in files() {
                assert_eq!(fs::read(folder.join(name)).expect("a file"), content);
            }
            assert_eq!(names(&folder).len(), files().len());
            assert_eq!(names(&parent), ["photos"]);
            fs::remove_dir_all(folder).expect("it can be removed");
        }
        Err(error) => {
            assert_eq!(names(&parent), [""; 0], "{error}");
            assert_sentence(&error);
        }
    }
    assert_eq!(names(OUTSIDE.path()), ["data"]);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
}
