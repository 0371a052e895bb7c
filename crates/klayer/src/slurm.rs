//! `klayer search --slurm`: runs the shards of a search as a Slurm job array.
//!
//! Each element runs the same search with this executable and its own shard.

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

/// Interval between checks of the store.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Interval between queries to Slurm, whose controller serves many users.
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(5);

/// How long a file written by another machine may stay invisible, because NFS caches directory entries.
const UNTIL_SEEN: Duration = Duration::from_secs(30);

/// Number of threads of an element. Slurm sets the first variable only for jobs that request cores; the second counts
/// all CPUs allocated on the node.
const THREADS: &str = "${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}";

/// Options of `klayer search --slurm`; options passed to sbatch have the same names.
#[derive(Debug, Args)]
#[command(next_help_heading = "Slurm")]
pub(crate) struct SlurmArgs {
    /// Submit the search to Slurm as a job array with one element per shard
    #[arg(long, requires = "shards", conflicts_with_all = ["shard", "collect", "watch", "tensorboard"])]
    slurm: bool,
    /// Number of shards; each is one element of the array
    #[arg(long, value_name = "N", requires = "slurm", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    /// Wait until all trials have finished, then print the table
    #[arg(long, requires = "slurm")]
    wait: bool,
    /// Partition to submit to
    #[arg(long, value_name = "NAME", requires = "slurm")]
    partition: Option<String>,
    /// Time limit per element, as in 2:00:00
    #[arg(long, value_name = "TIME", requires = "slurm")]
    time: Option<String>,
    /// Memory per element, as in 2G
    #[arg(long, value_name = "SIZE", requires = "slurm")]
    mem: Option<String>,
    /// Cores per element, which is also its number of threads unless --threads is given
    #[arg(long, value_name = "CORES", requires = "slurm", value_parser = clap::value_parser!(u32).range(1..))]
    cpus_per_task: Option<u32>,
    /// Account to charge
    #[arg(long, value_name = "NAME", requires = "slurm")]
    account: Option<String>,
}

/// A submitted job array.
#[derive(Debug)]
pub(crate) struct Array {
    id: String,
    elements: u32,
    /// The cluster, if Slurm manages several.
    cluster: Option<String>,
    logs: PathBuf,
    /// The command that prints the table.
    collect: String,
}

/// Numbers of elements that have not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    pending: usize,
    running: usize,
}

/// Checks that sbatch can be run.
///
/// # Errors
/// [`Error::Slurm`] if it cannot.
pub(crate) fn check() -> Result<(), Error> {
    // The output does not matter.
    run(Command::new("sbatch").arg("--version"), &[]).map(drop)
}

impl SlurmArgs {
    /// Whether to submit the search.
    pub(crate) fn requested(&self) -> bool {
        self.slurm
    }

    /// Whether to wait until the trials have finished.
    pub(crate) fn wait(&self) -> bool {
        self.wait
    }

    /// Submits the array. Each element runs this program with the arguments `search`, the arguments `own` and its shard.
    /// The arguments `search` with `--collect` print the table. Logs are written to a folder within `store`.
    ///
    /// # Errors
    /// [`Error::Slurm`] if Slurm rejects the array, [`Error::Path`] if the log folder cannot be created.
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
    /// The output of a submission without `--wait`, as text or as one line of JSON.
    pub(crate) fn submitted(&self, json: bool) -> String {
        let Self { id, elements, collect, logs, .. } = self;
        if json {
            return format!("{}\n", json!({ "job": id, "elements": elements, "logs": logs, "collect": collect }));
        }
        format!(
            "submitted job array {id} with {elements} elements; logs in {}\n\
             to cancel it: scancel {id}\n\
             to print the table when it has finished: {collect}\n",
            logs.display()
        )
    }

