//! `klayer export` and `klayer import`.

use std::fs;

use klayer_tests::{Ended, end, files, folder, images, klayer};

use crate::line;

#[test]
fn export_and_import_reproduce_the_model_file() {
    let (_guard, folder) = folder();
    end(klayer(&folder, "train --n-s 5 --cycles 1 --hidden 6,5 --out model.klayer").args(images())).well();
    let json = end(&mut klayer(&folder, "export model.klayer --out model.safetensors --json")).well().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("a line of JSON");
    assert_eq!(json["widths"], serde_json::json!([3072, 6, 5, 10]));
    assert_eq!(json["bytes"], fs::metadata(folder.join("model.safetensors")).expect("a file").len());
    end(&mut klayer(&folder, "import model.safetensors --out back.klayer")).well();
    let read = |name: &str| fs::read(folder.join(name)).expect("a file");
    assert!(read("back.klayer") == read("model.klayer"));

    // Each option changes the graph; the format is given by the name or by --format.
    let graphs = ["", " --fold-bn", " --input pixels", " --fold-bn --input pixels"].map(|switches| {
        end(&mut klayer(&folder, &format!("export model.klayer --out model.onnx{switches}"))).well();
        read("model.onnx")
    });
    for (i, graph) in graphs.iter().enumerate() {
        assert!(graphs[..i].iter().all(|other| other != graph));
    }
    end(&mut klayer(&folder, "export model.klayer --out graph --format onnx")).well();
    assert!(read("graph") == graphs[0]);
}

#[test]
fn evaluating_on_different_images_prints_a_warning() {
    let (_guard, folder) = folder();
    end(klayer(&folder, "train --n-s 5 --cycles 1 --hidden 4 --out model.klayer").args(images())).well();
    end(&mut klayer(&folder, "export model.klayer --out model.safetensors")).well();
    // The same model with a different checksum of its images.
    let told = line(&end(&mut klayer(&folder, "inspect model.klayer --json")).well());
    let sum = told["dataset"]["sha256"].as_str().expect("a sum").as_bytes();
    let mut bytes = fs::read(folder.join("model.safetensors")).expect("a file");
    let place = bytes.windows(sum.len()).position(|bytes| bytes == sum).expect("it is there");
    bytes[place..place + sum.len()].fill(b'0');
    fs::write(folder.join("model.safetensors"), bytes).expect("written");
    end(&mut klayer(&folder, "import model.safetensors --out others.klayer")).well();

    let evaluate = |model: &str| end(klayer(&folder, &format!("-q evaluate {model} --json")).args(images())).well();
    let (own, others) = (evaluate("model.klayer"), evaluate("others.klayer"));
    assert_eq!(own.stdout, others.stdout);
    let warnings = |ended: &Ended| {
        ended
            .stderr
            .matches("warning: the images, or their split, differ from those that the model was trained on")
            .count()
    };
    assert_eq!((warnings(&own), warnings(&others)), (0, 1), "{others:#?}");
    let sum = String::from_utf8_lossy(sum);
    assert!(others.stderr.contains(&*sum) && others.stderr.contains(&"0".repeat(64)), "{others:#?}");
    let inspected = end(klayer(&folder, "inspect others.klayer --dead").args(images())).well();
    assert_eq!(warnings(&inspected), 1, "{inspected:#?}");
}

#[test]
fn failed_exports_and_imports_change_no_file() {
    let (_guard, folder) = folder();
    end(klayer(&folder, "train --n-s 5 --cycles 1 --hidden 4 --out model.klayer").args(images())).well();
    end(&mut klayer(&folder, "export model.klayer --out model.safetensors")).well();
    let mut damaged = fs::read(folder.join("model.safetensors")).expect("a file");
    let last = damaged.len() - 4;
    damaged[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(folder.join("damaged.safetensors"), damaged).expect("written");
    let before = files(&folder);
    for (arguments, expected) in [
        ("export model.klayer --out model.pt", ".safetensors or .onnx"),
        ("export model.klayer --out model", ".safetensors or .onnx"),
        ("export model.klayer --out model.onnx --format tflite", "[possible values: safetensors, onnx]"),
        ("export model.klayer --out new.safetensors --fold-bn", "--fold-bn requires the ONNX format"),
        ("export model.klayer --out new.safetensors --input pixels", "--input requires the ONNX format"),
        ("export model.safetensors --out new.onnx", "model.safetensors: not a klayer model"),
        ("export missing.klayer --out new.onnx", "missing.klayer"),
        ("export model.klayer --out missing/new.onnx", "missing"),
        ("import model.klayer --out new.klayer", "model.klayer: not a safetensors file"),
        ("import damaged.safetensors --out new.klayer", "NaN at position"),
        ("import missing.safetensors --out new.klayer", "missing.safetensors"),
    ] {
        let ended = end(&mut klayer(&folder, arguments));
        assert!(matches!(ended.code, Some(1 | 2)) && ended.stdout.is_empty(), "{arguments}: {ended:#?}");
        assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(expected), "{arguments}: {ended:#?}");
        assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
        assert_eq!(files(&folder), before, "{arguments}");
    }
}
