//! Invalid input makes a command fail with one error message and no changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use klayer_tests::{Ended, cifar10, end, ended, files, folder, images, klayer, quick_report, skipped};

/// Content of existing files.
const OLD: &str = "an older model";

/// Asserts that `ended` failed with one error that contains `expected`, and that `folder` still contains `before`.
#[track_caller]
fn assert_refused(ended: &Ended, expected: &str, folder: &Path, before: &[PathBuf]) {
    let Ended { code, stdout, stderr } = ended;
    assert!(matches!(code, Some(1 | 2)), "{ended:#?}");
    assert_eq!(stdout, "", "nothing on standard output");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "no escape codes: {stderr:?}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && errors[0].contains(expected), "one sentence with {expected:?}: {stderr}");
    // Usage errors are printed by clap, with further lines about help.
    let others = stderr.lines().filter(|line| !line.starts_with("warning: ") && !line.starts_with("step ")).count();
    assert!(*code == Some(2) || others == 1, "{stderr}");
    assert_eq!(files(folder), before, "no file is left or gone");
}

/// A command that does not end by itself; ended on drop, also if the test fails.
struct Endless(Child);

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Runs `command`, which must end within `seconds`.
#[track_caller]
fn end_within(seconds: u64, command: &mut Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let start = Instant::now();
    while child.try_wait().expect("a status").is_none() {
        if start.elapsed() > Duration::from_secs(seconds) {
            child.kill().and_then(|()| child.wait()).expect("it ends");
            panic!("still running after {seconds} s: {command:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    ended(child.wait_with_output().expect("it ended"))
}

#[test]
fn invalid_settings_are_rejected_and_existing_models_kept() {
    let (_guard, folder) = folder();
    let older = ["old.klayer", "old.klayer.metrics.jsonl"];
    for name in older {
        fs::write(folder.join(name), OLD).expect("written");
    }
    fs::create_dir(folder.join("a-folder")).expect("a folder");
    let before = files(&folder);
    let cases = [
        ("--hidden 50,0", "'0' is not a width"),
        ("--hidden 50,,10", "is not a width"),
        ("--cycles 0", "number of cycles is 0"),
        ("--n-s 0", "n_s is 0"),
        ("--eta-min 0.2", "learning rates from 0.2 to 0.1"),
        ("--eta-max nan", "learning rates from 0.00001 to NaN"),
        ("--lambda=-1", "lambda is -1"),
        ("--lambda inf", "lambda is inf"),
        ("--sigma 0", "standard deviation of the initial weights is 0"),
        ("--batch 1", "batch norm needs at least two images"),
        ("--batch 0", "--batch is 0"),
        ("--batch 45001", "it must be at most 45000, the number of training images"),
        ("--validate-every 0", "--validate-every is 0, but it must be at least 1"),
        ("--no-bn --eta-min 1000000 --eta-max 1000000", "diverged at step"),
    ];
    for (switches, expected) in cases {
        let given = |switch: &str| switches.split([' ', '=']).any(|word| word == switch);
        let mut command = klayer(&folder, "train --out old.klayer");
        for default in [["--n-s", "5"], ["--cycles", "1"]] {
            if !given(default[0]) {
                command.args(default);
            }
        }
        let ended = end(command.args(switches.split(' ')).args(images()));
        assert_refused(&ended, expected, &folder, &before);
        for name in older {
            assert_eq!(fs::read_to_string(folder.join(name)).expect("it is still there"), OLD, "{name}: {switches}");
        }
    }
    for (out, expected) in [
        ("missing/new.klayer", "missing: no such directory"),
        ("a-folder", "a-folder: is a directory"),
        ("old.klayer/new", "old.klayer: not a directory"),
        ("old.klayer/new/x", "old.klayer: not a directory"),
    ] {
        for output in ["--out", "--metrics"] {
            let mut command = klayer(&folder, "train --n-s 5 --cycles 1");
            let ended = end(command.arg(output).arg(out).args(images()));
            assert_refused(&ended, expected, &folder, &before);
        }
    }
    for output in ["train --tensorboard", "search --trials 1 --store"] {
        for place in ["old.klayer", "old.klayer/new", "old.klayer/new/x"] {
            let mut command = klayer(&folder, &format!("{output} {place} --n-s 5 --cycles 1"));
            let ended = end(command.args(images()));
            assert_refused(&ended, "old.klayer: not a directory", &folder, &before);
        }
    }
}

#[test]
fn negative_numbers_are_parsed_and_rejected() {
    let (_guard, folder) = folder();
    let cases = [
        ("--eta-min -0.1", "learning rates from -0.1 to 0.1"),
        ("--eta-max -0.1", "learning rates from 0.00001 to -0.1"),
        ("--lambda -1", "lambda is -1"),
        ("--sigma -0.5", "standard deviation of the initial weights is -0.5"),
    ];
    for (switches, expected) in cases {
        let ended = end(klayer(&folder, "train --n-s 5 --cycles 1").args(switches.split(' ')).args(images()));
        assert_refused(&ended, expected, &folder, &[]);
    }
}

#[test]
fn networks_too_large_for_memory_are_rejected() {
    let (_guard, folder) = folder();
    for hidden in ["18446744073709551615", "50,4294967296,4294967296", "99999999999"] {
        let ended = end(klayer(&folder, "train --n-s 5 --cycles 1 --hidden").arg(hidden).args(images()));
        let width = hidden.split(',').next_back().expect("a width");
        assert_refused(&ended, width, &folder, &[]);
    }
}

#[test]
fn invalid_numbers_are_rejected_with_the_expected_range() {
    let (_guard, folder) = folder();
    let count = "expected an integer of at least 1";
    for (words, expected) in [
        ("train --n-s -5", count),
        ("train --cycles -1", count),
        ("train --batch -1", count),
        ("train --validate-every -1", count),
        ("train --threads -1", count),
        ("train --threads 0", count),
        ("train --seed -1", "expected an integer from 0 to 18446744073709551615"),
        ("train --hidden -3", "'-3' is not a width"),
        ("train --sigma wide", "expected a number, he or he-lecun"),
        ("search --store store --trials -1", count),
        ("lr-range --steps -1", count),
        ("gradcheck --features 0", count),
        ("predict model.klayer cat.png --top -1", count),
    ] {
        assert_refused(&end(&mut klayer(&folder, words)), expected, &folder, &[]);
    }
}

#[test]
fn unwritable_console_output_does_not_stop_a_run() {
    let (_guard, folder) = folder();
    let train = |out: &str| {
        let mut command = klayer(&folder, "train --n-s 20 --cycles 1 --validate-every 10 -v --out");
        command.arg(out).args(images());
        command
    };
    let full = fs::File::options().write(true).open("/dev/full").expect("a device that is always full");
    assert_eq!(train("told.klayer").stdout(Stdio::null()).stderr(full).status().expect("it ends").code(), Some(0));
    let mut child = train("read.klayer").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // The reader of standard output closes the pipe early, like head.
    drop(child.stdout.take());
    let ended = ended(child.wait_with_output().expect("it ends"));
    assert!(ended.code == Some(0) && !ended.stderr.contains("error"), "{ended:#?}");
    let model = |name: &str| fs::read(folder.join(name)).expect("a model");
    assert!(model("told.klayer") == model("read.klayer"));
}

#[test]
fn outputs_can_be_symlinks_and_pipes() {
    let (_guard, folder) = folder();
    end(klayer(&folder, "train --n-s 5 --cycles 1 --out model.klayer").args(images())).well();
    let export = |out: &str| klayer(&folder, &format!("export model.klayer --format onnx --out {out}"));
    end(&mut export("plain.onnx")).well();
    let plain = fs::read(folder.join("plain.onnx")).expect("a file");

    fs::create_dir(folder.join("elsewhere")).expect("a folder");
    std::os::unix::fs::symlink("elsewhere/linked.onnx", folder.join("link.onnx")).expect("a link");
    for _ in 0..2 {
        end(&mut export("link.onnx")).well();
        assert!(fs::symlink_metadata(folder.join("link.onnx")).expect("a link").is_symlink());
        assert!(fs::read(folder.join("elsewhere/linked.onnx")).expect("a file") == plain);
        fs::write(folder.join("elsewhere/linked.onnx"), OLD).expect("written");
    }

    let pipe = folder.join("pipe.onnx");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()));
    let reader = thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).expect("a pipe")
    });
    end(&mut export("pipe.onnx")).well();
    assert!(reader.join().expect("it reads") == plain);
    assert!(!fs::symlink_metadata(&pipe).expect("a pipe").is_file());
}

