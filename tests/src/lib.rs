//! End-to-end tests of the commands `klayer` and `xtask`.
//!
//! This library contains the shared helpers: paths of the commands and the images, and the output of finished commands.
//! Tests of other crates use it to find the real images.
//! The tests are in `tests/all`.
//!
//! The tests use CIFAR-10 if its folder is found (`$CIFAR10_DIR`, or `cifar-10-batches-bin` in `data` or `../shared` of
//! the workspace), and generated images otherwise. A missing `$CIFAR10_DIR` is an error, and so is any missing folder if
//! `$KLAYER_REQUIRE_DATA` is set. Commands never download anything.
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

/// The result of a finished command.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit status; `None` if a signal ended the command.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The path of the command `name` (or `examples/NAME` for an example), built in the profile of the running test.
///
/// Cargo builds binaries only for the tests of their own package, so they are built here, once per process.
///
/// # Panics
/// If the build fails.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(build);
    FOLDER.join(name).with_extension(env::consts::EXE_EXTENSION)
}

/// Builds the commands and returns their folder.
fn build() -> PathBuf {
    // Tests run from target/<profile>/deps; doctests run elsewhere, in the dev profile.
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
    cargo.args(["build", "--quiet", "--package", "klayer", "--package", "xtask", "--package", "klayer-examples"]);
    cargo.args(["--bins", "--examples", "--profile", name]);
    cargo.arg("--target-dir").arg(&target).current_dir(workspace());
    // Cargo's variables for this package would make the build scripts of other packages run again.
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
            cargo.env_remove(name);
        }
    }
    let built = end(&mut cargo);
    assert_eq!(built.code, Some(0), "{cargo:?}: {}", built.stderr);
    target.join(profile)
}

/// The workspace folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies within the workspace")
}

/// The folder of CIFAR-10, for a test that needs the real images. Without it, prints that the test is skipped.
///
/// # Panics
/// If `$CIFAR10_DIR` does not exist, or if no folder is found and `$KLAYER_REQUIRE_DATA` is set.
pub fn cifar10() -> Option<PathBuf> {
    let folder = find_cifar10();
    if folder.is_none() {
        skipped("CIFAR-10 was not found: set CIFAR10_DIR");
    }
    folder
}

fn find_cifar10() -> Option<PathBuf> {
    if let Some(named) = env::var_os("CIFAR10_DIR").filter(|folder| !folder.is_empty()) {
        // Tests on generated images must not pass for tests on the real ones.
        return Some(
            fs::canonicalize(&named).unwrap_or_else(|error| panic!("CIFAR10_DIR={}: {error}", named.display())),
        );
    }
    let usual = ["data", "../shared"].map(|folder| workspace().join(folder).join("cifar-10-batches-bin"));
    let found = usual.iter().find_map(|folder| fs::canonicalize(folder).ok());
    let required = env::var_os("KLAYER_REQUIRE_DATA").is_some();
    assert!(found.is_some() || !required, "CIFAR-10 is required and was not found: set CIFAR10_DIR");
    found
}

/// The data options for CIFAR-10, or for generated images if CIFAR-10 is missing.
///
/// # Panics
/// Like [`cifar10`].
pub fn images() -> Vec<String> {
    match find_cifar10() {
        Some(folder) => vec!["--data".to_owned(), folder.to_string_lossy().into_owned()],
        None => vec!["--synthetic".to_owned()],
    }
}

/// The command `name` with working directory `folder`, independent of the environment.
pub fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(binary(name));
    // Panics print a backtrace, which the tests detect.
    command.current_dir(folder).env_remove("CIFAR10_DIR").env("RUST_BACKTRACE", "1");
    command
}

/// `klayer` with space-separated `arguments` in `folder`.
pub fn klayer(folder: &Path, arguments: &str) -> Command {
    let mut command = command("klayer", folder);
    command.args(arguments.split_whitespace());
    command
}

/// `xtask report --quick` with space-separated `arguments`, writing to `out`.
pub fn quick_report(out: &Path, arguments: &str) -> Command {
    let mut command = command("xtask", out.parent().expect("a folder has a parent"));
    command.args(["report", "--quick", "--offline", "--out"]).arg(out).args(arguments.split_whitespace());
    command
}

/// Runs `command` and waits for it.
///
/// # Panics
/// If it cannot be started or its output is not valid UTF-8.
pub fn end(command: &mut Command) -> Ended {
    ended(command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

/// Converts `output` to text.
///
/// # Panics
/// If it is not valid UTF-8.
pub fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("commands write text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A new temporary folder, removed with the guard. It is nested so that `../shared` does not exist.
///
/// # Panics
/// If it cannot be created.
pub fn folder() -> (TempDir, PathBuf) {
    let guard = TempDir::new().expect("a temporary folder");
    let folder = guard.path().join("here");
    fs::create_dir(&folder).expect("a folder");
    (guard, folder)
}

/// Prints why a test is skipped, directly to standard error, since the harness captures the output of the macros.
pub fn skipped(reason: &str) {
    let _ = io::stderr().write_all(format!("skipped: {reason}\n").as_bytes());
}

/// The sorted paths of all files in `folder` and its subfolders, relative to it.
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
    /// Returns the result if the exit status is 0.
    ///
    /// # Panics
    /// If it is not 0.
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }
}
