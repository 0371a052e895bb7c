//! The synthetic stand-in: one warning, a stamp on all output, and no use without `--synthetic`.

use std::fs;

use klayer_tests::{end, files, folder, klayer, quick_report};

use crate::json;
use crate::report::{assert_stamped, assert_well_formed};

const STAMP: &str = "synthetic stand-in, not CIFAR-10";

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn sections_run_separately_on_generated_images_are_stamped() {
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
fn commands_without_data_fail_and_name_synthetic() {
    let (_guard, folder) = folder();
    for command in ["train --n-s 5 --cycles 1", "search --trials 1 --n-s 5 --store s", "lr-range", "gradcheck", "data"]
    {
        let ended = end(klayer(&folder, command).arg("--offline"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{command}: {}", ended.stderr);
        for words in ["cifar-10-batches-bin: not found, and downloads are disabled", "--synthetic"] {
            assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(words), "{command}: {}", ended.stderr);
        }
        assert_eq!(files(&folder), [] as [std::path::PathBuf; 0], "{command}");
    }
}

#[test]
fn json_results_on_generated_images_say_synthetic() {
    let (_guard, folder) = folder();
    image::RgbImage::new(32, 32).save(folder.join("cat.png")).expect("a picture");
    for command in [
        "train --synthetic --n-s 5 --cycles 1 --out m.klayer",
        "search --synthetic --trials 1 --n-s 5 --cycles 1 --store s",
        "evaluate m.klayer --synthetic",
        "predict m.klayer cat.png",
        "inspect m.klayer",
        "lr-range --synthetic --steps 20 --points 2",
        "gradcheck --synthetic --hidden 3 --features 40",
        "data --synthetic",
        "export m.klayer --out m.safetensors",
        "import m.safetensors --out again.klayer",
    ] {
        let ended = end(klayer(&folder, command).arg("--json")).well();
        let line = crate::line(&ended);
        let says = line.get("synthetic").or_else(|| line["dataset"].get("synthetic"));
        assert_eq!(says, Some(&serde_json::Value::Bool(true)), "{command}: {line}");
    }
}
