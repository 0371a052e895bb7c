//! Fault injection: kills at random moments, halted processes, clock jumps, and deleted, full and read-only stores.
//!
//! No fault may lose a finished record, and the final records must equal those of an undisturbed search, byte for byte
//! except for the line with the run time. `cargo test` tries a few kills, and `cargo xtask ci` each fault
//! once or a dozen times;
//! `cargo test -p klayer-tests --release --test all -- --ignored --nocapture the_table_of_faults` tries all of them
//! more often, with a hundred kills, and prints a table.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use klayer_tests::{Ended, end, files, folder, images, klayer, skipped};
use serde_json::Value;

use crate::interrupts::signal;

/// Damage of a fault to the records, compared with an undisturbed search.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Damage {
    records: usize,
    lost: usize,
    different: usize,
}

impl Damage {
    /// Compares the store `found` with the store `expected`.
    fn between(expected: &Path, found: &Path) -> Self {
        let (expected, found) = (records(expected), records(found));
        let (lost, different) = compare(&expected, &found);
        Self { records: expected.len(), lost, different }
    }

    #[track_caller]
    fn assert_none(self, records: usize) {
        assert_eq!(self, Self { records, lost: 0, different: 0 });
    }
}

/// The records of `store` by name, without the line with the run time.
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

/// Numbers of records of `expected` that are missing in `found`, and that differ there.
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

/// Starts `command` without output.
fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// Pseudo-random times from 100 to 1,000 ms.
fn moments() -> impl Iterator<Item = Duration> {
    let mut random = 42_u64;
    std::iter::from_fn(move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(Duration::from_millis(100 + (random >> 33) % 900))
    })
}

/// Starts `command` and kills it at a random moment, `kills` times unless it finishes earlier. Calls `look` after each
/// kill. Returns the number of kills.
fn kill_again_and_again(command: &mut Command, kills: usize, mut look: impl FnMut()) -> usize {
    for (kill, moment) in moments().take(kills).enumerate() {
        let mut child = start(command);
        thread::sleep(moment);
        if child.try_wait().expect("a status").is_some() {
            return kill;
        }
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
        look();
    }
    kills
}

/// The bytes of the records of `store`.
fn snapshot(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut names = if store.exists() { files(store) } else { Vec::new() };
    names.retain(|name| name.extension().is_some_and(|extension| extension == "json"));
    names.into_iter().map(|name| (name.clone(), fs::read(store.join(name)).expect("a record"))).collect()
}

/// Kills a search `kills` times and lets it finish. Restarts may not lose or change finished records. Also returns the
/// number of kills, and the number of kills after which some but not all trials were finished.
fn killed_search(kills: usize) -> (Damage, usize, usize) {
    let (_guard, folder) = folder();
    let store = folder.join("killed");
    // Sizes for which a process finishes a few trials, and many. A validation takes longer than the interval between
    // checkpoints, so that many checkpoints directly follow a validation.
    let trials = 5 * kills;
    let size = format!("--trials {trials} --n-s 100 --threads 1 --validate-every 50");
    let (mut seen, mut among, mut lost, mut different) = (BTreeMap::new(), 0, 0, 0);
    let often = format!("{size} --checkpoint-every 0.05");
    let made = kill_again_and_again(&mut search(&folder, "killed", &often), kills, || {
        let now = snapshot(&store);
        lost += seen.keys().filter(|name| !now.contains_key(*name)).count();
        different += seen.iter().filter(|(name, record)| now.get(*name).is_some_and(|now| now != *record)).count();
        among += usize::from((1..trials).contains(&now.len()));
        seen = now;
    });
    end(&mut search(&folder, "killed", &size)).well();
    let last = snapshot(&store);
    different += seen.iter().filter(|(name, record)| last.get(*name) != Some(record)).count();
    end(&mut search(&folder, "alone", &size)).well();
    let end = Damage::between(&folder.join("alone"), &store);
    (Damage { lost: end.lost + lost, different: end.different + different, ..end }, made, among)
}

