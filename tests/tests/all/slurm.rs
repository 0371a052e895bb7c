//! `klayer search --slurm` on a real single-node Slurm, started by tests/slurm/start.sh.
//!
//! These tests are skipped if Slurm is not installed; if `$KLAYER_REQUIRE_SLURM` is set, it is installed.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use klayer_tests::{Ended, end, ended, files, folder, images, klayer, skipped, workspace};
use serde_json::Value;
use tempfile::TempDir;

use crate::json;

/// Maximum time to wait for a condition.
const PATIENCE: Duration = Duration::from_secs(120);

/// A single-node Slurm, stopped when dropped.
struct Slurm {
    folder: TempDir,
    _one_at_a_time: MutexGuard<'static, ()>,
}

impl Slurm {
    /// Starts Slurm; `None` if it is not installed.
    fn start() -> Option<Self> {
        static ONE: Mutex<()> = Mutex::new(());
        let installed = |name: &str| {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).any(|folder| folder.join(name).is_file())
        };
        let required = env::var_os("KLAYER_REQUIRE_SLURM").is_some();
        if !required && !["sbatch", "slurmctld", "slurmd", "munged"].into_iter().all(installed) {
            skipped("Slurm is not installed (slurm-wlm and munge)");
            return None;
        }
        let slurm = Self {
            _one_at_a_time: ONE.lock().unwrap_or_else(PoisonError::into_inner),
            folder: TempDir::new().expect("a temporary folder"),
        };
        slurm.script("start.sh").well();
        Some(slurm)
    }

    fn script(&self, name: &str) -> Ended {
        end(Command::new(workspace().join("tests/slurm").join(name)).arg(self.folder.path()))
    }

    /// Configures `command` to use this Slurm.
    fn with<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (name, _) in env::vars_os() {
            if ["SLURM_", "SBATCH_", "SQUEUE_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.env("SLURM_CONF", self.folder.path().join("slurm.conf"))
    }

    /// Runs a Slurm command with space-separated `arguments` and returns its output.
    fn ask(&self, command: &str, arguments: &str) -> String {
        end(self.with(Command::new(command).args(arguments.split_whitespace()))).well().stdout
    }

    /// Waits until `done` returns true; panics with the output of Slurm and the elements if that takes too long.
    fn wait_until(&self, what: &str, store: &Path, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            if start.elapsed() > PATIENCE {
                let jobs = self.ask("squeue", "--all --array --states=all");
                panic!("{what} takes too long\n{jobs}\n{}", logs(store));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// ID of the running array.
    fn array(&self) -> Option<String> {
        let numbers = self.ask("squeue", "--noheader --format=%F");
        numbers.lines().next().map(|number| number.trim().to_owned())
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = self.script("stop.sh");
    }
}

/// The records in a store, without run times and environment.
fn records(store: &Path) -> BTreeMap<PathBuf, Value> {
    let records = files(store).into_iter().filter(|name| name.extension().is_some_and(|ending| ending == "json"));
    let timeless = |name: PathBuf| {
        let mut record = json(&store.join(&name));
        record["seconds"] = Value::Null;
        record["environment"] = Value::Null;
        (name, record)
    };
    records.map(timeless).collect()
}

/// The logs of all elements.
fn logs(store: &Path) -> String {
    let logs = files(store).into_iter().filter(|name| name.extension().is_some_and(|ending| ending == "log"));
    logs.map(|name| fs::read_to_string(store.join(name)).unwrap_or_default()).collect()
}

/// ID of the process that runs the shard `shard` of the search in `store`.
fn process(store: &Path, shard: &str) -> Option<u32> {
    let store = fs::canonicalize(store).ok()?;
    let entries = fs::read_dir("/proc").expect("Slurm runs on Linux");
    entries.flatten().find_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<_> = line.split(|&byte| byte == 0).collect();
        let ours = words.first()?.ends_with(b"klayer")
            && words.contains(&store.as_os_str().as_encoded_bytes())
            && words.contains(&shard.as_bytes());
        ours.then_some(number)
    })
}

