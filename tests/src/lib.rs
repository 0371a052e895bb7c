//! End-to-end tests of the commands `klayer` and `xtask`, as their users start them.
//!
//! This library is what the tests share: where the commands and the images are, and what a command that has ended
//! leaves. The tests themselves are in `tests/all`.
//!
//! The images are CIFAR-10's where the folder is found (`$CIFAR10_DIR`, or `shared/cifar-10-batches-bin` beside the
//! workspace), and the synthetic stand-in elsewhere. With `$KLAYER_REQUIRE_DATA` set, a missing folder is a failure.
//! Every command is told never to download anything.
//!
//! ```
//! let klayer = klayer_tests::binary("klayer");
//! let ended = klayer_tests::end(std::process::Command::new(klayer).arg("--version"));
//! assert_eq!(ended.code, Some(0));
//! assert!(ended.stdout.starts_with("klayer "));
//! ```

#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use tempfile::TempDir;

/// What a command that has ended leaves.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its status; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// The command `name`, or `examples/` and the name of an example, built in the profile of the running test.
///
/// Cargo builds the commands of a package for that package's own tests alone, so they are built here, once a process.
///
/// # Panics
/// If they cannot be built.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(build);
    FOLDER.join(name).with_extension(env::consts::EXE_EXTENSION)
}

/// Builds the commands and returns the folder that they are in.
fn build() -> PathBuf {
    // The running test is target/<profile>/deps/<test>; a documentation test runs elsewhere, in the development profile.
    let test = env::current_exe().expect("the running test has a path");
    let folder = test.ancestors().nth(2).filter(|_| test.parent().is_some_and(|folder| folder.ends_with("deps")));
    let (profile, target) = match folder.and_then(|folder| folder.file_name().zip(folder.parent())) {
        Some((profile, target)) => (profile.to_string_lossy().into_owned(), target.to_path_buf()),
        None => {
            let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
            ("debug".to_owned(), target.unwrap_or_else(|| workspace().join("target")))
        }
    };
    let name = if profile == "debug" { "dev" } else { &profile };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "klayer-cli", "--package", "xtask", "--package", "klayer-examples"]);
    cargo.args(["--bins", "--examples", "--profile", name]);
    cargo.arg("--target-dir").arg(&target).current_dir(workspace());
    // What Cargo tells a test of the test's own package would have the build scripts of others run again.
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
            cargo.env_remove(name);
        }
    }
    let built = end(&mut cargo);
    assert_eq!(built.code, Some(0), "{cargo:?}: {}", built.stderr);
    target.join(profile)
}

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies within the workspace")
}

/// The folder with CIFAR-10, if there is one.
///
/// # Panics
/// If there is none and `$KLAYER_REQUIRE_DATA` is set.
pub fn cifar10() -> Option<PathBuf> {
    let named = env::var_os("CIFAR10_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = named.unwrap_or_else(|| workspace().join("..").join("shared").join("cifar-10-batches-bin"));
    if let Ok(folder) = fs::canonicalize(&folder) {
        return Some(folder);
    }
    assert!(env::var_os("KLAYER_REQUIRE_DATA").is_none(), "{}: CIFAR-10 is required and missing", folder.display());
    None
}

/// The switches for CIFAR-10, or for the stand-in where CIFAR-10 is missing.
pub fn images() -> Vec<String> {
    match cifar10() {
        Some(folder) => vec!["--data".to_owned(), folder.to_string_lossy().into_owned()],
        None => vec!["--synthetic".to_owned()],
    }
}

/// The command `name`, to be started in `folder`. Nothing around it changes what it does.
pub fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(binary(name));
    // A panic shows all that a user would ever see of one.
    command.current_dir(folder).env_remove("CIFAR10_DIR").env("RUST_BACKTRACE", "1");
    command
}

/// `klayer` with `arguments`, separated by spaces, in `folder`.
pub fn klayer(folder: &Path, arguments: &str) -> Command {
    let mut command = command("klayer", folder);
    command.args(arguments.split_whitespace());
    command
}

/// `xtask report --quick` with `arguments`, separated by spaces, which writes to `out`.
pub fn quick_report(out: &Path, arguments: &str) -> Command {
    let mut command = command("xtask", out.parent().expect("a folder has a parent"));
    command.args(["report", "--quick", "--offline", "--out"]).arg(out).args(arguments.split_whitespace());
    command
}

/// Runs `command` to its end.
///
/// # Panics
/// If it cannot be started or writes anything but text.
pub fn end(command: &mut Command) -> Ended {
    ended(command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

/// What `output` says, as text.
///
/// # Panics
/// If it is anything but text.
pub fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("commands write text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A new folder, which goes away with the guard. A second folder within it keeps `../shared` out of reach.
///
/// # Panics
/// If it cannot be made.
pub fn folder() -> (TempDir, PathBuf) {
    let guard = TempDir::new().expect("a temporary folder");
    let folder = guard.path().join("here");
    fs::create_dir(&folder).expect("a folder");
    (guard, folder)
}

/// Says why a test has nothing to test here: on standard error itself, since the harness keeps for itself what the
/// macros print in a test that passes.
pub fn skipped(reason: &str) {
    let _ = io::stderr().write_all(format!("skipped: {reason}\n").as_bytes());
}

/// The paths of all files below `folder`, relative to it, in order.
///
/// # Panics
/// If a folder cannot be read.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).expect("it lies within").to_path_buf());
            }
        }
    }
    found.sort();
    found
}

impl Ended {
    /// The same, if it ended well.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }
}
