//! Runs the examples and checks their output.

use std::fs;
use std::path::Path;

use klayer_tests::{command, end, files, folder, klayer};

/// Runs the example `name` in `folder` with `arguments` and returns its output.
fn run(name: &str, folder: &Path, arguments: &[&str]) -> String {
    end(command(&format!("examples/{name}"), folder).args(arguments)).well().stdout
}

#[test]
fn every_example_runs() {
    let (_guard, folder) = folder();
    let trained = run("01_train", &folder, &[]);
    assert!(trained.starts_with("step  40: validation loss ") && trained.lines().count() == 5, "{trained}");
    let checked = run("02_gradient_of_a_layer", &folder, &[]);
    assert!(checked.starts_with("largest relative error of 35 gradients: "), "{checked}");
    let scheduled = run("03_schedule", &folder, &[]);
    assert!(scheduled.contains("step  40: rate 0.0970, loss "), "{scheduled}");

    let searched = run("04_search_for_a_width", &folder, &["store"]);
    assert_eq!(searched.lines().count(), 6, "a line for each width: {searched}");
    let records = files(&folder.join("store")).len();
    assert_eq!(run("04_search_for_a_width", &folder, &["store"]), searched, "found, not trained again");
    assert_eq!(files(&folder.join("store")).len(), records);

    end(&mut klayer(&folder, "train --synthetic --cycles 1 --n-s 20 --out m.klayer")).well();
    let used = run("05_use_a_model", &folder, &["m.klayer"]);
    assert!(used.lines().count() == 5 && used.starts_with("image 0: pattern "), "{used}");
}

#[test]
fn every_example_file_is_in_the_manifest() {
    let manifest = fs::read_to_string(klayer_tests::workspace().join("examples/Cargo.toml")).expect("a manifest");
    let sources = files(&klayer_tests::workspace().join("examples"));
    let sources = sources.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    for source in sources {
        assert!(manifest.contains(&format!("path = \"{}\"", source.display())), "{}", source.display());
    }
}
