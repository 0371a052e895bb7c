//! Faults that a search has to bear: kills at any moment, a store that goes away, that is full, that cannot be written.
//!
//! What counts is what is left: every record that was finished, and in the end the records of an undisturbed search,
//! byte for byte but for the line that tells its seconds. `cargo test -p klayer-tests --release --
//! --ignored --nocapture a_hundred_kills` is the long form.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use klayer_tests::{Ended, end, folder, images, klayer};

/// The records of `store` by name, without the line of their seconds.
fn records(store: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(store).expect("a store").map(|entry| entry.expect("an entry").path());
    let records = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let timeless = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a record");
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("  \"seconds\":")).collect();
        (path.file_name().expect("a name").to_string_lossy().into_owned(), lines.join("\n"))
    };
    records.map(timeless).collect()
}

/// How many of the records `expected` are not among `found`, and how many say something else there.
fn compare(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> (usize, usize) {
    let lost = expected.keys().filter(|name| !found.contains_key(*name)).count();
    let different = expected.iter().filter(|(name, record)| found.get(*name).is_some_and(|found| found != *record));
    (lost, different.count() + found.keys().filter(|name| !expected.contains_key(*name)).count())
}

fn search(folder: &Path, store: &str, more: &str) -> Command {
    let mut command = klayer(folder, "search --cycles 1 --hidden 20 --store");
    command.arg(store).args(more.split_whitespace()).args(images());
    command
}

/// Kills a search `kills` times at moments that look random, lets it end, and compares. Returns what was lost and what
/// is different.
fn kill_again_and_again(kills: usize) -> (usize, usize) {
    let (_guard, folder) = folder();
    // Long enough that it cannot end between the kills.
    let size = format!("--trials 6 --n-s {} --validate-every 500 --checkpoint-every 0.05", 300 * kills);
    let mut random = 42_u64;
    for kill in 0..kills {
        let mut child =
            search(&folder, "killed", &size).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(100 + (random >> 33) % 900));
        assert!(child.try_wait().expect("a status").is_none(), "it ended before kill {kill}");
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
    }
    end(&mut search(&folder, "killed", &size)).well();
    end(&mut search(&folder, "alone", &size)).well();
    let expected = records(&folder.join("alone"));
    assert_eq!(expected.len(), 6);
    compare(&expected, &records(&folder.join("killed")))
}

#[test]
fn a_search_that_is_killed_a_dozen_times_makes_the_records_of_an_undisturbed_one() {
    assert_eq!(kill_again_and_again(12), (0, 0), "records lost, records different");
}

#[test]
#[ignore = "minutes of kills; the suite makes a dozen"]
#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn a_hundred_kills() {
    let (lost, different) = kill_again_and_again(100);
    println!("| fault | times | records lost | records different |\n| --- | ---: | ---: | ---: |");
    println!("| SIGKILL at a random moment | 100 | {lost} | {different} |");
    assert_eq!((lost, different), (0, 0));
}

#[test]
fn a_record_that_is_missing_or_changed_would_be_noticed() {
    let (_guard, folder) = folder();
    let store = folder.join("store");
    end(&mut search(&folder, "store", "--trials 2 --n-s 10")).well();
    let before = records(&store);
    assert_eq!(compare(&before, &records(&store)), (0, 0));
    let name = before.keys().next().expect("a record");
    let text = fs::read_to_string(store.join(name)).expect("a record");
    fs::write(store.join(name), text.replacen("\"validation_loss\": 2", "\"validation_loss\": 3", 1)).expect("written");
    assert_eq!(compare(&before, &records(&store)), (0, 1));
    fs::remove_file(store.join(name)).expect("it is ours");
    assert_eq!(compare(&before, &records(&store)), (1, 0));
}

/// One sentence and a status, and no panic.
#[track_caller]
fn assert_told(ended: &Ended, word: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:#?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains(word), "{ended:#?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
}

#[test]
fn a_store_that_is_deleted_under_a_search_is_told_and_another_search_makes_all_of_it() {
    let (_guard, folder) = folder();
    let store = folder.join("store");
    let size = "--trials 4 --n-s 1500 --checkpoint-every 0.1";
    let mut command = search(&folder, "store", size);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let start = Instant::now();
    let under_way = || fs::read_dir(&store).is_ok_and(|entries| entries.count() > 1);
    while !under_way() {
        assert!(start.elapsed() < Duration::from_secs(60), "it takes too long");
        thread::sleep(Duration::from_millis(10));
    }
    // It may write a file while its folder is emptied.
    while store.exists() {
        let _ = fs::remove_dir_all(&store);
    }
    let ended = klayer_tests::ended(child.wait_with_output().expect("it ends"));
    assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
    // Without the folder nothing can be kept; a record that the search says it has made is there.
    if ended.code == Some(0) {
        assert_eq!(records(&store).len(), 4, "{ended:#?}");
    } else {
        assert_told(&ended, "store");
    }
    end(&mut search(&folder, "store", size)).well();
    end(&mut search(&folder, "alone", size)).well();
    assert_eq!(compare(&records(&folder.join("alone")), &records(&store)), (0, 0));
}

/// A small file system of its own, where the test may mount one.
struct Disk(PathBuf);

impl Disk {
    #[expect(clippy::print_stdout, reason = "a test that is skipped says why")]
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&at).expect("a folder");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(at));
        }
        println!("skipped: no file system can be mounted here");
        None
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", options]).arg(&self.0).status().expect("mount is there");
        assert!(status.success(), "{options}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_with_room_again_the_search_ends_as_if_nothing_had_been() {
    let (_guard, folder) = folder();
    let Some(disk) = Disk::mount(folder.join("disk"), "size=64k") else { return };
    let size = "--trials 3 --n-s 300 --threads 1";
    fs::write(disk.0.join("ballast"), vec![0; 64 * 1024 - 4096]).expect("there is room for that");
    let ended = end(&mut search(&folder, "disk/store", size));
    assert_told(&ended, "store");
    disk.remount("remount,size=64m");
    end(&mut search(&folder, "disk/store", size)).well();
    end(&mut search(&folder, "alone", size)).well();
    assert_eq!(compare(&records(&folder.join("alone")), &records(&disk.0.join("store"))), (0, 0));
}

#[test]
fn a_store_that_cannot_be_written_is_told_before_anything_is_trained_and_can_be_read() {
    let (_guard, folder) = folder();
    let Some(disk) = Disk::mount(folder.join("disk"), "size=64m") else { return };
    let size = "--n-s 50";
    let table = end(&mut search(&folder, "disk/store", &format!("--trials 2 {size}"))).well().stdout;
    let before = records(&disk.0.join("store"));
    disk.remount("remount,ro");
    assert_told(&end(&mut search(&folder, "disk/store", &format!("--trials 3 {size}"))), "store");
    assert_eq!(records(&disk.0.join("store")), before, "what was finished is as it was");
    assert_eq!(end(&mut search(&folder, "disk/store", &format!("--trials 2 {size} --collect"))).well().stdout, table);
}
