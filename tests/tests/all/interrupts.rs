//! Ctrl-C and SIGTERM: commands stop soon, save their progress, and resume at the next start.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use klayer_tests::{Ended, end, ended, files, folder, images, klayer, quick_report};
use serde_json::Value;

use crate::report::QUICK_REPORT;
use crate::{json, of_the_report};

/// Maximum time to wait for a condition.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts `command` with standard error redirected to the file `log`.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> Child {
    command.stdout(Stdio::piped()).stderr(fs::File::create(log).expect("a file")).spawn().expect("it starts")
}

/// Waits until `done` returns true; panics if that takes too long or the command ends first.
pub(crate) fn wait_until(child: &mut Child, what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(child.try_wait().expect("a status").is_none(), "it ended before {what}");
        assert!(start.elapsed() < PATIENCE, "{what} takes too long");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends SIGINT and waits for the command to end.
pub(crate) fn interrupt(child: Child) -> Ended {
    signal(&child, "INT");
    ended(child.wait_with_output().expect("it ends"))
}

/// Sends a signal to a running command.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill is there").success(), "the command runs still");
}

/// The JSON files below `folder`, which are records.
fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = files(folder);
    files.retain(|name| name.extension().is_some_and(|extension| extension == "json"));
    files
}

/// The records in the folder `records` by name, without run times.
fn records(records: &Path) -> BTreeMap<PathBuf, Value> {
    let timeless = |name: PathBuf| {
        let mut record = json(&records.join(&name));
        record["seconds"] = Value::Null;
        (name, record)
    };
    json_files(records).into_iter().map(timeless).collect()
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn an_interrupted_report_resumes_to_an_identical_report() {
    let undisturbed = &QUICK_REPORT.out;
    let (_guard, folder) = folder();
    let out = folder.join("report");
    // Copy all gradient checks except one, since they take longest; the interrupt then hits the remaining one.
    let checks: Vec<_> = json_files(&undisturbed.join("records"))
        .into_iter()
        .filter(|name| json(&undisturbed.join("records").join(name)).get("rows").is_some())
        .collect();
    let cheap =
        |name: &&PathBuf| json(&undisturbed.join("records").join(name))["config"]["hidden"] == serde_json::json!([50]);
    let left_out = checks.iter().find(cheap).expect("a check of the 2-layer network");
    fs::create_dir_all(out.join("records")).expect("a folder");
    for name in checks.iter().filter(|name| *name != left_out) {
        fs::copy(undisturbed.join("records").join(name), out.join("records").join(name)).expect("a copy");
    }
    let given = files(&out.join("records")).len();
    let arguments = images().join(" ");

    // During the gradient check.
    let log = folder.join("log");
    let logged = |word: &str| fs::read_to_string(&log).is_ok_and(|log| log.contains(word));
    let mut command = quick_report(&out, &arguments);
    let mut child = spawn(&mut command, &log);
    wait_until(&mut child, "the gradients", || logged("3.1 Gradients"));
    assert_interrupted(&interrupt(child), &log);
    assert!(!logged("3.2"), "it goes no further");
    assert!(files(&out).iter().all(|file| file.starts_with("records")), "no page is made of what is not finished");

    // During the training runs, after some and before all have finished.
    let made = || json_files(&out.join("records")).len();
    let mut child = spawn(&mut command, &log);
    wait_until(&mut child, "the first training runs", || made() >= given + 5);
    assert_interrupted(&interrupt(child), &log);
    let expected = records(&undisturbed.join("records"));
    let finished = records(&out.join("records"));
    assert!(finished.len() < expected.len(), "it was interrupted before its end");
    for (name, record) in finished.iter().filter(|(name, _)| !of_the_report(name)) {
        assert_eq!(Some(record), expected.get(name), "{} is whole", name.display());
    }
    let before: Vec<_> =
        finished.keys().map(|name| (name, fs::read(out.join("records").join(name)).expect("a record"))).collect();

    end(&mut quick_report(&out, &arguments)).well();
    for (name, bytes) in before.iter().filter(|(name, _)| !of_the_report(name)) {
        assert!(&fs::read(out.join("records").join(name)).expect("a record") == bytes, "{} was kept", name.display());
    }
    assert_eq!(records(&out.join("records")), expected);
    let results = |out: &Path| {
        let mut results = json(&out.join("results.json"));
        results["seconds"] = Value::Null;
        results
    };
    assert_eq!(results(&out), results(undisturbed));
    assert_eq!(files(&out), files(undisturbed));
    let drawn = |out: &Path| {
        files(&out.join("figures"))
            .iter()
            .map(|name| fs::read(out.join("figures").join(name)).expect("a figure"))
            .collect::<Vec<_>>()
    };
    assert!(drawn(&out) == drawn(undisturbed), "the same figures, to the byte");
}

/// A training that writes checkpoints only at the end of each cycle.
fn train(folder: &Path, out: &str, switches: &str) -> Command {
    let mut command = klayer(folder, "train --n-s 200 --checkpoint-every 1000");
    command.args(switches.split_whitespace()).arg("--out").arg(out).args(images());
    command
}

#[track_caller]
fn assert_interrupted(ended: &Ended, log: &Path) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""), "{ended:#?}");
    let told = fs::read_to_string(log).expect("a file");
    let last = told.lines().last().unwrap_or_default();
    assert!(last.contains("stopped") && last.contains("run the same command again to resume"), "{told}");
}

