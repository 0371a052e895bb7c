//! `klayer train` and `klayer evaluate`.

use std::fs;
use std::path::Path;

use klayer_tests::{end, folder, images, klayer};
use serde_json::Value;

use crate::{array, keys, numbers};

/// A training that takes about a second and is far above chance.
const SHORT: &str = "train --json --n-s 50 --cycles 1";

/// Runs `klayer` and parses its single line of JSON.
fn line(folder: &Path, arguments: &str) -> Value {
    let ended = end(klayer(folder, arguments).args(images())).well();
    assert_eq!(ended.stdout.matches('\n').count(), 1, "{arguments}: {}", ended.stdout);
    serde_json::from_str(&ended.stdout).expect("a line of JSON")
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} of {value} is not a number"))
}

/// The values of a line that do not depend on the run time.
fn figures(line: &Value) -> [f64; 4] {
    ["steps", "val_loss", "val_acc", "test_acc"].map(|key| number(line, key))
}

#[test]
fn train_gives_the_same_model_for_any_thread_count() {
    let (_guard, folder) = folder();
    let lines = [1, 2, 4].map(|threads| {
        let line = line(&folder, &format!("{SHORT} --threads {threads} --out {threads}.klayer"));
        assert_eq!(
            keys(&line),
            ["seconds_train", "steps", "steps_per_s", "synthetic", "test_acc", "threads", "val_acc", "val_loss"]
        );
        assert_eq!(number(&line, "threads"), f64::from(threads));
        line
    });
    let [steps, loss, validation, test] = figures(&lines[0]);
    assert_eq!(steps, 100.0);
    assert!(loss > 0.5 && loss < 2.2, "better than ln 10: {loss}");
    assert!(validation > 0.18 && validation < 0.9 && (validation - test).abs() < 0.1, "{validation} and {test}");
    let seconds = number(&lines[0], "seconds_train");
    assert!(seconds > 0.0);
    assert!((number(&lines[0], "steps_per_s") * seconds - steps).abs() < 1e-6 * steps);

    let model = fs::read(folder.join("1.klayer")).expect("a model");
    for (line, threads) in lines.iter().zip([1, 2, 4]) {
        assert_eq!(figures(line), figures(&lines[0]), "on {threads} threads");
        assert!(fs::read(folder.join(format!("{threads}.klayer"))).expect("a model") == model, "on {threads} threads");
    }
    assert_eq!(klayer_tests::files(&folder).len(), 6, "the models, their metrics and nothing else");

    let on_test = line(&folder, "evaluate 1.klayer --json --threads 2");
    assert_eq!(keys(&on_test), ["accuracy", "classes", "confusion", "images", "loss", "synthetic", "views"]);
    assert_eq!((number(&on_test, "images"), number(&on_test, "accuracy")), (10_000.0, test));
    assert_eq!(array(&on_test["classes"]).len(), 10);
    let confusion: Vec<_> = array(&on_test["confusion"]).iter().map(numbers).collect();
    assert_eq!(confusion.iter().flatten().sum::<f64>(), 10_000.0);
    assert_eq!((0..10).map(|class| confusion[class][class]).sum::<f64>() / 1e4, test);
    assert_eq!(line(&folder, "evaluate 1.klayer --json --threads 1"), on_test);

    let on_validation = line(&folder, "evaluate 1.klayer --json --part validation");
    assert_eq!((number(&on_validation, "loss"), number(&on_validation, "accuracy")), (loss, validation));
}

#[test]
fn tables_match_the_json_output() {
    let (_guard, folder) = folder();
    let table = end(klayer(&folder, "train --n-s 50 --cycles 1 --out model.klayer").args(images())).well().stdout;
    let evaluated = line(&folder, "evaluate model.klayer --json");
    let accuracy = format!("{:.2}%", 100.0 * number(&evaluated, "accuracy"));
    let loss = format!("{:.4}", number(&evaluated, "loss"));
    let row = table.lines().find(|row| row.starts_with("test")).expect("a row for the test images");
    assert!(row.contains(&accuracy) && row.contains(&loss), "{accuracy} and {loss} in {table}");
    assert!(table.contains("100 steps") && table.contains("model.klayer"), "{table}");

    let table = end(klayer(&folder, "evaluate model.klayer").args(images())).well().stdout;
    assert!(table.starts_with(&format!("loss {loss}, accuracy {accuracy} on 10000")), "{table}");
    for (class, row) in array(&evaluated["classes"]).iter().zip(array(&evaluated["confusion"])) {
        let class = class.as_str().expect("a name");
        let found = table.lines().find(|line| line.starts_with(class)).unwrap_or_else(|| panic!("{class} in {table}"));
        let counts: Vec<f64> = found[class.len()..].split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert_eq!(counts, numbers(row), "{class}");
    }
}

