//! Settings files: `--config` and `--print-config`.

use std::fs;
use std::path::Path;

use klayer_tests::{end, folder, images, klayer};

fn train(folder: &Path, words: &str) -> std::process::Command {
    klayer(folder, &format!("train {words}"))
}

#[test]
fn printed_settings_reproduce_a_run_exactly() {
    let (_guard, folder) = folder();
    let switches = "--hidden 20,10 --no-bn --sigma 0.0123456789012345 --lambda 1e-7 --cycles 1 --n-s 30 --batch 50 \
        --eta-min 0.00001 --eta-max 0.03 --seed 7 --validate-every 11 --out typed.klayer";
    let printed = end(train(&folder, switches).args(images()).arg("--print-config")).well().stdout;
    assert!(!folder.join("typed.klayer").exists(), "it only prints");
    fs::write(folder.join("run.toml"), &printed).expect("written");
    assert_eq!(end(&mut train(&folder, "--config run.toml --print-config")).well().stdout, printed);

    end(train(&folder, switches).args(images())).well();
    end(&mut train(&folder, "--config run.toml --out filed.klayer")).well();
    let model = |name: &str| fs::read(folder.join(name)).expect("a model");
    assert!(model("typed.klayer") == model("filed.klayer"));

    // Every setting that the run above leaves at its default.
    let switches = "--hidden 20,10 --activation modulus,gelu --dropout 0.1 --schedule cosine --epochs 0.5 --warmup 0.25 \
        --batch 100 --normalize whiten=0.5 --label-smoothing 0.1 --flip --shift 2 --momentum 0.9 --nesterov";
    let printed = end(&mut train(&folder, &format!("{switches} --print-config"))).well().stdout;
    for line in ["activation = \"modulus,gelu\"\n", "epochs = 0.5\n", "normalize = \"whiten=0.5\"\n", "flip = true\n"] {
        assert!(printed.contains(line) && !printed.contains("cycles"), "{printed}");
    }
    fs::write(folder.join("all.toml"), &printed).expect("written");
    assert_eq!(end(&mut train(&folder, "--config all.toml --print-config")).well().stdout, printed);

    // Exceeds TOML's integers.
    let printed = end(&mut train(&folder, "--seed 18446744073709551615 --watch --print-config")).well().stdout;
    assert!(printed.contains("seed = \"18446744073709551615\"\n"), "{printed}");
    fs::write(folder.join("large.toml"), &printed).expect("written");
    assert_eq!(end(&mut train(&folder, "--config large.toml --print-config")).well().stdout, printed);
    for (answer, expected) in [("true", "watch = 0\n"), ("false", "")] {
        fs::write(folder.join("watch.toml"), format!("watch = {answer}")).expect("written");
        let printed = end(&mut train(&folder, "--config watch.toml --print-config")).well().stdout;
        assert!(printed.contains(expected) && printed.contains("watch") != expected.is_empty(), "{printed}");
    }

    let search = "search --store trials --trials 3 --from 0.001 --print-config";
    let printed = end(&mut klayer(&folder, search)).well().stdout;
    assert!(printed.contains("trials = 3\n") && printed.contains("store = \"trials\"\n"), "{printed}");
}

#[test]
fn command_line_options_override_the_settings_file() {
    let (_guard, folder) = folder();
    fs::write(folder.join("run.toml"), "synthetic = true\nno-bn = true\nhidden = []\nbatch = 50\n").expect("written");
    let words = "--config run.toml --data elsewhere --no-bn=false --batch 20 --print-config";
    let printed = end(&mut train(&folder, words)).well().stdout;
    assert!(printed.contains("batch = 20\n") && printed.contains("hidden = \"none\"\n"), "{printed}");
    assert!(printed.contains("data = \"elsewhere\"\n"), "{printed}");
    assert!(!printed.contains("no-bn") && !printed.contains("synthetic"), "{printed}");
    fs::write(folder.join("yes.toml"), "json = true\nlog = true\nsigma = 0.5\n").expect("written");
    for (typed, expected) in [("", true), ("--json=false --log=false --sigma he", false)] {
        let words = format!("lr-range --config yes.toml {typed} --print-config");
        let printed = end(&mut klayer(&folder, &words)).well().stdout;
        for line in ["json = true\n", "log = true\n", "sigma = 0.5\n"] {
            assert_eq!(printed.contains(line), expected, "{typed}: {printed}");
        }
    }
    for command in ["search --store trials", "lr-range", "gradcheck"] {
        let words = format!("{command} --config network.toml --no-bn=false --print-config");
        fs::write(folder.join("network.toml"), "no-bn = true\nsigma = 0.5\n").expect("written");
        let printed = end(&mut klayer(&folder, &words)).well().stdout;
        assert!(printed.contains("sigma = 0.5\n") && !printed.contains("no-bn"), "{command}: {printed}");
    }
}