#[test]
fn a_stopped_training_keeps_the_old_model_and_resumes_exactly() {
    let (_guard, folder) = folder();
    let train = |out: &str, more: &str| train(&folder, out, &format!("--cycles 3 --validate-every 50 {more}"));
    end(&mut train("undisturbed.klayer", "")).well();
    let older = [("old.klayer", "an older model"), ("old.klayer.metrics.jsonl", "its metrics")];
    for (name, content) in older {
        fs::write(folder.join(name), content).expect("written");
    }
    let log = folder.join("log");
    for (name, status, more) in [("INT", 130, ""), ("TERM", 143, "--resume")] {
        let mut child = spawn(&mut train("old.klayer", more), &log);
        let checkpoint = folder.join("old.klayer.checkpoint");
        let before = fs::read(&checkpoint).ok();
        // A cycle has ended, so the training is running.
        wait_until(&mut child, "a checkpoint", || fs::read(&checkpoint).is_ok_and(|now| Some(now) != before));
        signal(&child, name);
        let ended = ended(child.wait_with_output().expect("it ends"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(status), ""), "{ended:#?}");
        let told = fs::read_to_string(&log).expect("a file");
        let last = told.lines().last().unwrap_or_default();
        assert_eq!(last, "error: stopped; run the same command with --resume to continue from old.klayer.checkpoint");
        for (name, content) in older {
            assert_eq!(fs::read_to_string(folder.join(name)).expect("it is there"), content);
        }
        assert!(checkpoint.is_file());
        let growing = fs::read_to_string(folder.join("old.klayer.metrics.jsonl.part")).expect("metrics");
        assert!(growing.lines().count() >= 8, "a line for each validation of a cycle: {growing}");
    }
    fs::remove_file(log).expect("it is ours");

    let refused = end(&mut train("old.klayer", ""));
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "it is not thrown away: {refused:#?}");
    assert!(refused.stderr.contains("--resume continues from it"), "{refused:#?}");
    let refused = end(&mut train("old.klayer", "--resume --lambda 0.1"));
    assert!(refused.stderr.contains("lambda is 0.005 in the checkpoint, but 0.1 here"), "{refused:#?}");
    end(&mut train("old.klayer", "--resume")).well();
    let bytes = |name: &str| fs::read(folder.join(name)).expect("a model");
    let metrics = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(folder.join(format!("{name}.metrics.jsonl"))).expect("metrics");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
        lines.map(|mut line: Value| (line["seconds"] = Value::Null, line).1).collect()
    };
    assert_eq!(metrics("undisturbed.klayer").len(), 24, "1,200 steps, a validation every 50");
    assert!(bytes("old.klayer") == bytes("undisturbed.klayer"));
    assert_eq!(metrics("old.klayer"), metrics("undisturbed.klayer"), "every point once, in order");
    let names = ["old.klayer", "old.klayer.metrics.jsonl", "undisturbed.klayer", "undisturbed.klayer.metrics.jsonl"];
    assert_eq!(files(&folder), names.map(Path::new));
}