/// Kills a training `kills` times and lets it finish. The model counts as its record.
fn killed_training(kills: usize) -> Damage {
    let (_guard, folder) = folder();
    let train = |out: &str, more: &str| {
        let mut command = klayer(&folder, "train --threads 1 --cycles 1 --hidden 20");
        command.args(["--n-s", &(600 * kills).to_string(), "--out", out]).args(more.split_whitespace()).args(images());
        command
    };
    let made = kill_again_and_again(&mut train("killed.klayer", "--resume --checkpoint-every 0.05"), kills, || {});
    assert_eq!(made, kills, "it ended too early");
    end(&mut train("killed.klayer", "--resume")).well();
    end(&mut train("alone.klayer", "")).well();
    let left = ["alone.klayer", "alone.klayer.metrics.jsonl", "killed.klayer", "killed.klayer.metrics.jsonl"];
    assert_eq!(files(&folder), left.map(Path::new), "no partially written files");
    let model = |name: &str| fs::read(folder.join(name)).ok();
    let (alone, killed) = (model("alone.klayer"), model("killed.klayer"));
    Damage { records: 1, lost: killed.is_none().into(), different: (killed != alone).into() }
}

/// The checkpoints of `store` by the keys of their trials.
fn checkpoints(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(store).into_iter().flatten().flatten();
    // A checkpoint that is being replaced may be missing.
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_suffix(".checkpoint")?.to_owned(), fs::read(entry.path()).ok()?))
        })
        .collect()
}

/// Whether the process `child` owns trials in `store` and has written a checkpoint of one since `before`.
fn is_at_work(store: &Path, child: &Child, before: &BTreeMap<String, Vec<u8>>) -> bool {
    let now = checkpoints(store);
    let entries = fs::read_dir(store).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| {
        let lock = || -> Option<Value> { serde_json::from_slice(&fs::read(store.join(&name)).ok()?).ok() };
        let owned = name.ends_with(".lock") && lock().is_some_and(|lock| lock["pid"] == child.id());
        let key = name.split('.').next().unwrap_or_default();
        owned && now.get(key).is_some_and(|checkpoint| before.get(key) != Some(checkpoint))
    })
}

/// Kills two processes that share a store several times while both are running trials, and lets two others finish.
fn killed_processes() -> Damage {
    let (_guard, folder) = folder();
    let store = folder.join("killed");
    let size = "--n-s 3000 --trials 8 --threads 1 --checkpoint-every 0.1";
    for i in 0..4 {
        let before = checkpoints(&store);
        let mut children = [(); 2].map(|()| start(&mut search(&folder, "killed", size)));
        let begun = Instant::now();
        while !children.iter().all(|child| is_at_work(&store, child, &before)) {
            assert!(begun.elapsed() < Duration::from_secs(120), "life {i}: it takes too long");
            for child in &mut children {
                assert!(child.try_wait().expect("a status").is_none(), "life {i}: it ended before it was at work");
            }
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(50 * i));
        for child in &mut children {
            assert!(child.try_wait().expect("a status").is_none(), "life {i}: it runs when it is killed");
        }
        for child in &mut children {
            child.kill().expect("it is ours");
            child.wait().expect("it ends");
        }
    }
    for mut child in [(); 2].map(|()| start(&mut search(&folder, "killed", size))) {
        assert!(child.wait().expect("it ends").success());
    }
    end(&mut search(&folder, "alone", &size.replace("--threads 1", "--threads 2"))).well();
    assert_eq!(files(&store), files(&folder.join("alone")), "nothing else is left");
    Damage::between(&folder.join("alone"), &store)
}

/// Halts one of two processes that share a store until its lease expires, and lets it continue.
fn halted_process() -> Damage {
    let (_guard, folder) = folder();
    let size = "--trials 4 --n-s 3000 --threads 1 --checkpoint-every 0.2";
    let mut halted = start(&mut search(&folder, "halted", size));
    thread::sleep(Duration::from_secs(1));
    signal(&halted, "STOP");
    // Returns when all records exist, including those of the halted process.
    end(&mut search(&folder, "halted", size)).well();
    assert!(halted.try_wait().expect("a status").is_none(), "it was halted before its end");
    signal(&halted, "CONT");
    assert!(halted.wait().expect("it ends").success(), "it finds that all is there");
    end(&mut search(&folder, "alone", size)).well();
    Damage::between(&folder.join("alone"), &folder.join("halted"))
}

