//! `klayer inspect`.

use klayer_tests::{end, files, folder, images, klayer};

use crate::{array, assert_no_nan, line};

#[test]
fn inspect_describes_the_layers_and_draws_the_listed_images() {
    let (_guard, folder) = folder();
    end(klayer(&folder, "train --hidden 7,5 --n-s 50 --cycles 1 --seed 3 --out m.klayer").args(images())).well();

    // Without images.
    let told = end(&mut klayer(&folder, "inspect m.klayer --json --offline --weights w.png")).well();
    let told = line(&told);
    assert_no_nan(&told["layers"].to_string());
    assert_eq!(told["widths"], serde_json::json!([3072, 7, 5, 10]));
    assert_eq!((&told["parameters"], &told["config"]["seed"]), (&(3073 * 7 + 14 + 8 * 5 + 10 + 60).into(), &3.into()));
    let layers = array(&told["layers"]);
    let parameters: u64 = layers.iter().map(|layer| layer["parameters"].as_u64().expect("a number")).sum();
    assert_eq!(told["parameters"], parameters);
    for layer in &layers[..2] {
        let variance = &layer["batch_norm"]["running_variance"];
        assert!(variance["min"].as_f64() > Some(0.0) && variance["max"].as_f64() >= variance["min"].as_f64());
        assert!(layer.get("dead").is_none(), "--dead is not given");
    }
    assert!(layers[2].get("batch_norm").is_none());
    let weights = image::open(folder.join("w.png")).expect("a picture");
    assert_eq!(
        (weights.width(), weights.height()),
        (3 * (3 * 33 + 1), 3 * (3 * 33 + 1)),
        "seven tiles, three in a row"
    );

    // With images: dead units, and mistakes.
    let told =
        line(&end(klayer(&folder, "inspect m.klayer --json --dead --mistakes s.png --most 12").args(images())).well());
    for layer in &array(&told["layers"])[..2] {
        let dead = array(&layer["dead"]);
        assert!(dead.iter().all(|unit| unit.as_u64() < layer["outputs"].as_u64()), "{layer}");
    }
    let mistakes = array(&told["mistakes"]);
    assert_eq!(mistakes.len(), 12);
    let confidences: Vec<_> =
        mistakes.iter().map(|mistake| mistake["confidence"].as_f64().expect("a number")).collect();
    assert!(confidences.is_sorted_by(|a, b| a >= b) && confidences[0] <= 1.0 && confidences[11] > 0.1);
    assert!(mistakes.iter().all(|mistake| mistake["true"] != mistake["predicted"]));
    let sheet = image::open(folder.join("s.png")).expect("a picture");
    assert_eq!((sheet.width(), sheet.height()), (3 * (10 * 33 + 1), 3 * (2 * 33 + 1)));

    let table = end(klayer(&folder, "inspect m.klayer --dead --mistakes s.png --most 12").args(images())).well().stdout;
    assert_no_nan(&table);
    for expected in ["3072-7-5-10 with batch norm", "7 x 3072", "variance", "of 7 units are dead", "confidence"] {
        assert!(table.contains(expected), "{expected} in {table}");
    }
    for mistake in mistakes {
        let row = table.lines().find(|row| row.split_whitespace().next() == Some(&mistake["index"].to_string()));
        let confidence = format!("{:.1}%", 100.0 * mistake["confidence"].as_f64().expect("a number"));
        assert!(row.is_some_and(|row| row.ends_with(&confidence)), "{mistake} in {table}");
    }
    assert_eq!(files(&folder).len(), 4, "the model, its metrics and two sheets");

    let ended = end(klayer(&folder, "inspect m.klayer --weights missing/w.png").args(images()));
    assert_eq!((ended.code, ended.stderr.starts_with("error: missing: ")), (Some(1), true), "{ended:?}");
}

/// Without batch norm, a large learning rate soon kills all units of a narrow layer.
#[test]
fn inspect_lists_dead_units() {
    let (_guard, folder) = folder();
    let rates = "--eta-min 0.1 --eta-max 0.1 --n-s 20 --cycles 1";
    let train = format!("train --hidden 20,4,4,4 --no-bn {rates} --lambda 0 --out m.klayer");
    end(klayer(&folder, &train).args(images())).well();
    let told = line(&end(klayer(&folder, "inspect m.klayer --json --dead").args(images())).well());
    let layers = array(&told["layers"]);
    assert_eq!(array(&layers[0]["dead"]).len(), 0, "the first layer is wide: {told}");
    assert_eq!(layers[3]["dead"], serde_json::json!([0, 1, 2, 3]), "{told}");
}
