//! Checks of the sources against ARCHITECTURE.md, and of the results in README.md against the report.

use std::fs;
use std::path::{Path, PathBuf};

use klayer_tests::workspace;

use crate::{array, json, numbers};

/// All Rust files below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// Asserts that code below `folders` does not contain `word`, except in comments and in the `allowed` files.
fn assert_absent(word: &str, folders: &[&str], allowed: &[&str]) {
    for folder in folders {
        let files = sources(&workspace().join(folder));
        assert!(!files.is_empty(), "{folder}");
        for file in files {
            let text = fs::read_to_string(&file).expect("a source");
            let name = file.strip_prefix(workspace()).expect("below the root").display().to_string();
            if allowed.iter().any(|allowed| name.starts_with(allowed)) {
                continue;
            }
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let found: Vec<_> = code.filter(|line| line.contains(word)).collect();
            assert!(found.is_empty(), "{name} names {word}: {found:?}");
        }
    }
}

const ALL: [&str; 9] = [
    "crates/linalg/src",
    "crates/dataset/src",
    "crates/nn/src",
    "crates/optim/src",
    "crates/experiments/src",
    "crates/chart/src",
    "crates/export/src",
    "crates/cli/src",
    "xtask/src",
];

#[test]
fn only_linalg_uses_faer_and_pulp() {
    assert_absent("faer::", &ALL, &["crates/linalg/"]);
    assert_absent("pulp::", &ALL, &["crates/linalg/"]);
}

#[test]
fn only_one_module_uses_bincode() {
    assert_absent("bincode", &ALL, &["crates/nn/src/model_file.rs"]);
}

#[test]
fn only_export_and_tensorboard_use_foreign_formats() {
    assert_absent("SafeTensors", &ALL, &["crates/export/"]);
    assert_absent("prost", &ALL, &["crates/export/", "crates/cli/src/tensorboard.rs"]);
}

#[test]
fn numeric_crates_and_export_use_no_files_clocks_or_threads() {
    let numeric = ["crates/linalg/src", "crates/nn/src", "crates/optim/src", "crates/export/src"];
    // Matches uses, however they are imported.
    let files_and_clocks = ["fs::", "io::", "net::", "Instant", "SystemTime", "thread_rng", "rand::rng("];
    let threads = ["spawn", "thread::{", "thread::scope", "thread::sleep", "thread::park", "thread::Builder"];
    let global = ["available_parallelism", "rayon::join", "rayon::scope", "par_iter"];
    for word in files_and_clocks.into_iter().chain(threads).chain(global) {
        assert_absent(word, &numeric, &[]);
    }
}

#[test]
fn only_the_prefetch_hint_is_unsafe() {
    let read = |file: &str| fs::read_to_string(workspace().join(file)).expect("a file of the workspace");
    let hint = "crates/linalg/src/prefetch.rs";
    assert_absent("unsafe ", &["crates", "xtask", "tests", "examples"], &[hint, "tests/tests/all/architecture.rs"]);
    assert_eq!(read(hint).matches("unsafe {").count(), 1);
    assert!(read("Cargo.toml").contains("unsafe_code = \"deny\""));
    for folder in ALL.iter().filter(|folder| !folder.contains("linalg")) {
        for root in ["lib.rs", "main.rs"].map(|root| format!("{folder}/{root}")) {
            if workspace().join(&root).exists() {
                assert!(read(&root).contains("#![forbid(unsafe_code)]"), "{root}");
            }
        }
    }
}

#[test]
fn every_guarantee_names_an_existing_test() {
    let promises = fs::read_to_string(workspace().join("docs/guarantees.md")).expect("the promises");
    let tests: Vec<String> = ["crates", "tests/tests"]
        .iter()
        .flat_map(|folder| sources(&workspace().join(folder)))
        .map(|file| fs::read_to_string(file).expect("a source"))
        .collect();
    let names: Vec<&str> = promises.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(tests.iter().any(|text| text.contains(&format!("fn {name}("))), "no test is called {name}");
    }
}

/// The table of results in README.md must match the report in docs.
#[test]
fn readme_results_match_the_committed_report() {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("a README");
    let results = json(&workspace().join("docs/report/results.json"));
    let figures = |rows: &str, figure: &str| -> Vec<f64> {
        array(&results[rows]).iter().map(|row| row[figure].as_f64().expect("a number")).collect()
    };
    let largest = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);

    let mut promised = vec![format!("| {:.1e} |", largest(&figures("gradients", "max_relative_error")))];
    for search in ["coarse", "fine"] {
        let trials = array(&results[search]["trials"]).iter();
        let accuracies: Vec<f64> = trials.filter_map(|trial| trial["validation_accuracy"].as_f64()).collect();
        promised.push(format!("| {:.4} |", largest(&accuracies)));
    }
    for (mean, std) in figures("final", "mean").iter().zip(figures("final", "std")) {
        promised.push(format!("**{mean:.4} ± {std:.4}**"));
    }
    for batch_norm in [true, false] {
        let rows = array(&results["sensitivity"]).iter().filter(|row| row["batch_norm"] == batch_norm);
        let losses = rows.map(|row| numbers(&row["final_validation_loss"]));
        let means: Vec<f64> = losses.map(|losses| losses.iter().sum::<f64>() / losses.len() as f64).collect();
        let smallest = means.iter().copied().fold(f64::INFINITY, f64::min);
        let (from, to) = (format!("{smallest:.3}"), format!("{:.3}", largest(&means)));
        promised.push(if from == to { format!("| {from} |") } else { format!("| {from} to {to} |") });
    }
    for text in promised {
        assert!(readme.contains(&text), "README.md does not say {text}");
    }
}

#[test]
fn errors_do_not_both_print_and_return_their_source() {
    let texts = ALL.iter().flat_map(|folder| sources(&workspace().join(folder)));
    let texts = texts.map(|path| (fs::read_to_string(&path).expect("a source"), path));
    let mut enums = 0;
    for (text, path) in texts.filter(|(text, _)| text.contains("thiserror::Error")) {
        enums += 1;
        // `source()` returns a field of that name, and one that is marked.
        assert!(!text.contains("{source}") && !text.contains("#[source]"), "{}", path.display());
        for (attribute, variant) in text.lines().zip(text.lines().skip(1)) {
            let returned = variant.contains("#[from]");
            assert!(!returned || attribute.contains("#[error(transparent)]"), "{}: {variant}", path.display());
        }
    }
    assert!(enums >= 8, "{enums}");
}