/// Runs two processes that share a store, one with a clock that jumps by days in both directions, and changes the file
/// times in the store by a century. Returns `None` if libfaketime is not installed.
fn jumping_clock() -> Option<Damage> {
    let libraries = fs::read_dir("/usr/lib").ok()?.flatten();
    let library = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    let Some(library) = library else {
        assert!(std::env::var_os("KLAYER_REQUIRE_FAKETIME").is_none(), "libfaketime is required and missing");
        skipped("libfaketime is not there");
        return None;
    };
    let (_guard, folder) = folder();
    let store = folder.join("jumped");
    let clock = folder.join("clock");
    fs::write(&clock, "+0").expect("written");
    let size = "--trials 4 --n-s 1500 --threads 1 --checkpoint-every 0.1";
    let mut jumping = search(&folder, "jumped", size);
    jumping.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock);
    jumping.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut children = [start(&mut jumping), start(&mut search(&folder, "jumped", size))];
    for (offset, time) in ["+3d", "-400d", "+9000d", "+0"].iter().zip(["2001-01-01", "2099-01-01"].iter().cycle()) {
        thread::sleep(Duration::from_millis(400));
        fs::write(&clock, offset).expect("written");
        for entry in fs::read_dir(&store).into_iter().flatten().flatten() {
            // A file that is being replaced may be missing.
            let _ = Command::new("touch").args(["--no-create", "--date", time]).arg(entry.path()).status();
        }
    }
    for child in &mut children {
        assert!(child.wait().expect("it ends").success());
    }
    end(&mut search(&folder, "alone", size)).well();
    Some(Damage::between(&folder.join("alone"), &store))
}