    /// Waits until `finished`, the number of trials with a record, reaches `trials`.
    ///
    /// # Errors
    /// [`Error::Slurm`] if the array ends earlier, [`Error::Waiting`] if the user interrupts.
    pub(crate) fn wait(
        &self,
        trials: usize,
        finished: impl Fn() -> Result<usize, Error>,
        terminal: &Terminal,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        terminal.line(&format!("submitted job array {} with {} elements", self.id, self.elements));
        let bar = terminal.bar(trials as u64, "{bar:40} {pos}/{len} trials  {elapsed}  {msg}");
        let mut asked: Option<Instant> = None;
        let mut ended: Option<Instant> = None;
        let result = loop {
            if asked.is_none_or(|asked| asked.elapsed() >= BETWEEN_QUESTIONS) {
                // Ignore a controller that does not respond: the jobs keep running.
                if let Ok(left) = self.left() {
                    ended = if left.pending + left.running > 0 { None } else { ended.or_else(|| Some(Instant::now())) };
                    bar.set_message(format!("elements: {} pending, {} running", left.pending, left.running));
                }
                asked = Some(Instant::now());
            }
            let done = finished()?;
            bar.set_position(done as u64);
            terminal.now_and_then(|| format!("{done} of {trials} trials finished"));
            if done == trials {
                break Ok(());
            }
            if ended.is_some_and(|ended| ended.elapsed() >= UNTIL_SEEN) {
                break Err(Error::Slurm(format!(
                    "the job array {} has ended, and {} of {trials} trials have no record: see the logs in {}, and run \
                     the same command again to submit the missing trials",
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

    /// Queries the elements that have not finished.
    fn left(&self) -> Result<Left, Error> {
        let mut squeue = Command::new("squeue");
        // Not queried by ID: for an array that ended long ago, squeue would fail.
        squeue.args(["--me", "--array", "--noheader", "--format=%F %t"]);
        squeue.args(self.cluster.iter().map(|cluster| format!("--clusters={cluster}")));
        Ok(left_of(&self.id, &ask(&mut squeue, &[])?))
    }
}

/// Counts the elements of the array `id` in the output of squeue, a line with array ID and state for each element.
fn left_of(id: &str, lines: &str) -> Left {
    let states = lines.lines().filter_map(|line| line.trim().split_once(' ')).filter(|(array, _)| *array == id);
    let (pending, running): (Vec<_>, Vec<_>) = states.partition(|(_, state)| state.trim() == "PD");
    Left { pending: pending.len(), running: running.len() }
}

/// The batch script of an element: `command` with the arguments `own`.
fn script(command: &[u8], own: &[OsString], elements: u32) -> Result<Vec<u8>, Error> {
    let mut command = [command, b" ", &words(own)?].concat();
    if !own.iter().any(|argument| argument == "--threads") {
        command.extend_from_slice(format!(" --threads \"{THREADS}\"").as_bytes());
    }
    // A signal to the whole element also reaches klayer, which needs time to write its checkpoints. If klayer alone is
    // killed, for example when memory runs out, it is started again and resumes from them.
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

/// Quotes `arguments` for a shell.
fn words(arguments: &[OsString]) -> Result<Vec<u8>, Error> {
    shlex::bytes::try_join(arguments.iter().map(|argument| argument.as_encoded_bytes()))
        .map_err(|error| Error::Slurm(format!("cannot quote this command for a shell: {error}")))
}

/// The sbatch option that writes a log for each element to `logs`.
fn output_switch(logs: &Path) -> Result<OsString, Error> {
    let folder = logs.to_str().filter(|folder| !folder.contains('\\')).ok_or_else(|| {
        Error::Slurm(format!(
            "{}: Slurm does not support log paths that contain backslashes or are not valid UTF-8",
            logs.display()
        ))
    })?;
    Ok(format!("--output={}/%A_%a.log", folder.replace('%', "%%")).into())
}

/// Runs a Slurm command with `input` on standard input and returns its standard output.
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

/// Runs a Slurm command and returns its output, whatever its exit status.
fn run(command: &mut Command, input: &[u8]) -> Result<Output, Error> {
    let run = |command: &mut Command| -> io::Result<Output> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // The pipe is dropped here, which ends the input.
        let written = child.stdin.take().expect("the input is piped").write_all(input);
        match written {
            // A command that exits without reading its input reports the reason.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => child.wait_with_output(),
        }
    };
    let output = run(command);
    output.map_err(|error| {
        let name = command.get_program().display();
        Error::Slurm(match error.kind() {
            ErrorKind::NotFound => {
                format!("{name} is not installed here; --slurm requires a machine that can submit jobs to Slurm")
            }
            _ => format!("{name}: {error}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_quotes_shell_metacharacters() {
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
    fn an_element_uses_one_thread_per_allocated_core() {
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
    fn log_paths_are_escaped_or_rejected() {
        assert_eq!(output_switch(Path::new("/a b/50%j")).expect("a switch"), "--output=/a b/50%%j/%A_%a.log");
        assert!(output_switch(Path::new("/a\\b")).is_err());
    }
}