/// Starts `klayer search` in `folder`.
fn start(slurm: &Slurm, folder: &Path, store: &str, arguments: &str) -> Child {
    let mut command = klayer(folder, arguments);
    slurm.with(command.args(images()).arg("--store").arg(store)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Long enough that elements can be killed while they run.
const TRIALS: &str = "search --n-s 500 --cycles 1 --trials 6 --seed 7 --hidden 30,20";

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn a_killed_and_requeued_job_array_produces_identical_records() {
    let Some(slurm) = Slurm::start() else { return };
    let (_guard, folder) = folder();
    // A name with characters that are special to shells and Slurm.
    let name = "it's the store, 100%j";
    let store = folder.join(name);
    let arguments = format!(
        "{TRIALS} --checkpoint-every 0.2 --slurm --shards 3 --wait --partition main --time 0:30:00 --mem 600M \
         --cpus-per-task 1 --account vision"
    );
    let waiting = start(&slurm, &folder, name, &arguments);

    let checkpoint_of = |shard: &str| {
        process(&store, shard).is_some()
            && files(&store).iter().any(|name| name.extension().is_some_and(|ending| ending == "checkpoint"))
    };
    slurm.wait_until("a checkpoint of a running element", &store, || checkpoint_of("1/3"));
    let array = slurm.array().expect("it runs");
    let job = slurm.ask("scontrol", &format!("show job {array}_1"));
    for passed in ["Partition=main", "TimeLimit=00:30:00", "MinMemoryNode=600M", "CPUs/Task=1", "Account=vision"] {
        assert!(job.contains(passed), "{passed} is not in {job}");
    }

    // Kill the process of an element, as the system does when memory runs out.
    let killed = process(&store, "1/3").expect("it runs");
    assert!(Command::new("kill").args(["-KILL", &killed.to_string()]).status().expect("kill is there").success());
    slurm.wait_until("another process of the killed element", &store, || {
        process(&store, "1/3").is_some_and(|process| process != killed)
    });
    // The node fails with all its jobs.
    slurm.wait_until("the element that is requeued", &store, || process(&store, "2/3").is_some());
    let node = slurm.ask("sinfo", "--noheader --format=%n");
    slurm.ask("scontrol", &format!("update NodeName={} State=DOWN Reason=test", node.trim()));

    let waited = ended(waiting.wait_with_output().expect("it ends")).well();
    let told = logs(&store);
    assert!(told.contains("killed in attempt 1 of 3") && told.contains("DUE TO NODE FAILURE"), "{told}");
    assert_eq!(files(&store.join("slurm")).len(), 3, "a log for each element");

    let local = end(klayer(&folder, TRIALS).args(images()).args(["--store", "local"])).well();
    assert_eq!(waited.stdout, local.stdout, "the same table");
    assert_eq!(records(&store), records(&folder.join("local")), "the same records, to the last bit");
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn waiting_ends_with_the_array_or_on_ctrl_c() {
    let Some(slurm) = Slurm::start() else { return };
    let (_guard, folder) = folder();
    let long = "search --n-s 1000000 --trials 2 --slurm --shards 2 --wait";
    let store = folder.join("store");

    let waiting = start(&slurm, &folder, "store", long);
    slurm.wait_until("a running element", &store, || process(&store, "2/2").is_some());
    let array = slurm.array().expect("it runs");
    let interrupted = Command::new("kill").args(["-INT", &waiting.id().to_string()]).status().expect("kill is there");
    assert!(interrupted.success());
    let left = ended(waiting.wait_with_output().expect("it ends"));
    assert_eq!((left.code, left.stdout.as_str()), (Some(130), ""), "{left:#?}");
    let last = left.stderr.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("scancel {array}")) && last.contains("--collect"), "{last}");
    assert!(process(&store, "2/2").is_some(), "the jobs go on");
    slurm.ask("scancel", &array);

    // Wait for an array that is then cancelled.
    let waiting = start(&slurm, &folder, "other", long);
    let store = folder.join("other");
    slurm.wait_until("a running element", &store, || process(&store, "1/2").is_some());
    let array = slurm.ask("squeue", "--noheader --states=RUNNING --format=%F");
    slurm.ask("scancel", array.lines().last().expect("it runs").trim());
    let failed = ended(waiting.wait_with_output().expect("it ends"));
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""), "{failed:#?}");
    let last = failed.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("has ended, and 2 of 2 trials have no record"), "{last}");
}

#[test]
fn a_rejected_array_and_a_missing_slurm_are_reported() {
    let (_guard, folder) = folder();
    let mut command = klayer(&folder, "search --store store --slurm --shards 2");
    let missing = end(command.env("PATH", &folder));
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""), "{missing:#?}");
    assert!(missing.stderr.starts_with("error: sbatch is not installed here"), "{missing:#?}");
    assert_eq!((missing.stderr.lines().count(), files(&folder).len()), (1, 0), "{missing:#?}");

    let Some(slurm) = Slurm::start() else { return };
    let mut command = klayer(&folder, "search --n-s 10 --store store --slurm --shards 2 --partition nowhere");
    let refused = end(slurm.with(command.args(images())));
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:#?}");
    let last = refused.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: sbatch: invalid partition specified: nowhere"), "{refused:#?}");
}

/// All options in the commands of docs/cluster.md must exist in `klayer search`.
#[test]
fn documented_launchers_use_existing_options() {
    let (_guard, folder) = folder();
    let help = end(&mut klayer(&folder, "search --help")).well().stdout;
    let text = fs::read_to_string(workspace().join("docs/cluster.md")).expect("a page");
    let code = text.split("```").skip(1).step_by(2).map(|code| code.replace("\\\n", " "));
    let mut switches = 0;
    for code in code {
        // In YAML, a command continues on the next line.
        let lines = if code.starts_with("yaml") {
            vec![code.replace('\n', " ")]
        } else {
            code.lines().map(str::to_owned).collect()
        };
        for line in lines {
            let command = line.split_once("klayer search").map_or("", |(_, arguments)| arguments);
            let command = command.split_once('#').map_or(command, |(command, _)| command);
            for switch in command.split_whitespace().filter(|word| word.starts_with("--")) {
                switches += 1;
                assert!(help.split_whitespace().any(|word| word == switch), "{switch} of {line} is unknown");
            }
        }
    }
    assert!(switches > 20, "{switches} switches were found");
}
