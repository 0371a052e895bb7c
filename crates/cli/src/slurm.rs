//! `klayer search --slurm`: the shards of a search as an array of Slurm jobs, one element a shard.
//!
//! An element runs the same search with this executable; all that Slurm adds is which shard.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use clap::Args;
use klayer_cli::{Interrupt, Terminal};
use serde_json::json;

use crate::Error;

/// Time between two looks into the store.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Time between two questions to Slurm, whose controller serves many users.
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(5);

/// How long a file that another machine has written may stay unseen: NFS keeps what it knows of a folder so long.
const UNTIL_SEEN: Duration = Duration::from_secs(30);

/// Threads of an element. Slurm sets the first variable only for a job that asked for cores; the second counts all that
/// it got on the node, which may be whole cores of several threads, or a whole node.
const THREADS: &str = "${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}";

/// The switches of `klayer search --slurm`; those that are passed through have the names that sbatch gives them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Slurm")]
pub(crate) struct SlurmArgs {
    /// Submit the search to Slurm as a job array, one element a shard
    #[arg(long, requires = "shards", conflicts_with_all = ["shard", "collect", "watch", "tensorboard"])]
    slurm: bool,
    /// Shards, and so elements of the array
    #[arg(long, value_name = "N", requires = "slurm", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    /// Wait until every trial has its record, showing how many have, then print the table
    #[arg(long, requires = "slurm")]
    wait: bool,
    /// Partition of the cluster
    #[arg(long, value_name = "NAME", requires = "slurm")]
    partition: Option<String>,
    /// Time limit of an element, as in 2:00:00
    #[arg(long, value_name = "TIME", requires = "slurm")]
    time: Option<String>,
    /// Memory of an element, as in 2G
    #[arg(long, value_name = "SIZE", requires = "slurm")]
    mem: Option<String>,
    /// Cores of an element, which has as many threads unless --threads is given
    #[arg(long, value_name = "CORES", requires = "slurm", value_parser = clap::value_parser!(u32).range(1..))]
    cpus_per_task: Option<u32>,
    /// Account that is charged
    #[arg(long, value_name = "NAME", requires = "slurm")]
    account: Option<String>,
}

/// A job array that Slurm has accepted.
#[derive(Debug)]
pub(crate) struct Array {
    id: String,
    elements: u32,
    /// The cluster, where there are several.
    cluster: Option<String>,
    logs: PathBuf,
    /// The command that makes the table.
    collect: String,
}

/// Elements of an array that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    pending: usize,
    running: usize,
}

/// Whether jobs can be submitted here at all.
///
/// # Errors
/// [`Error::Slurm`] if not.
pub(crate) fn check() -> Result<(), Error> {
    // What it answers does not matter.
    run(Command::new("sbatch").arg("--version"), &[]).map(drop)
}

impl SlurmArgs {
    /// Whether the search shall be submitted.
    pub(crate) fn requested(&self) -> bool {
        self.slurm
    }

    /// Whether to wait until the trials are finished.
    pub(crate) fn wait(&self) -> bool {
        self.wait
    }

    /// Submits the array. Each element runs this program with the arguments `search`, those of its `own`, and its
    /// shard; with the arguments `search` and `--collect` the program makes the table. The logs are within `store`.
    ///
    /// # Errors
    /// [`Error::Slurm`] if Slurm refuses, [`Error::Path`].
    pub(crate) fn submit(&self, store: &Path, search: &[OsString], own: &[OsString]) -> Result<Array, Error> {
        let elements = self.shards.expect("--slurm requires --shards");
        let logs = store.join("slurm");
        let logs = fs::create_dir_all(&logs)
            .and_then(|()| fs::canonicalize(&logs))
            .map_err(|error| Error::Path { path: logs, error })?;
        let program = env::current_exe().map_err(|error| Error::Path { path: "klayer".into(), error })?;
        let command = words(&[&[program.into()], search].concat())?;

        let mut sbatch = Command::new("sbatch");
        sbatch.args(["--parsable", "--job-name=klayer", "--nodes=1", "--ntasks=1", "--requeue", "--open-mode=append"]);
        sbatch.arg(format!("--array=1-{elements}")).arg(output_switch(&logs)?);
        let passed_through = [
            ("partition", self.partition.clone()),
            ("time", self.time.clone()),
            ("mem", self.mem.clone()),
            ("cpus-per-task", self.cpus_per_task.map(|cores| cores.to_string())),
            ("account", self.account.clone()),
        ];
        for (name, value) in passed_through {
            sbatch.args(value.map(|value| format!("--{name}={value}")));
        }
        let answer = ask(&mut sbatch, &script(&command, own, elements)?)?;
        let (id, cluster) = match answer.trim().split_once(';') {
            Some((id, cluster)) => (id, Some(cluster.to_owned())),
            None => (answer.trim(), None),
        };
        let collect = format!("{} --collect", String::from_utf8_lossy(&command));
        Ok(Array { id: id.to_owned(), elements, cluster, logs, collect })
    }
}