#[test]
fn excessive_threads_and_trials_are_rejected_at_once() {
    let (_guard, folder) = folder();
    let most = usize::MAX.to_string();
    let cases = [
        ("train --n-s 5 --cycles 1 --threads", "1000000"),
        ("search --store store --threads", "2000"),
        ("search --store store --threads", &most),
        ("search --store store --trials", &most),
        ("search --store store --trials", "1000000000000"),
    ];
    for (command, many) in cases {
        let mut command = klayer(&folder, command);
        command.arg(many).args(images());
        assert_refused(&end_within(10, &mut command), many, &folder, &[]);
    }
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_rejected_before_training() {
    use std::os::unix::fs::PermissionsExt;
    let (_guard, folder) = folder();
    let locked = folder.join("locked");
    fs::create_dir(&locked).expect("a folder");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).expect("it is ours");
    if fs::write(locked.join("probe"), "").is_ok() {
        skipped("the user may write everywhere");
        return;
    }
    let ended = end(klayer(&folder, "train --n-s 5 --cycles 1 --out locked/new.klayer").args(images()));
    assert_refused(&ended, "ermission denied", &folder, &[]);
}

#[test]
fn missing_and_damaged_data_are_rejected_by_name() {
    let (_guard, folder) = folder();
    fs::write(folder.join("a-file"), "").expect("written");
    let train =
        |data: &str| end(klayer(&folder, "train --n-s 5 --cycles 1 --offline --out new.klayer --data").arg(data));
    let before = files(&folder);
    assert_refused(&train("nowhere"), "nowhere: not found", &folder, &before);
    assert_refused(&train("a-file"), "a-file: no supported dataset: found a file of 0 bytes", &folder, &before);
    assert_refused(&train("."), ".: no supported dataset: found a folder with a-file; expected", &folder, &before);

    let Some(data) = cifar10() else { return };
    let damaged = folder.join("damaged");
    fs::create_dir(&damaged).expect("a folder");
    for file in files(&data) {
        fs::copy(data.join(&file), damaged.join(&file)).expect("a copy");
    }
    let (name, before) = (damaged.join("data_batch_3.bin"), files(&folder));
    let mut bytes = fs::read(&name).expect("a file");
    bytes[12_345_678] ^= 0x10;
    // The copy may be write-protected.
    fs::remove_file(&name).expect("it is ours");
    fs::write(&name, &bytes).expect("written");
    assert_refused(&train("damaged"), "data_batch_3.bin: wrong SHA-256", &folder, &before);
    fs::write(&name, &bytes[..bytes.len() - 1]).expect("written");
    assert_refused(
        &train("damaged"),
        "data_batch_3.bin: wrong size: expected 30730000 bytes, found 30729999",
        &folder,
        &before,
    );
}