#[test]
fn each_option_changes_the_model_and_repeats_are_identical() {
    let (_guard, folder) = folder();
    let variants = [
        "",
        "--no-bn",
        "--hidden none",
        "--hidden 20",
        "--sigma 0.05",
        "--lambda 0.1",
        "--seed 43",
        "--batch 50",
        "--eta-min 0.001",
        "--eta-max 0.02",
        "--n-s 60",
        "--cycles 2",
        "--activation gelu",
        "--activation modulus",
        "--dropout 0.2",
        "--schedule constant",
        "--schedule cosine",
        "--schedule cosine --warmup 0.5",
        "--normalize channel",
        "--normalize whiten",
        "--normalize whiten=0.9",
        "--label-smoothing 0.1",
        "--flip",
        "--shift 2",
        "--momentum 0.5",
        "--momentum 0.5 --nesterov",
        "--validation 4000",
    ];
    let mut models = Vec::new();
    for variant in variants {
        let kept: String = ["--n-s 50", "--cycles 1"]
            .into_iter()
            .filter(|default| !variant.starts_with(default.split(' ').next().expect("a switch")))
            .map(|default| format!("{default} "))
            .collect();
        let trained = line(&folder, &format!("train --json --out m.klayer {kept} {variant}"));
        assert!(number(&trained, "val_acc") > 0.11, "{variant}: {trained}");
        let model = fs::read(folder.join("m.klayer")).expect("a model");
        assert!(!models.contains(&model), "{variant} changes nothing");
        models.push(model);
    }
    line(&folder, &format!("{SHORT} --out m.klayer"));
    assert!(fs::read(folder.join("m.klayer")).expect("a model") == models[0], "the same command, the same bytes");
}

#[test]
fn named_metrics_are_kept_when_training_diverges() {
    let (_guard, folder) = folder();
    let train = "train --no-bn --n-s 50 --cycles 1 --validate-every 1 --metrics m.jsonl";
    end(klayer(&folder, train).args(images())).well();
    let lines = fs::read_to_string(folder.join("m.jsonl")).expect("metrics");
    assert_eq!(lines.lines().count(), 100);
    let wild = format!("{train} --eta-min 0 --eta-max 1000000");
    let ended = end(klayer(&folder, &wild).args(images()));
    assert!(ended.code == Some(1) && ended.stderr.contains("its metrics are in m.jsonl.part\n"), "{ended:#?}");
    assert!(fs::read_to_string(folder.join("m.jsonl")).expect("metrics") == lines, "the older ones stay");
    let part = fs::read_to_string(folder.join("m.jsonl.part")).expect("metrics");
    assert!(part.starts_with("{\"step\":1,") && part.lines().count() < 100, "{part}");
    assert_eq!(klayer_tests::files(&folder).len(), 2);
}

/// The kernels and faer sum in different orders, so results differ by rounding, which grows with the steps; after a few
/// steps the losses still agree.
#[test]
fn without_kernels_results_differ_only_by_rounding() {
    let (_guard, folder) = folder();
    let loss = |threads: usize, off: bool| {
        let out = format!("{threads}.klayer");
        let train = "train --hidden 200,200 --n-s 10 --cycles 1 --eta-max 0.01 --json --out";
        let mut command = klayer(&folder, train);
        command.arg(&out).arg("--threads").arg(threads.to_string());
        if off {
            command.env("KLAYER_NO_KERNELS", "1");
        }
        let ended = end(command.args(images())).well();
        let loss = number(&serde_json::from_str(&ended.stdout).expect("a line of JSON"), "val_loss");
        (loss, fs::read(folder.join(out)).expect("a model"))
    };
    let ((with, _), [without, on_two, on_four]) = (loss(1, false), [1, 2, 4].map(|threads| loss(threads, true)));
    assert!(without == on_two && without == on_four, "1, 2 and 4 threads give the same bits");
    assert!(with != without.0, "the kernels are switched off");
    assert!((with - without.0).abs() < 1e-6, "{with} and {}", without.0);
}
