//! `xtask report --quick`, from the images to the page.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use klayer_tests::{Ended, command, end, files, folder, images, quick_report};
use roxmltree::{Document, ParsingOptions};
use serde_json::Value;
use tempfile::TempDir;

use crate::{array, json, keys, numbers, of_the_report};

const STAMP: &str = "quick form: not the study's results";

/// A complete quick report, shared by all tests; they modify copies.
pub(crate) static QUICK_REPORT: LazyLock<Report> = LazyLock::new(|| {
    let (guard, folder) = folder();
    let out = folder.join("report");
    let ended = end(&mut quick_report(&out, &images().join(" "))).well();
    Report { _guard: guard, out, ended }
});

pub(crate) struct Report {
    _guard: TempDir,
    pub(crate) out: PathBuf,
    ended: Ended,
}

impl Report {
    /// A copy to modify, with the guard of its folder.
    fn copy(&self) -> (TempDir, PathBuf) {
        let (guard, folder) = folder();
        let out = folder.join("report");
        for file in files(&self.out) {
            fs::create_dir_all(out.join(&file).parent().expect("a folder")).expect("a folder");
            fs::copy(self.out.join(&file), out.join(&file)).expect("a copy");
        }
        (guard, out)
    }
}

fn check(out: &Path) -> Ended {
    end(command("xtask", out).args(["report", "--check", "--out"]).arg(out))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files in `out` with this extension.
fn of_kind(out: &Path, extension: &str) -> Vec<PathBuf> {
    files(out).into_iter().filter(|file| file.extension().is_some_and(|found| found == extension)).collect()
}

/// Checks that the page and every figure are well-formed, and that the page needs no other file and no network.
pub(crate) fn assert_well_formed(out: &Path) {
    let parse = |path: &Path, look: &dyn Fn(&Document<'_>)| {
        let text = read(path);
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        let document = Document::parse_with_options(&text, options);
        look(&document.unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    };
    let figures = of_kind(out, "svg");
    for figure in &figures {
        assert!(figure.starts_with("figures"), "{}", figure.display());
        parse(&out.join(figure), &|document| assert_eq!(document.root_element().tag_name().name(), "svg"));
    }
    parse(&out.join("index.html"), &|document| {
        assert_eq!(document.root_element().tag_name().name(), "html");
        let elements = || document.descendants().filter(|node| node.is_element());
        let named = |name: &'static str| elements().filter(move |node| node.tag_name().name() == name);
        let drawn = named("figure").filter(|node| node.descendants().any(|node| node.tag_name().name() == "svg"));
        assert_eq!(drawn.count(), figures.len(), "the page has every figure");
        for node in elements() {
            assert!(!["script", "link", "iframe"].contains(&node.tag_name().name()), "the page is self-contained");
            assert!(node.attribute("src").is_none(), "the page is self-contained");
            let Some(target) = node.attribute("href") else { continue };
            let there = target.starts_with("data:")
                || out.join(target).is_file()
                || target.strip_prefix('#').is_some_and(|id| elements().any(|node| node.attribute("id") == Some(id)));
            assert!(there, "the page links to {target}, which does not exist");
        }
    });
    let markdown = read(&out.join("report.md"));
    for figure in &figures {
        assert!(markdown.contains(&figure.display().to_string()), "{} is in report.md", figure.display());
    }
}

/// Checks that `stamp` is on both pages, next to every table and figure in them, in every figure file, and in every row
/// of every CSV table.
pub(crate) fn assert_stamped(out: &Path, stamp: &str) {
    for figure in of_kind(out, "svg") {
        let text = read(&out.join(&figure));
        let document = Document::parse(&text).expect("it is well-formed");
        let shown = document.descendants().filter(|node| node.tag_name().name() == "text");
        let words: Vec<String> =
            shown.map(|node| node.descendants().filter_map(|node| node.text()).collect()).collect();
        assert!(words.iter().any(|words| words.contains(stamp)), "{}: {words:?}", figure.display());
    }
    let tables = of_kind(out, "csv");
    assert!(!tables.is_empty());
    for table in tables {
        let text = read(&out.join(&table));
        assert!(text.lines().count() > 1, "{} has rows", table.display());
        assert!(text.lines().skip(1).all(|row| row.contains(stamp)), "{}", table.display());
    }
    let page = read(&out.join("index.html"));
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&page, options).expect("it is well-formed");
    let has_stamp = |node: roxmltree::Node<'_, '_>| {
        node.descendants().filter_map(|node| node.text()).collect::<String>().contains(stamp)
    };
    let named = |name: &'static str| document.descendants().filter(move |node| node.tag_name().name() == name);
    assert!(named("table").count() > 5 && named("figure").count() > 0);
    for node in named("caption").chain(named("figcaption")) {
        assert!(has_stamp(node), "{:?} has no stamp", node.text());
    }
    let markdown = read(&out.join("report.md"));
    let tables = markdown.lines().filter(|line| line.starts_with("| :") || line.starts_with("| -")).count();
    let figures = of_kind(out, "svg").len();
    assert!(
        markdown.matches(stamp).count() > tables + figures,
        "report.md is stamped, and every table and figure in it"
    );
}

#[test]
fn a_quick_report_has_every_file_well_formed_and_stamped() {
    let out = &QUICK_REPORT.out;
    for expected in [
        "index.html",
        "report.md",
        "results.json",
        "tables/findings.csv",
        "tables/gradients.csv",
        "tables/loss.csv",
        "tables/coarse.csv",
        "tables/fine.csv",
        "tables/noise.csv",
        "tables/final.csv",
        "tables/confusion.csv",
        "tables/per_class.csv",
        "tables/sensitivity.csv",
        "figures/coarse.svg",
        "figures/fine.svg",
        "figures/final.svg",
        "figures/confusion.svg",
        "figures/loss-3-layer-lambda-0.05.svg",
        "figures/loss-9-layer-lambda-0.005.svg",
        "figures/sensitivity-sigma-0.001.svg",
    ] {
        assert!(out.join(expected).is_file(), "{expected} is missing from {:?}", files(out));
    }
    assert!(!read(&out.join("report.md")).contains("Not run"), "every section was run");
    assert!(files(out).iter().all(|file| !file.to_string_lossy().contains(".klayer-")), "no temporary file is left");
    assert_well_formed(out);
    assert_stamped(out, STAMP);
}

#[test]
fn a_quick_report_states_no_verdicts() {
    let out = &QUICK_REPORT.out;
    let note = "its figures are not the study's results";
    for page in ["index.html", "report.md"] {
        let text = read(&out.join(page));
        let body = text.split("</style>").last().expect("a page").replace('’', "'");
        assert!(body.contains("The pipeline ran.") && body.contains(note), "{page}");
        for verdict in ["hold", "✓", "✗", "not computed", "percentage points", "more than"] {
            assert!(!body.contains(verdict), "{page} contains {verdict:?}");
        }
    }
    let table = read(&out.join("tables/findings.csv"));
    assert!(table.lines().next().is_some_and(|header| header.ends_with(",holds")));
    assert!(table.lines().skip(1).all(|row| row.ends_with(',')), "{table}");
    assert!(QUICK_REPORT.ended.stdout.contains(note), "{}", QUICK_REPORT.ended.stdout);
}

#[test]
fn a_report_prints_little_without_a_terminal() {
    let Ended { stdout, stderr, .. } = &QUICK_REPORT.ended;
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert!(stdout.contains(&QUICK_REPORT.out.join("index.html").display().to_string()), "{stdout}");
    assert!((5..40).contains(&stderr.lines().count()), "{stderr}");
    assert!(!stderr.contains(['\u{1b}', '\r']) && !stdout.contains(['\u{1b}', '\r']), "{stderr:?}");
}

#[test]
fn results_have_the_documented_fields_and_consistent_values() {
    let results = json(&QUICK_REPORT.out.join("results.json"));
    assert!(results["schema"].is_u64() && results["quick"] == true && results["seed"] == 42);
    let dataset = &results["dataset"];
    assert_eq!(dataset["synthetic"], images() == ["--synthetic"]);
    assert_eq!(dataset["sha256"].as_str().map(str::len), Some(64));
    assert_eq!([&dataset["training"], &dataset["validation"], &dataset["test"]], [45_000, 5_000, 10_000]);
    assert!(!keys(&results["environment"]).is_empty());
    assert_eq!(keys(&results["seconds"]), ["coarse", "final", "fine", "gradients", "loss", "sensitivity"]);

    for finding in array(&results["findings"]) {
        assert_eq!(keys(finding), ["claim", "holds", "id", "measure", "value"]);
        assert!(finding["value"].is_f64(), "{finding}");
        assert!(finding["holds"].is_null(), "the quick form has no verdicts: {finding}");
    }
    let finding = |id: &str| array(&results["findings"]).iter().find(|finding| finding["id"] == id).expect("a finding");
    assert!(array(&results["findings"]).len() >= 6);
    let largest = array(&results["gradients"]).iter().filter_map(|row| row["max_relative_error"].as_f64());
    assert_eq!(finding("gradients-right")["value"].as_f64(), largest.reduce(f64::max), "it is the largest of the rows");
    let paper = array(&results["final"]).iter().find(|row| row["origin"] == "paper").expect("the paper's lambda");
    let distance = paper["mean"].as_f64().expect("a mean") - 0.5344;
    assert_eq!(finding("final-accuracy")["value"], distance);

    for (name, from, to) in [("coarse", 1e-5, 1e-1), ("fine", 1e-3, 1e-2)] {
        let trials = array(&results[name]["trials"]);
        assert!(trials.len() >= 3, "{name}");
        for trial in trials {
            assert_eq!(keys(trial), ["lambda", "seed", "validation_accuracy"]);
            assert!((from..=to).contains(&trial["lambda"].as_f64().expect("a number")), "{trial}");
            assert!((0.1..0.9).contains(&trial["validation_accuracy"].as_f64().expect("a number")), "{trial}");
        }
    }
    let sensitivity = array(&results["sensitivity"]);
    let cases: Vec<_> = sensitivity.iter().map(|row| (row["sigma"].as_f64(), row["batch_norm"].as_bool())).collect();
    assert_eq!(cases.len(), 6);
    for (sigma, batch_norm) in [0.1, 0.01, 0.001].iter().flat_map(|&sigma| [(sigma, true), (sigma, false)]) {
        assert!(cases.contains(&(Some(sigma), Some(batch_norm))), "sigma {sigma}, batch norm {batch_norm}");
    }
    for row in sensitivity {
        assert_eq!(array(&row["seeds"]).len(), numbers(&row["final_validation_loss"]).len());
    }
}

#[test]
fn every_parameter_of_every_network_has_a_right_gradient() {
    let results = json(&QUICK_REPORT.out.join("results.json"));
    let rows = array(&results["gradients"]);
    let lambdas: Vec<f64> = rows.iter().filter_map(|row| row["lambda"].as_f64()).collect();
    assert!(lambdas.contains(&0.0) && lambdas.contains(&0.005), "without and with the penalty");
    // Generated images have smaller gradients, and so larger relative errors.
    let limit = if results["dataset"]["synthetic"] == true { 1e-5 } else { 1e-6 };
    let mut seen = 0;
    let networks: [(&str, &[usize]); 3] = [
        ("2-layer", &[3072, 50, 10]),
        ("3-layer", &[3072, 50, 50, 10]),
        ("9-layer", &[3072, 50, 30, 20, 20, 10, 10, 10, 10, 10]),
    ];
    for (network, widths) in networks {
        for (batch_norm, lambda) in [(true, 0.0), (true, 0.005), (false, 0.0), (false, 0.005)] {
            for layer in 1..widths.len() {
                let hidden = layer + 1 < widths.len();
                let (inputs, outputs) = (widths[layer - 1], widths[layer]);
                let mut expected = vec![("W", inputs * outputs), ("b", outputs)];
                if batch_norm && hidden {
                    expected.extend([("gamma", outputs), ("beta", outputs)]);
                }
                for (parameter, count) in expected {
                    let place = format!("{network} {batch_norm} {lambda} layer {layer} {parameter}");
                    let mut found = rows.iter().filter(|row| {
                        row["network"] == network
                            && row["batch_norm"] == batch_norm
                            && row["lambda"] == lambda
                            && row["layer"] == layer
                            && row["parameter"] == parameter
                    });
                    let row = found.next().unwrap_or_else(|| panic!("{place} is missing"));
                    assert!(found.next().is_none(), "{place} appears twice");
                    let whole = |key: &str| row[key].as_u64().unwrap_or_else(|| panic!("{key} of {place}")) as usize;
                    assert_eq!(whole("checked") + whole("kinks"), count, "{place}");
                    // Kinks are few: most parameters must be checked.
                    assert!(whole("checked") * 10 >= count * 9, "{place}: {} kinks", whole("kinks"));
                    let error = row["max_relative_error"].as_f64().expect("a number");
                    assert!(error < limit && row["max_absolute_error"].as_f64().expect("a number") < 1e-6, "{row}");
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, rows.len(), "and there is no other row");
}

#[test]
fn the_final_accuracies_match_their_records() {
    let out = &QUICK_REPORT.out;
    let results = json(&out.join("results.json"));
    let records: Vec<Value> =
        of_kind(&out.join("records"), "json").iter().map(|name| json(&out.join("records").join(name))).collect();
    let trace = |confusion: &Value| (0..10).map(|class| numbers(&confusion[class])[class]).sum::<f64>();
    let total = |confusion: &Value| array(confusion).iter().flat_map(numbers).sum::<f64>();
    let finals = array(&results["final"]);
    assert_eq!(finals.len(), 2);
    assert_eq!([&finals[0]["origin"], &finals[1]["origin"]], ["fine search", "paper"]);
    let trials = array(&results["fine"]["trials"]);
    let best = trials.iter().max_by(|a, b| {
        a["validation_accuracy"].as_f64().partial_cmp(&b["validation_accuracy"].as_f64()).expect("numbers")
    });
    assert_eq!(finals[0]["lambda"], best.expect("trials")["lambda"], "chosen by the validation images");
    assert_eq!(finals[1]["lambda"], 0.007_232_67);

    let mut tested = 0;
    for row in finals {
        let (seeds, accuracies) = (array(&row["seeds"]), numbers(&row["test_accuracy"]));
        assert_eq!(seeds.len(), accuracies.len());
        let n = accuracies.len() as f64;
        let mean = accuracies.iter().sum::<f64>() / n;
        let std = (accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        assert!((row["mean"].as_f64().expect("a mean") - mean).abs() < 1e-12);
        assert!((row["std"].as_f64().expect("a deviation") - std).abs() < 1e-12);
        for (seed, accuracy) in seeds.iter().zip(accuracies) {
            let record = records.iter().find(|record| {
                let config = &record["config"];
                config["test"] == true && config["lambda"] == row["lambda"] && &config["seed"] == seed
            });
            let test = &record.expect("a record")["test"];
            assert_eq!(total(&test["confusion"]), 10_000.0);
            assert_eq!(trace(&test["confusion"]) / total(&test["confusion"]), accuracy);
            if row["confusion"]["seed"] == *seed {
                assert_eq!(row["confusion"]["counts"], test["confusion"]);
            }
            tested += 1;
        }
    }
    let with_test = records.iter().filter(|record| record.get("test").is_some_and(|test| !test.is_null())).count();
    assert_eq!(with_test, tested, "no run of a search uses the test images");
}

#[test]
fn a_check_names_every_changed_file() {
    let (_guard, out) = QUICK_REPORT.copy();
    let whole = check(&out).well();
    assert!(whole.stderr.is_empty() && whole.stdout.lines().count() == 1, "{whole:?}");
    for name in ["figures/coarse.svg", "tables/final.csv", "index.html", "results.json"] {
        let path = out.join(name);
        let bytes = fs::read(&path).expect("a file");
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&path, &changed).expect("written");
        let ended = check(&out);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(
            ended.stderr.contains("1 of ") && ended.stderr.trim_end().ends_with(&format!("would change: {name}")),
            "{}",
            ended.stderr
        );
        assert!(fs::read(&path).expect("a file") == changed, "a check writes nothing");
        fs::remove_file(&path).expect("it is ours");
        assert!(check(&out).stderr.contains(name), "a missing file is named too");
        fs::write(&path, &bytes).expect("written");
    }
    check(&out).well();
}

#[test]
fn a_second_start_repeats_no_run_and_writes_identical_files() {
    let (_guard, out) = QUICK_REPORT.copy();
    let modified = |name: &PathBuf| -> SystemTime {
        fs::metadata(out.join(name)).and_then(|data| data.modified()).expect("a time")
    };
    let before: Vec<_> = files(&out)
        .into_iter()
        .map(|name| (fs::read(out.join(&name)).expect("a file"), modified(&name), name))
        .collect();
    end(&mut quick_report(&out, &images().join(" "))).well();
    assert_eq!(files(&out).len(), before.len(), "no file more, no file less");
    for (bytes, time, name) in &before {
        assert!(&fs::read(out.join(name)).expect("a file") == bytes, "{} has other bytes", name.display());
        if name.starts_with("records") && !of_the_report(name) {
            assert_eq!(modified(name), *time, "{} was written again", name.display());
        }
    }
}

#[test]
fn figures_of_another_study_are_removed() {
    let (_guard, out) = QUICK_REPORT.copy();
    end(&mut quick_report(&out, &format!("--only coarse --seed 43 {}", images().join(" ")))).well();
    assert_eq!(of_kind(&out, "svg"), [Path::new("figures/coarse.svg")], "the others are of seed 42");
    check(&out).well();
}

#[test]
fn the_chapter_beyond_the_paper_is_made_from_its_records() {
    let (_guard, folder) = folder();
    let out = folder.join("beyond");
    let make = |beyond: &str| {
        end(&mut quick_report(&out, &format!("{beyond} {}", images().join(" ")))).well();
        assert_well_formed(&out);
    };
    make("--beyond=smaller");
    assert!(read(&out.join("report.md")).contains("*Not run.*"));
    let modified = |path: &Path| fs::metadata(path).expect("a record").modified().expect("a time");
    let records = files(&out.join("records")).into_iter().map(|file| out.join("records").join(file));
    let runs = records.filter(|path| read(path).contains("\"run\": {"));
    let runs: Vec<_> = runs.map(|path| (modified(&path), path)).collect();
    assert_eq!(runs.len(), 2);
    make("--beyond");
    assert!(runs.iter().all(|(time, path)| modified(path) == *time), "finished runs are not repeated");
    let ended = end(&mut quick_report(&out, &images().join(" ")));
    assert!(ended.code == Some(1) && ended.stderr.contains("contains another report"), "{ended:#?}");
    let page = read(&out.join("report.md"));
    assert!(page.contains(STAMP) && !page.contains("*Not run.*"), "{page}");
    let results = json(&out.join("results.json"));
    let names = |section: &str| -> Vec<String> {
        array(&results[section]).iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names("recipes"), ["minute", "quarter", "hour"]);
    assert_eq!(array(&results["recipes"][2]["mistakes"]).len(), 25);
    assert_eq!(names("ingredients").len(), 14);

    let check = || end(command("xtask", &out).args(["report", "--beyond", "--check", "--out"]).arg(&out));
    check().well();
    let run = &results["whitening"][0]["runs"][0];
    let accuracy = run["test"].to_string();
    let records = files(&out.join("records"));
    let records = records.iter().map(|file| out.join("records").join(file));
    let record = records.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let record = record.into_iter().find(|path| {
        let text = read(path);
        text.contains(&format!("\"accuracy\": {accuracy}")) && text.contains("\"training_sample\": 5000")
    });
    let record = record.expect("the record of the run");
    fs::write(&record, read(&record).replace(&format!("\"accuracy\": {accuracy}"), "\"accuracy\": 0.125"))
        .expect("written");
    let ended = check();
    assert!(ended.code == Some(1) && ended.stderr.contains("files would change"), "{ended:#?}");
}