#[test]
fn a_search_and_a_training_survive_a_few_kills() {
    let (damage, kills, _) = killed_search(3);
    assert!(kills >= 2, "it ended after {kills} kills");
    damage.assert_none(15);
    killed_training(2).assert_none(1);
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn a_search_killed_repeatedly_produces_identical_records() {
    let (damage, kills, _) = killed_search(15);
    assert!(kills >= 12, "it ended after {kills} kills");
    damage.assert_none(75);
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn a_training_killed_repeatedly_produces_an_identical_model() {
    killed_training(12).assert_none(1);
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn killed_processes_sharing_a_store_produce_identical_records() {
    killed_processes().assert_none(8);
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn a_process_halted_past_its_lease_does_no_harm() {
    halted_process().assert_none(4);
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn clock_jumps_change_nothing() {
    if let Some(damage) = jumping_clock() {
        damage.assert_none(4);
    }
}

#[test]
#[ignore = "a quarter of an hour of faults; the suite tries each of them less often"]
#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn the_table_of_faults() {
    let times = |times: usize, fault: &dyn Fn() -> Option<Damage>| {
        let damages: Vec<_> = (0..times).filter_map(|_| fault()).collect();
        let add = |sum: Damage, damage: &Damage| Damage {
            records: sum.records + damage.records,
            lost: sum.lost + damage.lost,
            different: sum.different + damage.different,
        };
        (damages.len(), damages.iter().fold(Damage::default(), add))
    };
    let (killed, kills, among) = killed_search(130);
    assert!(kills >= 100 && among > 10, "{kills} kills, of which {among} met finished records");
    let rows = [
        ("SIGKILL of a search at random moments", (kills, killed)),
        ("SIGKILL of a training run at random moments", (100, killed_training(100))),
        ("SIGKILL of two processes on one store", times(10, &|| Some(killed_processes()))),
        ("process suspended until considered dead", times(3, &|| Some(halted_process()))),
        ("clock jumps", times(10, &jumping_clock)),
        ("store deleted during a search, created again", times(10, &|| Some(deleted_store()))),
        ("disk full", times(10, &full_disk)),
        ("read-only store", times(10, &read_only_store)),
    ];
    println!("| fault | times | records | lost | different |\n| --- | ---: | ---: | ---: | ---: |");
    for (fault, (times, Damage { records, lost, different })) in rows {
        println!("| {fault} | {times} | {records} | {lost} | {different} |");
    }
    let wrong = rows.iter().filter(|(_, (_, damage))| (damage.lost, damage.different) != (0, 0));
    assert_eq!(wrong.count(), 0, "see the table");
}

#[test]
fn missing_and_changed_records_are_detected() {
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

/// Asserts that the command failed with an error that contains `word`, without a panic.
#[track_caller]
fn assert_told(ended: &Ended, word: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:#?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains(word), "{ended:#?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
}

/// Deletes a store during a search, which must report it, and lets another search recreate it.
fn deleted_store() -> Damage {
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
    // The search may write a file during the deletion.
    while store.exists() {
        let _ = fs::remove_dir_all(&store);
    }
    let ended = klayer_tests::ended(child.wait_with_output().expect("it ends"));
    assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
    // Without the folder nothing can be saved, but records that the search reports as finished must exist.
    if ended.code == Some(0) {
        assert_eq!(records(&store).len(), 4, "{ended:#?}");
    } else {
        assert_told(&ended, "store");
    }
    end(&mut search(&folder, "store", size)).well();
    end(&mut search(&folder, "alone", size)).well();
    Damage::between(&folder.join("alone"), &store)
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn a_store_deleted_during_a_search_is_reported_and_can_be_recreated() {
    deleted_store().assert_none(4);
}

/// A small mounted file system, if the test may mount one.
struct Disk(PathBuf);

impl Disk {
    /// Mounts it; if `$KLAYER_REQUIRE_MOUNT` is set, a failure is an error.
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&at).expect("a folder");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(at));
        }
        assert!(std::env::var_os("KLAYER_REQUIRE_MOUNT").is_none(), "a file system is required and cannot be mounted");
        skipped("no file system can be mounted here");
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

/// Fills the disk during a search, which must continue until it has a record to save, then report the error, and finish
/// when space is available again. A search started on the full disk must fail at once.
fn full_disk() -> Option<Damage> {
    let (_guard, folder) = folder();
    let disk = Disk::mount(folder.join("disk"), "size=2m")?;
    let store = disk.0.join("store");
    let size = |trials: usize| format!("--trials {trials} --n-s 1500 --threads 1 --checkpoint-every 0.1");
    end(&mut search(&folder, "disk/store", &size(2))).well();
    let finished = snapshot(&store);
    let mut command = search(&folder, "disk/store", &size(3));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let begun = Instant::now();
    while checkpoints(&store).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it takes too long");
        thread::sleep(Duration::from_millis(5));
    }
    let mut ballast = fs::File::create(disk.0.join("ballast")).expect("there is room for that");
    // Also fill the space that failed writes free again.
    while child.try_wait().expect("a status").is_none() {
        while ballast.write_all(&[0; 4096]).is_ok() {}
        thread::sleep(Duration::from_millis(1));
    }
    let ended = klayer_tests::ended(child.wait_with_output().expect("it ends"));
    assert_told(&ended, "store");
    assert!(ended.stderr.contains("cannot write a checkpoint"), "{ended:#?}");
    assert_told(&end(&mut search(&folder, "disk/store", &size(3))), "store");
    assert!(finished.len() == 2 && snapshot(&store) == finished, "what was finished is as it was");
    disk.remount("remount,size=64m");
    end(&mut search(&folder, "disk/store", &size(3))).well();
    end(&mut search(&folder, "alone", &size(3))).well();
    Some(Damage::between(&folder.join("alone"), &store))
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn a_full_disk_loses_no_finished_trial() {
    if let Some(damage) = full_disk() {
        damage.assert_none(3);
    }
}

/// Makes a store read-only, which a search must report before training.
fn read_only_store() -> Option<Damage> {
    let (_guard, folder) = folder();
    let disk = Disk::mount(folder.join("disk"), "size=64m")?;
    let size = "--n-s 50";
    let table = end(&mut search(&folder, "disk/store", &format!("--trials 2 {size}"))).well().stdout;
    disk.remount("remount,ro");
    assert_told(&end(&mut search(&folder, "disk/store", &format!("--trials 3 {size}"))), "store");
    assert_eq!(end(&mut search(&folder, "disk/store", &format!("--trials 2 {size} --collect"))).well().stdout, table);
    end(&mut search(&folder, "alone", &format!("--trials 2 {size}"))).well();
    Some(Damage::between(&folder.join("alone"), &disk.0.join("store")))
}

#[test]
fn a_read_only_store_is_rejected_before_training_but_readable() {
    if let Some(damage) = read_only_store() {
        damage.assert_none(2);
    }
}
