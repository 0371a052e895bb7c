//! `klayer lr-range`.

use std::fs;

use klayer_tests::{end, files, folder, images, klayer};

use crate::{array, assert_no_nan, line};

#[test]
fn lr_range_writes_its_points_and_a_suggestion() {
    let (_guard, folder) = folder();
    let arguments = "lr-range --steps 200 --points 20 --log --from 1e-5 --to 1 --json --figure f.svg --csv p.csv";
    let told = line(&end(klayer(&folder, arguments).args(images())).well());
    let points = array(&told["points"]);
    assert_eq!(points.len(), 20);
    let rates: Vec<_> = points.iter().map(|point| point["rate"].as_f64().expect("a rate")).collect();
    assert!(rates.is_sorted() && (rates[19] - 1.0).abs() < 1e-12 && rates[0] < 2e-5, "{rates:?}");
    let found = &told["suggestion"];
    let (eta_min, eta_max) = (found["eta_min"].as_f64().expect("a rate"), found["eta_max"].as_f64().expect("a rate"));
    assert!(rates[0] < eta_min && eta_min < eta_max && eta_max <= 1.0, "{found}");
    assert!(eta_min < 0.05 && eta_max > 0.003, "batch norm learns at such rates: {found}");
    assert!(found["reason"].as_str().is_some_and(|reason| reason.contains("starts to rise")), "{found}");

    let csv = fs::read_to_string(folder.join("p.csv")).expect("points");
    assert_eq!(csv.lines().next(), Some("step,rate,batch_loss,validation_loss,validation_accuracy"));
    for (row, point) in csv.lines().skip(1).zip(points) {
        let numbers: Vec<f64> = row.split(',').map(|number| number.parse().expect("a number")).collect();
        let expected = ["step", "rate", "batch_loss", "validation_loss", "validation_accuracy"];
        assert_eq!(numbers, expected.map(|key| point[key].as_f64().expect("a number")));
    }
    let figure = fs::read_to_string(folder.join("f.svg")).expect("a figure");
    let svg = roxmltree::Document::parse(&figure).expect("well-formed");
    let lines = svg.descendants().filter(|node| node.has_tag_name("path")).count();
    let rules = svg.descendants().filter(|node| node.attribute("class") == Some("line rule")).count();
    assert!(lines >= 3 && rules == 5, "{lines} lines, {rules} rules");
    assert_no_nan(&figure);

    let again = line(&end(klayer(&folder, arguments).args(images()).args(["--threads", "1"])).well());
    assert_eq!(again, told, "the same on any number of threads");
    let table = end(klayer(&folder, "lr-range --steps 200 --points 20 --log --from 1e-5 --to 1").args(images())).well();
    assert!(table.stdout.contains(&format!("--eta-min {eta_min:.2e} --eta-max {eta_max:.2e}")), "{}", table.stdout);
    assert_eq!(files(&folder).len(), 2);
}

#[test]
fn a_diverging_range_test_ends_without_an_error() {
    let (_guard, folder) = folder();
    let arguments = "lr-range --no-bn --steps 200 --points 50 --log --from 1e-3 --to 1e6 --json";
    let ended = end(klayer(&folder, arguments).args(images())).well();
    let told = line(&ended);
    let step = told["diverged"]["step"].as_u64().expect("it diverges");
    let points = array(&told["points"]);
    assert!(step < 199 && !points.is_empty() && points.len() < 50, "{told}");
    assert!(points.iter().all(|point| point["validation_loss"].is_f64() && point["batch_loss"].is_f64()));

    // Diverges at once, so there is no suggestion.
    let arguments = "lr-range --no-bn --steps 200 --points 50 --from 1e8 --to 1e9 --figure f.svg";
    let ended = end(klayer(&folder, arguments).args(images())).well();
    assert!(ended.stdout.contains("diverged at step") && ended.stdout.contains("no suggestion: "), "{}", ended.stdout);
    assert!(roxmltree::Document::parse(&fs::read_to_string(folder.join("f.svg")).expect("a figure")).is_ok());
}

#[test]
fn invalid_rate_ranges_are_rejected() {
    let (_guard, folder) = folder();
    for (switches, expected) in [
        ("--from 0.1 --to 0.1", "invalid learning-rate range"),
        ("--from 0 --log", "first > 0 for exponential growth"),
        ("--to inf", "invalid learning-rate range"),
        ("--steps 1", "needs at least two steps"),
        ("--batch 0", "--batch is 0, but it must be at least 1"),
        ("--batch 45001", "--batch is 45001, but it must be at most 45000, the number of training images"),
        ("--batch 1", "batch norm needs at least two images"),
        ("--figure missing/f.svg", "missing: "),
    ] {
        let ended = end(klayer(&folder, "lr-range").args(switches.split(' ')).args(images()));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{switches}: {ended:?}");
        let errors: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(expected), "{switches}: {}", ended.stderr);
    }
    assert!(files(&folder).is_empty());
}
