//! The synthetic stand-in: told once, stamped everywhere, and never a silent surprise.

use std::fs;

use klayer_tests::{end, files, folder, klayer, quick_report};

use crate::json;
use crate::report::{assert_stamped, assert_well_formed};

const STAMP: &str = "synthetic stand-in, not CIFAR-10";

#[test]
fn sections_run_one_by_one_on_generated_images_are_stamped_everywhere() {
    let (_guard, folder) = folder();
    let out = folder.join("report");
    let mut not_run = Vec::new();
    for (section, figures) in [("coarse", 1), ("loss", 7), ("final", 10), ("sensitivity", 13)] {
        let ended = end(&mut quick_report(&out, &format!("--synthetic --only {section}"))).well();
        let warnings = ended.stderr.matches("generated images, not CIFAR-10").count();
        assert_eq!(warnings, 1, "{section}: the warning appears once: {}", ended.stderr);

        let results = json(&out.join("results.json"));
        assert_eq!(results["dataset"]["synthetic"], true);
        assert_eq!(results["dataset"]["name"], "synthetic stand-in");
        let written = files(&out.join("figures"));
        assert!(written.len() >= figures.min(12), "{section}: {written:?}");
        not_run.push(fs::read_to_string(out.join("report.md")).expect("a page").matches("*Not run.*").count());
        if section == "coarse" {
            assert!(results["fine"].is_null() && !results["coarse"].is_null());
            for empty in ["gradients", "loss", "final", "sensitivity"] {
                assert_eq!(results[empty], serde_json::json!([]), "{empty} was not run");
            }
            let page = fs::read_to_string(out.join("index.html")).expect("a page");
            assert_eq!(page.matches("Not run.").count(), not_run[0]);
        }
    }
    assert!(not_run[0] >= 5, "all but the coarse search: {not_run:?}");
    assert!(not_run.windows(2).all(|pair| pair[1] < pair[0]), "every start adds a section: {not_run:?}");
    assert_eq!(*not_run.last().expect("four starts"), 1, "the gradients alone are left: {not_run:?}");
    assert_well_formed(&out);
    assert_stamped(&out, STAMP);
}

#[test]
fn without_data_and_without_a_network_the_reason_is_told() {
    let (_guard, folder) = folder();
    let ended = end(&mut klayer(&folder, "train --offline --n-s 5 --cycles 1")).well();
    let warnings: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 1, "{}", ended.stderr);
    for reason in ["generated images, not CIFAR-10", "cifar-10-batches-bin: not found", "downloads are forbidden"] {
        assert!(warnings[0].contains(reason), "{reason:?} in {}", warnings[0]);
    }
    assert!(ended.stdout.contains("on generated images, not CIFAR-10"), "{}", ended.stdout);
    assert_eq!(files(&folder), [] as [std::path::PathBuf; 0]);
}