impl Array {
    /// What a user who does not wait is told: as one line of JSON, or in words.
    pub(crate) fn submitted(&self, json: bool) -> String {
        let Self { id, elements, collect, logs, .. } = self;
        if json {
            return format!("{}\n", json!({ "job": id, "elements": elements, "logs": logs, "collect": collect }));
        }
        format!(
            "submitted job array {id} of {elements} elements, with their logs in {}\n\
             to end it: scancel {id}\n\
             the table, when it has finished: {collect}\n",
            logs.display()
        )
    }

    /// Waits until `finished`, which counts the trials that have their records, says `trials`.
    ///
    /// # Errors
    /// [`Error::Slurm`] if the array ends before, [`Error::Waiting`] if the user waits no longer.
    pub(crate) fn wait(
        &self,
        trials: usize,
        finished: impl Fn() -> Result<usize, Error>,
        terminal: &Terminal,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        terminal.line(&format!("submitted job array {} of {} elements", self.id, self.elements));
        let bar = terminal.bar(trials as u64, "{bar:40} {pos}/{len} trials  {elapsed}  {msg}");
        let mut asked: Option<Instant> = None;
        let mut ended: Option<Instant> = None;
        let result = loop {
            if asked.is_none_or(|asked| asked.elapsed() >= BETWEEN_QUESTIONS) {
                // A controller that does not answer now does so later; the jobs do not need it.
                if let Ok(left) = self.left() {
                    ended = if left.pending + left.running > 0 { None } else { ended.or_else(|| Some(Instant::now())) };
                    bar.set_message(format!("elements: {} pending, {} running", left.pending, left.running));
                }
                asked = Some(Instant::now());
            }
            let done = finished()?;
            bar.set_position(done as u64);
            terminal.now_and_then(|| format!("{done} of {trials} trials are finished"));
            if done == trials {
                break Ok(());
            }
            if ended.is_some_and(|ended| ended.elapsed() >= UNTIL_SEEN) {
                break Err(Error::Slurm(format!(
                    "the job array {} has ended, and {} of {trials} trials have no record: the logs in {} tell why, \
                     and the same command submits what is missing",
                    self.id,
                    trials - done,
                    self.logs.display()
                )));
            }
            if interrupt.requested() {
                break Err(Error::Waiting { id: self.id.clone(), collect: self.collect.clone() });
            }
            thread::sleep(BETWEEN_LOOKS);
        };
        bar.finish_and_clear();
        result
    }

    /// What is left of the array.
    fn left(&self) -> Result<Left, Error> {
        let mut squeue = Command::new("squeue");
        // Asked for by its number, an array that has ended long ago would be an error as any other.
        squeue.args(["--me", "--array", "--noheader", "--format=%F %t"]);
        squeue.args(self.cluster.iter().map(|cluster| format!("--clusters={cluster}")));
        Ok(left_of(&self.id, &ask(&mut squeue, &[])?))
    }
}

/// Counts the elements of the array `id` in what squeue says: a line for each, with the array's number and its state.
fn left_of(id: &str, lines: &str) -> Left {
    let states = lines.lines().filter_map(|line| line.trim().split_once(' ')).filter(|(array, _)| *array == id);
    let (pending, running): (Vec<_>, Vec<_>) = states.partition(|(_, state)| state.trim() == "PD");
    Left { pending: pending.len(), running: running.len() }
}

/// What an element runs: `command` with the arguments of its `own`.
fn script(command: &[u8], own: &[OsString], elements: u32) -> Result<Vec<u8>, Error> {
    let mut command = [command, b" ", &words(own)?].concat();
    if !own.iter().any(|argument| argument == "--threads") {
        command.extend_from_slice(format!(" --threads \"{THREADS}\"").as_bytes());
    }
    // A signal to the whole element reaches klayer as well, which then needs time for its checkpoints. Killed alone,
    // for example because memory was short, it goes on from them.
    let head = b"#!/bin/sh\ntrap : TERM INT\nfor attempt in 1 2 3; do\n";
    let tail = format!(
        " --shard \"$SLURM_ARRAY_TASK_ID/{elements}\"\n\
         status=$?\n\
         [ \"$status\" -eq 137 ] || break\n\
         echo \"killed in attempt $attempt of 3\" >&2\n\
         done\n\
         exit \"$status\"\n"
    );
    Ok([head, command.as_slice(), tail.as_bytes()].concat())
}

