//! Checks of the sources against ARCHITECTURE.md, and of the results in README.md against the report.

mod uses;

use std::fs;
use std::path::{Path, PathBuf};

use klayer_tests::workspace;

use crate::{array, json, numbers};
use uses::Files;

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

const ALL: [&str; 12] = [
    "crates/linalg/src",
    "crates/dataset/src",
    "crates/nn/src",
    "crates/optim/src",
    "crates/store/src",
    "crates/train/src",
    "crates/experiments/src",
    "crates/chart/src",
    "crates/export/src",
    "crates/cli/src",
    "crates/klayer/src",
    "xtask/src",
];

/// Groups of files that use each other, by crate, and count as one file.
const TOGETHER: [(&str, &[&str]); 2] = [
    // The traits of numbers and kernels are each other's bounds, so that generic code calls kernels compiled once.
    ("crates/linalg/src", &["scalar", "kernels", "images", "matrix", "dct"]),
    ("crates/dataset/src", &["normalization", "whitening"]),
];

#[test]
fn no_files_of_a_crate_use_each_other_in_a_circle() {
    for folder in ALL {
        let files = Files::read(&workspace().join(folder));
        let groups: Vec<_> = TOGETHER.iter().filter(|(of, _)| *of == folder).map(|(_, group)| *group).collect();
        assert_eq!(files.circle(&groups), None, "{folder}");
        for (i, group) in groups.iter().enumerate() {
            let others = [&groups[..i], &groups[i + 1..]].concat();
            assert!(files.circle(&others).is_some(), "{folder}: {group:?} are no longer a circle");
        }
    }
}

#[test]
fn planted_circles_of_files_are_found() {
    let circle = |files: &[(&str, &str)]| {
        let files = Files::new(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        files.circle(&[]).map(|names| names.join(" "))
    };
    let root =
        ("lib", "mod a;\nmod b;\nmod error;\n\npub use a::{A, go as start};\npub use b::B;\npub use error::Error;\n");
    let found = Some("a b a".to_owned());
    for uses_b in ["use crate::B;", "use crate::{Error, b::{self, C}};", "fn f() { crate::b::c() }", "use super::b::C;"]
    {
        for uses_a in ["use crate::A;", "use crate::{\n    B,\n    start,\n};", "use crate::a as other;"] {
            assert_eq!(circle(&[root, ("a", uses_b), ("b", uses_a)]), found, "{uses_b} {uses_a}");
        }
        let harmless = "use crate::{B, Error};\n// crate::a\n\n#[cfg(test)]\nmod tests {\n    use crate::A;\n}\n";
        assert_eq!(circle(&[root, ("a", uses_b), ("b", harmless), ("error", "use crate::a::MOST;")]), None, "{uses_b}");
    }
    let part = [("a", ""), ("a/part", "use crate::B;"), ("b", "use crate::a::part::X;")];
    assert_eq!(circle(&[&[root], &part[..]].concat()), found, "a part counts as its file");
    let parts = [("a", "mod part;\nuse part::X;"), ("a/part", "use super::A;"), ("a/other", "use super::part::X;")];
    assert_eq!(circle(&[&[root], &parts[..]].concat()), None, "a file and its parts are one");
    let main = [("main", "mod a;\nfn main() { a::run() }\nenum Kind {}"), ("a", "use crate::Kind;")];
    assert_eq!(circle(&main), Some("a main a".to_owned()));
}

/// The rows of the drawing in ARCHITECTURE.md, from the top: the names of the crates.
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(workspace().join("ARCHITECTURE.md")).expect("the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("    │ "));
    let name = |cell: &str| cell.split_once(": ").map(|(name, _)| name.trim().to_owned());
    rows.map(|row| row.split('│').filter_map(name).collect()).collect()
}

#[test]
fn crates_depend_only_on_lower_rows_of_the_drawing() {
    let rows = rows();
    let row = |name: &str| rows.iter().position(|row| row.iter().any(|of| of == name));
    for folder in ALL.map(|folder| folder.trim_end_matches("/src")) {
        let name = folder.trim_start_matches("crates/");
        let here = row(name).unwrap_or_else(|| panic!("{name} is not in the drawing"));
        let manifest = fs::read_to_string(workspace().join(folder).join("Cargo.toml")).expect("a manifest");
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap_or_default();
        let dependencies = dependencies.lines().take_while(|line| !line.starts_with('['));
        for used in dependencies.filter_map(|line| line.strip_prefix("klayer-")) {
            let used = used.split(['.', ' ']).next().expect("a name");
            assert!(row(used).is_some_and(|there| there > here), "{name} uses {used}, which is not below it");
        }
    }
    assert_eq!(rows.concat().len(), ALL.len());
}

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

/// The recipes' accuracies in README.md must match the chapter in docs.
#[test]
fn readme_recipes_match_the_committed_chapter() {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("a README");
    let page = fs::read_to_string(workspace().join("docs/beyond/report.md")).expect("a chapter");
    let mut best = "";
    for recipe in page.lines().filter(|line| line.starts_with("| <code>")) {
        let cells: Vec<&str> = recipe.trim_matches(['|', ' ']).split(" | ").collect();
        let &[.., tests, one, _, views] = &cells[..] else { panic!("{recipe} has too few cells") };
        let runs = tests.split(", ").count();
        let (one, views) = (one.trim_matches('*'), views.trim_matches('*'));
        let row = format!("| {runs} | {one}% | **{views}%** |");
        assert!(readme.contains(&row), "README.md does not say {row}");
        best = views;
    }
    let headline = format!("**{best}%**");
    let opening = readme.split("##").next().expect("an opening");
    assert!(!best.is_empty() && opening.contains(&headline), "the opening of README.md does not say {headline}");
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
    assert!(enums >= 10, "{enums}");
}