#[test]
fn a_report_without_data_writes_nothing() {
    let (_guard, folder) = folder();
    let ended = end(&mut quick_report(&folder.join("report"), "--only coarse --data nowhere"));
    assert_refused(&ended, "nowhere: not found", &folder, &[]);
    assert!(!folder.join("report").exists(), "not even a folder");
}

#[test]
fn invalid_and_mismatched_models_are_rejected() {
    let (_guard, folder) = folder();
    end(&mut klayer(&folder, "train --synthetic --n-s 5 --cycles 1 --out synthetic.klayer")).well();
    let model = fs::read(folder.join("synthetic.klayer")).expect("a model");
    let mut flipped = model.clone();
    flipped[model.len() / 2] ^= 1;
    let broken: [(&str, &[u8], &str); 5] = [
        ("text", b"no model", "not a klayer model"),
        ("empty", b"", "not a klayer model"),
        ("header", &model[..30], "not a klayer model"),
        ("short", &model[..model.len() - 1], "not a klayer model"),
        ("flipped", &flipped, "the checksum does not match"),
    ];
    for (name, bytes, _) in broken {
        fs::write(folder.join(name), bytes).expect("written");
    }
    let before = files(&folder);
    for (name, _, expected) in broken {
        let ended = end(klayer(&folder, "evaluate").arg(name).arg("--synthetic"));
        assert_refused(&ended, expected, &folder, &before);
        assert!(ended.stderr.starts_with(&format!("error: {name}: ")), "the file is named: {}", ended.stderr);
    }
    assert_refused(&end(&mut klayer(&folder, "evaluate nothing --synthetic")), "nothing: ", &folder, &before);
    assert_refused(&end(&mut klayer(&folder, "evaluate . --synthetic")), ".: ", &folder, &before);
    if let Some(data) = cifar10() {
        let ended = end(klayer(&folder, "evaluate synthetic.klayer --data").arg(data));
        assert_refused(
            &ended,
            "pattern 9), but the images are CIFAR-10 of 3 x 32 x 32 in 10 classes (airplane, automobile, ",
            &folder,
            &before,
        );
    }
}