/// `arguments` as words of a shell.
fn words(arguments: &[OsString]) -> Result<Vec<u8>, Error> {
    shlex::bytes::try_join(arguments.iter().map(|argument| argument.as_encoded_bytes()))
        .map_err(|error| Error::Slurm(format!("a shell cannot be told this command: {error}")))
}

/// The switch for a log of each element in `logs`.
fn output_switch(logs: &Path) -> Result<OsString, Error> {
    let folder = logs.to_str().filter(|folder| !folder.contains('\\')).ok_or_else(|| {
        Error::Slurm(format!(
            "{}: Slurm writes no logs below a path with backslashes or that is no text",
            logs.display()
        ))
    })?;
    Ok(format!("--output={}/%A_%a.log", folder.replace('%', "%%")).into())
}

/// What a command of Slurm writes to standard output when it is given `input`.
fn ask(command: &mut Command, input: &[u8]) -> Result<String, Error> {
    let output = run(command, input)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let reasons: Vec<_> =
        told.lines().map(|line| line.split_once("error: ").map_or(line, |(_, reason)| reason)).collect();
    Err(Error::Slurm(format!("{}: {}", command.get_program().display(), reasons.join("; "))))
}

/// Runs a command of Slurm to its end, however that is.
fn run(command: &mut Command, input: &[u8]) -> Result<Output, Error> {
    let run = |command: &mut Command| -> io::Result<Output> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // Its end is the end of the input: the pipe must not live longer.
        let written = child.stdin.take().expect("it was asked for").write_all(input);
        match written {
            // One that ends without reading says why.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => child.wait_with_output(),
        }
    };
    let output = run(command);
    output.map_err(|error| {
        let name = command.get_program().display();
        Error::Slurm(match error.kind() {
            ErrorKind::NotFound => {
                format!("{name} is not installed here: --slurm works where jobs can be submitted to Slurm")
            }
            _ => format!("{name}: {error}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_quotes_what_a_shell_would_read_otherwise() {
        let given = ["/opt/k layer/klayer", "search", "--store", "/a b/it's $HOME"].map(OsString::from);
        let own = ["--checkpoint-every", "0.5"].map(OsString::from);
        let script = |own: &[OsString]| {
            let script = script(&words(&given).expect("words"), own, 8).expect("a script");
            let script = String::from_utf8(script).expect("text");
            let command = script.lines().find(|line| line.contains("search")).expect("a command");
            let command = command.replace("\"$SLURM_ARRAY_TASK_ID/8\"", "3/8").replace(THREADS, "2");
            shlex::split(&command).expect("words").into_iter().map(OsString::from).collect::<Vec<_>>()
        };
        let rest = ["--threads", "2", "--shard", "3/8"].map(OsString::from);
        assert_eq!(script(&own), [&given[..], &own, &rest].concat());
        let own = ["--threads", "7"].map(OsString::from);
        assert_eq!(script(&own), [&given[..], &own, &rest[2..]].concat());
    }

    #[cfg(unix)]
    #[test]
    fn an_element_has_as_many_threads_as_it_asked_for_cores() {
        let threads = |variables: &[(&str, &str)]| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("echo \"{THREADS}\"")]);
            shell.env_remove("SLURM_CPUS_PER_TASK").env_remove("SLURM_CPUS_ON_NODE").envs(variables.iter().copied());
            String::from_utf8(shell.output().expect("a shell").stdout).expect("text")
        };
        assert_eq!(threads(&[("SLURM_CPUS_PER_TASK", "2"), ("SLURM_CPUS_ON_NODE", "16")]), "2\n");
        assert_eq!(threads(&[("SLURM_CPUS_ON_NODE", "16")]), "16\n");
    }

    #[test]
    fn only_elements_of_the_array_are_counted() {
        let lines = "CLUSTER: here\n12 PD\n12 PD\n12 R\n12 CG\n112 R\n";
        assert_eq!(left_of("12", lines), Left { pending: 2, running: 2 });
        assert_eq!(left_of("13", lines), Left { pending: 0, running: 0 });
    }

    #[test]
    fn a_path_that_slurm_would_read_as_a_pattern_is_escaped_or_refused() {
        assert_eq!(output_switch(Path::new("/a b/50%j")).expect("a switch"), "--output=/a b/50%%j/%A_%a.log");
        assert!(output_switch(Path::new("/a\\b")).is_err());
    }
}
