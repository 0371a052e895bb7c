//! `klayer search`: shards and diverging trials.

use std::fs;
use std::path::Path;

use klayer_tests::{end, files, folder, images, klayer};
use serde_json::Value;

use crate::{array, json};

const TRIALS: &str = "search --trials 5 --n-s 100 --cycles 1 --hidden 20 --store";

fn search(folder: &Path, store: &str, more: &str) -> std::process::Command {
    let mut command = klayer(folder, TRIALS);
    command.arg(store).args(more.split_whitespace()).args(images());
    command
}

/// The records of a store by name, without run times and environment.
fn records(store: &Path) -> Vec<(String, Value)> {
    let timeless = |name: std::path::PathBuf| {
        let mut record = json(&store.join(&name));
        record["seconds"] = Value::Null;
        (name.display().to_string(), record)
    };
    let (records, mut others): (Vec<_>, Vec<_>) =
        files(store).into_iter().partition(|name| name.extension().is_some_and(|ending| ending == "json"));
    let metrics: Vec<_> = records.iter().map(|name| name.with_extension("metrics.jsonl")).collect();
    others.sort();
    assert_eq!(others, metrics, "each record has its metrics, and nothing else is left");
    records.into_iter().map(timeless).collect()
}

#[test]
fn shards_produce_the_table_of_one_search() {
    let (_guard, folder) = folder();
    let whole = end(&mut search(&folder, "whole", "")).well().stdout;
    assert_eq!(whole.lines().filter(|line| line.contains('%')).count(), 5, "{whole}");

    let missing = end(&mut search(&folder, "parts", "--collect"));
    assert!(missing.stderr.contains("parts: no such store") && missing.code == Some(1), "{missing:#?}");
    end(&mut search(&folder, "parts", "--shard 1/2")).well();
    let missing = end(&mut search(&folder, "parts", "--collect"));
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""), "{missing:#?}");
    assert!(missing.stderr.contains("2 of 5 trials have not finished: trial 2 (lambda "), "{missing:#?}");
    let part: Value = serde_json::from_str(&end(&mut search(&folder, "parts", "--shard 2/2 --json")).well().stdout)
        .expect("a line of JSON");
    let numbers: Vec<_> = array(&part["trials"]).iter().map(|trial| (&trial["trial"], &trial["rank"])).collect();
    assert_eq!(numbers, [(&2.into(), &Value::Null), (&4.into(), &Value::Null)], "a rank is one among all trials");
    assert_eq!(end(&mut search(&folder, "parts", "--collect")).well().stdout, whole);
    assert_eq!(records(&folder.join("parts")), records(&folder.join("whole")));
    let line: Value = serde_json::from_str(&end(&mut search(&folder, "parts", "--collect --json")).well().stdout)
        .expect("a line of JSON");
    assert_eq!(array(&line["trials"]).len(), 5);
    for shard in ["0/2", "3/2", "1"] {
        assert_eq!(end(&mut search(&folder, "parts", &format!("--shard {shard}"))).code, Some(2));
    }
}

#[test]
fn a_diverged_trial_has_no_accuracy_and_is_not_retried() {
    let (_guard, folder) = folder();
    let wild = "--eta-min 1000000 --eta-max 1000000 --no-bn";
    let first = end(&mut search(&folder, "store", wild)).well().stdout;
    assert_eq!(first.matches("diverged at step").count(), 5, "{first}");
    let bytes = || -> Vec<_> {
        let store = folder.join("store");
        files(&store).iter().map(|name| fs::read(store.join(name)).expect("a record")).collect()
    };
    let before = bytes();
    assert_eq!(end(&mut search(&folder, "store", wild)).well().stdout, first);
    assert!(bytes() == before);
}
