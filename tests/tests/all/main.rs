//! End-to-end tests of the commands.

mod architecture;
mod bad_input;
mod bench;
mod browser;
mod config;
mod data;
#[cfg(unix)]
mod datasets;
mod examples;
mod export;
#[cfg(target_os = "linux")]
mod faults;
mod gradcheck;
mod inspect;
#[cfg(unix)]
mod interrupts;
mod live;
mod lr_range;
mod predict;
mod report;
mod search;
#[cfg(target_os = "linux")]
mod slurm;
mod stand_in;
mod train;

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Parses the single line of JSON printed by a command.
fn line(ended: &klayer_tests::Ended) -> Value {
    assert_eq!(ended.stdout.matches('\n').count(), 1, "{}", ended.stdout);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

/// Asserts that `text` contains no NaN, infinity or null.
#[track_caller]
fn assert_no_nan(text: &str) {
    for bad in ["NaN", "nan", "null", "inf"] {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        assert!(!words.any(|word| word == bad), "{bad} in {text}");
    }
}

/// Parses a JSON file.
fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The numbers of a JSON array; panics on anything else.
fn numbers(value: &Value) -> Vec<f64> {
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"));
    array(value).iter().map(number).collect()
}

/// The items of a JSON array; panics on anything else.
fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is not an array"))
}

/// The keys of a JSON object, in alphabetical order; panics on anything else.
fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is not an object"));
    let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Whether a file among the records belongs to the report as a whole, which every start rewrites, not to a single run.
fn of_the_report(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.starts_with("study-") || name == "rendered.json"
}