#[test]
fn recipes_are_printable_and_overridden_by_options() {
    let (_guard, folder) = folder();
    let recipes = [
        ("minute", "384,192,128", 24),
        ("quarter", "1024,512,256", 160),
        ("hour", "2048,1024,512", 330),
        ("day", "4096,2048,1024", 2500),
    ];
    for (name, hidden, epochs) in recipes {
        let printed = end(&mut train(&folder, &format!("--recipe {name} --print-config"))).well().stdout;
        for line in ["normalize = \"whiten=0.3\"\n", "flip = true\n", "schedule = \"cosine\"\n", "validation = 0\n"] {
            assert!(printed.contains(line), "{name}: {printed}");
        }
        let size = format!("hidden = [{}]\n", hidden.replace(',', ", "));
        assert!(printed.contains(&size) && printed.contains(&format!("epochs = {epochs}\n")), "{name}: {printed}");
        fs::write(folder.join("recipe.toml"), &printed).expect("written");
        assert_eq!(end(&mut train(&folder, "--config recipe.toml --print-config")).well().stdout, printed);
    }
    let words = "--recipe minute --hidden 8 --activation relu --cycles 1 --n-s 3 --batch 20 --flip=false";
    let printed = end(&mut train(&folder, &format!("{words} --print-config"))).well().stdout;
    assert!(printed.contains("hidden = 8\n") && printed.contains("cycles = 1\n"), "{printed}");
    assert!(!printed.contains("flip") && !printed.contains("epochs"), "{printed}");
    end(train(&folder, &format!("{words} --out small.klayer")).args(images())).well();
    assert!(folder.join("small.klayer").exists());

    let ended = end(&mut train(&folder, "--recipe hour --config recipe.toml"));
    assert!(ended.code == Some(2) && ended.stderr.contains("cannot be used with"), "{ended:#?}");
    let ended = end(&mut train(&folder, "--recipe week"));
    assert!(ended.code == Some(2) && ended.stderr.contains("[possible values: minute, quarter, hour, day]"));
}

#[test]
fn print_config_rejects_the_same_settings_as_a_run() {
    let (_guard, folder) = folder();
    for words in [
        "train --batch 1000000",
        "train --batch 1",
        "train --sigma 0",
        "train --eta-min 1",
        "train --hidden 18446744073709551615",
        "train --threads 1000000",
        "train --out missing/m.klayer",
        "train --out m --metrics m",
        "search --store trials --trials 0",
        "search --store trials --from 0",
        "search --store trials --validate-every 0",
        "lr-range --from 0.1 --to 0.1",
        "lr-range --lambda -1",
        "lr-range --batch 0",
        "gradcheck --features 4000",
        "gradcheck --tolerance 0",
        "gradcheck --h 0",
        "gradcheck --lambda 0,-1",
    ] {
        let ran = end(klayer(&folder, words).args(images()));
        let printed = end(klayer(&folder, words).args(images()).arg("--print-config"));
        assert!(ran.code == Some(1) && ran.stderr.starts_with("error: "), "{words}: {ran:#?}");
        assert_eq!((printed.code, printed.stdout, printed.stderr), (ran.code, ran.stdout, ran.stderr), "{words}");
    }
    assert!(klayer_tests::files(&folder).is_empty() && !folder.join("trials").exists());
}

#[test]
fn errors_in_a_settings_file_are_reported_with_suggestions() {
    let (_guard, folder) = folder();
    let cases = [
        ("lamda = 0.1", 2, "run.toml: unknown setting 'lamda' of klayer train; did you mean 'lambda'?"),
        ("config = \"run.toml\"", 2, "unknown setting 'config'"),
        ("batch = -3", 2, "run.toml: invalid value '-3' for '--batch <IMAGES>': expected an integer of at least 1"),
        ("offline = 3", 2, "run.toml: 'offline' must be true or false, not 3"),
        ("hidden = [50, 0]", 2, "'0' is not a width"),
        ("[run]\nbatch = 1", 2, "run.toml: unknown setting 'run'"),
        ("batch = ", 2, "line 1, column 9"),
        ("batch = 1000000", 1, "it must be at most 45000, the number of training images"),
        ("eta-min = 1.0", 1, "expected 0 <= eta_min <= eta_max < infinity"),
    ];
    for (text, status, told) in cases {
        fs::write(folder.join("run.toml"), text).expect("written");
        let ended = end(train(&folder, "--config run.toml").args(images()));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(status), ""), "{text}: {ended:#?}");
        assert!(ended.stderr.contains(told), "{text}: {ended:#?}");
    }
    let ended = end(&mut train(&folder, "--config missing.toml"));
    assert!(ended.code == Some(2) && ended.stderr.starts_with("error: missing.toml: No such file"), "{ended:#?}");
}