#[test]
fn checking_a_missing_or_damaged_report_fails() {
    let (_guard, folder) = folder();
    let check = |out: &str| {
        let mut command = klayer_tests::command("xtask", &folder);
        end(command.args(["report", "--check", "--out", out]))
    };
    assert_refused(&check("nowhere"), "there is no report to check", &folder, &[]);
    fs::create_dir_all(folder.join("damaged/records")).expect("a folder");
    fs::write(folder.join("damaged/records/rendered.json"), "{\"quick\": 1}").expect("written");
    let before = files(&folder);
    assert_refused(&check("damaged"), "rendered.json: invalid record at line 1", &folder, &before);
}

#[test]
fn a_path_used_twice_is_rejected() {
    let (_guard, folder) = folder();
    end(klayer(&folder, "train --n-s 5 --cycles 1 --out m.klayer").args(images())).well();
    let before: Vec<_> = files(&folder).iter().map(|name| fs::read(folder.join(name)).expect("a file")).collect();
    let cases = [
        "export m.klayer --out m.klayer --format onnx",
        "export m.klayer --out ./m.klayer --format safetensors",
        "import m.klayer --out m.klayer",
        "evaluate m.klayer --logits m.klayer",
        "inspect m.klayer --weights m.klayer",
        "inspect m.klayer --weights w.png --mistakes w.png",
        "lr-range --figure f --csv f",
        "train --out t --metrics t",
        "train --out t --metrics t.checkpoint",
        "train --out t.part --metrics t",
    ];
    for words in cases {
        let ended = end(&mut klayer(&folder, words));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{words}: {ended:#?}");
        assert!(ended.stderr.contains("the same path is used twice"), "{words}: {ended:#?}");
    }
    let after: Vec<_> = files(&folder).iter().map(|name| fs::read(folder.join(name)).expect("a file")).collect();
    assert!(before == after);
}

#[cfg(unix)]
#[test]
fn every_command_rejects_endless_and_huge_files() {
    let (_guard, folder) = folder();
    let run = "--synthetic --n-s 5 --cycles 1";
    let search = format!("search --store s --trials 1 {run}");
    end(&mut klayer(&folder, &format!("train {run} --out m.klayer"))).well();
    end(&mut klayer(&folder, &search)).well();
    let records = files(&folder.join("s"));
    let record = records.iter().find(|name| name.extension().is_some_and(|ending| ending == "json")).expect("a record");
    let (record, lock) = (Path::new("s").join(record), Path::new("s").join(record).with_extension("1.lock"));
    fs::remove_file(folder.join(&record)).expect("it is ours");
    fs::create_dir_all(folder.join("report/records")).expect("a folder");
    fs::create_dir(folder.join("folder")).expect("a folder");
    // A model as far as its header tells.
    let length = 3_u64 << 30;
    let header = [&fs::read(folder.join("m.klayer")).expect("a model")[..12], &(length - 52).to_le_bytes()].concat();
    fs::write(folder.join("huge"), header).expect("written");
    let huge = fs::File::options().write(true).open(folder.join("huge"));
    huge.and_then(|file| file.set_len(length)).expect("a sparse file");
    end(Command::new("mkfifo").arg(folder.join("pipe"))).well();
    let before = files(&folder);
    // Opened for reading and writing, so that opening does not block.
    let pipe = fs::OpenOptions::new().read(true).write(true).open(folder.join("pipe")).expect("a pipe");
    let _zeros = Endless(Command::new("cat").arg("/dev/zero").stdout(pipe).spawn().expect("it starts"));

    let given = |arguments: &str| (arguments.to_owned(), PathBuf::from("given"));
    let in_place = |arguments: &str, path: &Path| (arguments.to_owned(), path.to_owned());
    let cases = [
        given(&format!("klayer train {run} --config given")),
        given(&format!("klayer search --store new {run} --config given")),
        given("klayer lr-range --synthetic --steps 5 --config given"),
        given("klayer evaluate given --synthetic"),
        given("klayer predict given m.klayer"),
        given("klayer predict m.klayer given"),
        given("klayer inspect given"),
        given("klayer export given --out new.onnx"),
        given("klayer import given --out new.klayer"),
        given("klayer train --n-s 5 --cycles 1 --data given"),
        given("klayer search --store new --data given"),
        given("klayer evaluate m.klayer --data given"),
        given("klayer inspect m.klayer --dead --data given"),
        given("klayer data --data given"),
        given("klayer gradcheck --data given"),
        given("klayer lr-range --data given"),
        in_place(&format!("klayer train {run} --out r --resume"), Path::new("r.checkpoint")),
        in_place(&format!("klayer train {run} --metrics r"), Path::new("r.part")),
        in_place(&format!("klayer {search}"), &record),
        in_place(&format!("klayer {search}"), &lock),
        in_place("xtask report --check --out report", Path::new("report/records/rendered.json")),
    ];
    for (arguments, path) in cases {
        for input in ["pipe", "/dev/zero", "folder", "huge"] {
            // A folder as a lock is retried for 20 seconds, since some file systems lose files for a while.
            if input == "folder" && path == lock {
                continue;
            }
            std::os::unix::fs::symlink(folder.join(input), folder.join(&path)).expect("a link");
            let (command, arguments) = arguments.split_once(' ').expect("a command");
            let mut shell = Command::new("sh");
            // With 4 GB of address space, unlimited reads run out of memory.
            shell.current_dir(&folder).args(["-c", &format!("ulimit -v 4000000; exec \"$0\" {arguments}")]);
            let ended = end_within(60, shell.arg(klayer_tests::binary(command)).env_remove("CIFAR10_DIR"));
            fs::remove_file(folder.join(&path)).expect("it is kept");
            let what = format!("{arguments} with {input}: {ended:?}");
            // Metrics that cannot be written do not end a training.
            let warned = path.ends_with("r.part") && ended.stderr.contains("warning: cannot write metrics: r.part: ");
            assert!(warned || matches!(ended.code, Some(1 | 2)) && ended.stderr.contains("error: "), "{what}");
            for words in ["panicked", "memory allocation", "out of memory"] {
                assert!(!ended.stderr.contains(words), "{what}");
            }
            assert_eq!(files(&folder), before, "{what}");
        }
    }
}

#[test]
fn a_damaged_checkpoint_requires_restart() {
    let (_guard, folder) = folder();
    fs::write(folder.join("m.klayer"), OLD).expect("written");
    fs::write(folder.join("m.klayer.checkpoint"), "damaged").expect("written");
    let train =
        |switches: &str| end(&mut klayer(&folder, &format!("train --n-s 5 --cycles 1 --out m.klayer {switches}")));
    for (switches, words) in [
        ("--synthetic", ["error: m.klayer.checkpoint: ", "--resume continues from it, --restart discards it"]),
        ("--synthetic --resume", ["error: m.klayer.checkpoint: ", "--restart discards this checkpoint"]),
        // Without images, --restart must not discard the checkpoint.
        ("--data nowhere --restart", ["error: nowhere: ", "not found"]),
        ("--offline --restart", ["error: ", "--synthetic"]),
    ] {
        let refused = train(switches);
        assert!(words.iter().all(|words| refused.stderr.contains(words)), "{refused:?}");
        assert_eq!((refused.code, fs::read(folder.join("m.klayer")).expect("it is kept")), (Some(1), OLD.into()));
        assert!(folder.join("m.klayer.checkpoint").exists());
    }
    train("--synthetic --restart").well();
    assert!(!folder.join("m.klayer.checkpoint").exists());
    assert_ne!(fs::read(folder.join("m.klayer")).expect("a model"), OLD.as_bytes());
}