#[test]
fn an_evaluation_over_views_stops_soon() {
    let (_guard, folder) = folder();
    let words = "train --hidden 8 --n-s 3 --cycles 1 --out small.klayer";
    end(klayer(&folder, words).args(images())).well();
    let log = folder.join("log");
    let mut evaluate = klayer(&folder, "evaluate -v small.klayer --views --part training");
    let mut child = spawn(evaluate.args(images()), &log);
    wait_until(&mut child, "the images are loaded", || {
        fs::read_to_string(&log).is_ok_and(|told| told.contains("SHA-256"))
    });
    let ended = interrupt(child);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""), "{ended:#?}");
}

#[test]
fn a_second_signal_stops_at_once_and_keeps_the_checkpoint() {
    let (_guard, folder) = folder();
    let train = |out: &str, more: &str| train(&folder, out, &format!("--threads 1 --cycles 2 {more}"));
    let (log, checkpoint) = (folder.join("log"), folder.join("stopped.klayer.checkpoint"));
    let mut child = spawn(&mut train("stopped.klayer", ""), &log);
    wait_until(&mut child, "a checkpoint", || checkpoint.exists());
    let before = fs::read(&checkpoint).expect("a checkpoint");
    // Both come at the same moment, before a step can end. Which is the second is the system's choice.
    for name in ["STOP", "INT", "TERM", "CONT"] {
        signal(&child, name);
    }
    let ended = ended(child.wait_with_output().expect("it ends"));
    assert!([Some(130), Some(143)].contains(&ended.code) && ended.stdout.is_empty(), "{ended:#?}");
    assert_eq!(fs::read_to_string(&log).expect("a file").matches("error").count(), 0, "it says nothing more");
    assert!(fs::read(&checkpoint).expect("a checkpoint") == before, "and writes nothing more");
    fs::remove_file(log).expect("it is ours");
    end(&mut train("stopped.klayer", "--resume")).well();
    end(&mut train("undisturbed.klayer", "")).well();
    let bytes = |name: &str| fs::read(folder.join(name)).expect("a model");
    assert!(bytes("stopped.klayer") == bytes("undisturbed.klayer"));
}

#[test]
fn report_writes_checkpoints_at_the_requested_interval() {
    let (_guard, folder) = folder();
    let report = |more: &str| {
        let mut command = klayer_tests::command("xtask", &folder);
        command.args("report --offline --only loss --threads 1 --out out".split(' ')).args(more.split_whitespace());
        command.args(images());
        command
    };
    let refused = end(&mut report("--checkpoint-every 0"));
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.stderr.contains("expected a number of seconds greater than 0"), "{refused:#?}");

    // The full report, whose first cycle takes long. The number of validations shows its progress.
    let records = folder.join("out").join("records");
    let within_the_first_cycle = || {
        let few = |lines: Vec<u8>| lines.iter().filter(|&&byte| byte == b'\n').count() < 20;
        !of_kind(&records, ".checkpoint").is_empty() && of_kind(&records, ".metrics.jsonl").into_values().all(few)
    };
    let log = folder.join("log");
    let mut child = spawn(&mut report("--checkpoint-every 0.05"), &log);
    wait_until(&mut child, "a checkpoint within the first cycle, of 20 points", within_the_first_cycle);
    signal(&child, "TERM");
    let ended = ended(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(143), ""), "{ended:#?}");
}

/// A search with three concurrent trials in `folder`.
fn search(folder: &Path, store: &str) -> Command {
    let mut command = klayer(folder, "search --trials 3 --n-s 200 --cycles 6 --hidden 20 --validate-every 50");
    command.args(["--threads", "3", "--checkpoint-every", "1000", "--store", store]).args(images());
    command
}

/// The files of a store whose names end with `kind`, with their bytes.
fn of_kind(store: &Path, kind: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut names = if store.exists() { files(store) } else { Vec::new() };
    names.retain(|name| name.to_string_lossy().ends_with(kind));
    // A file that is being replaced may be missing.
    names.into_iter().filter_map(|name| Some((name.clone(), fs::read(store.join(name)).ok()?))).collect()
}

/// Starts `command` on `store` and sends the signal `name` when each of the three trials has finished a cycle.
fn stop_within(command: &mut Command, store: &Path, name: &str, log: &Path) -> Ended {
    let before = of_kind(store, ".checkpoint");
    let mut child = spawn(command, log);
    wait_until(&mut child, "the end of a cycle", || {
        let now = of_kind(store, ".checkpoint");
        now.len() == 3 && now.iter().all(|(name, checkpoint)| before.get(name) != Some(checkpoint))
    });
    signal(&child, name);
    ended(child.wait_with_output().expect("it ends"))
}

#[test]
fn a_stopped_search_resumes_to_identical_records() {
    let (_guard, folder) = folder();
    end(&mut search(&folder, "undisturbed")).well();
    let (store, log) = (folder.join("stopped"), folder.join("log"));
    let mut metrics: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        let ended = stop_within(&mut search(&folder, "stopped"), &store, name, &log);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(status), ""), "{ended:#?}");
        let told = fs::read_to_string(&log).expect("a file");
        let last = told.lines().last().unwrap_or_default();
        let expected = "error: stopped; progress is saved in stopped: run the same command again to continue";
        assert_eq!(last, expected, "{told}");
        assert_eq!((of_kind(&store, ".checkpoint").len(), json_files(&store).len()), (3, 0), "they are under way");
        let owned = of_kind(&store, ".lock").into_values().filter(|lock| {
            let lock: Value = serde_json::from_slice(lock).expect("a lock");
            lock["released"] != true
        });
        assert_eq!(owned.count(), 0, "others need not wait");
        // The lines contain times, which a restart from scratch would not reproduce.
        let now = of_kind(&store, ".metrics.jsonl");
        assert!(metrics.iter().all(|(name, lines)| now[name].starts_with(lines)), "it went on");
        metrics = now;
    }
    end(&mut search(&folder, "stopped")).well();
    let now = of_kind(&store, ".metrics.jsonl");
    assert!(metrics.iter().all(|(name, lines)| lines.len() > 100 && now[name].starts_with(lines)), "it went on");
    assert_eq!(records(&store), records(&folder.join("undisturbed")));
    assert_eq!(files(&store), files(&folder.join("undisturbed")), "nothing else is left");
}

#[test]
fn a_training_with_kernels_cannot_resume_without_them() {
    let (_guard, folder) = folder();
    let train = |more: &str| {
        let mut command = klayer(&folder, "train --n-s 400 --cycles 2 --hidden 20 --checkpoint-every 1000");
        command.args(["--out", "stopped.klayer"]).args(more.split_whitespace()).args(images());
        command
    };
    let (log, checkpoint) = (folder.join("log"), folder.join("stopped.klayer.checkpoint"));
    let mut child = spawn(&mut train(""), &log);
    wait_until(&mut child, "the end of a cycle", || checkpoint.exists());
    assert_eq!(interrupt(child).code, Some(130));
    let before = fs::read(&checkpoint).expect("a checkpoint");
    let arithmetic =
        "products ran on klayer's kernels in the checkpoint, but run on faer alone here (KLAYER_NO_KERNELS)";
    let another = "checkpoint of another run: lambda is 0.005 in the checkpoint, but 7.0 here";
    for (more, difference) in [("--resume", arithmetic), ("--resume --lambda 7", another)] {
        let refused = end(train(more).env("KLAYER_NO_KERNELS", "1"));
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:#?}");
        for words in ["error: stopped.klayer.checkpoint: ", difference, "; --restart discards this checkpoint"] {
            assert!(refused.stderr.contains(words), "{refused:#?}");
        }
    }
    assert!(fs::read(&checkpoint).expect("a checkpoint") == before, "it is left as it was");
    end(&mut train("--resume")).well();
}
