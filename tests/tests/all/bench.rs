//! `xtask bench --quick`, from generated images to its files.

use klayer_tests::{command, end, files, folder};
use serde_json::Value;

use crate::interrupts::{interrupt, spawn, wait_until};
use crate::{array, json};

/// The group, the value and the trials of a row.
fn settings(row: &Value) -> (String, u64, u64) {
    let number = |key: &str| row[key].as_u64().unwrap_or_else(|| panic!("{key} of {row}"));
    (row["group"].as_str().expect("a name").to_owned(), number("value"), number("trials"))
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn the_bench_measures_every_axis_and_stamps_its_output() {
    let (_guard, folder) = folder();
    let out = folder.join("speed");
    let ended =
        end(command("xtask", &folder).args(["bench", "--quick", "--rounds", "2", "--synthetic", "--out"]).arg(&out));
    let printed = ended.well().stdout;
    let names = ["batch.svg", "bench.json", "depth.svg", "threads.svg", "trials.svg", "width.svg"];
    assert_eq!(files(&out), names.map(std::path::PathBuf::from));

    let bench = json(&out.join("bench.json"));
    assert_eq!((&bench["quick"], &bench["synthetic"]), (&true.into(), &true.into()));
    let rows = array(&bench["rows"]);
    for (axis, values) in [
        ("threads", &[1][..]),
        ("9-layer network", &[9]),
        ("width", &[10, 20, 50, 100, 200, 500, 1000]),
        ("depth", &[2, 3, 5, 9, 18]),
        ("batch", &[10, 32, 100, 320, 500, 1000]),
        ("trials", &[1, 2, 4, 8, 16, 20]),
        ("wide layers, threads", &[1]),
    ] {
        let of_axis: Vec<_> = rows.iter().map(settings).filter(|(group, ..)| group == axis).collect();
        for &value in values {
            let trials = if axis == "trials" { value } else { 1 };
            assert!(of_axis.contains(&(axis.to_owned(), value, trials)), "{axis} {value}");
        }
    }
    for row in rows {
        let seconds: Vec<f64> = array(&row["seconds"]).iter().filter_map(Value::as_f64).collect();
        assert!(seconds.len() == 2 && seconds.iter().all(|&seconds| seconds > 0.0), "{row}");
        let steps = row["steps"].as_f64().expect("a number") * row["trials"].as_f64().expect("a number");
        let median = (seconds[0] + seconds[1]) / 2.0;
        let rate = row["steps_per_second"].as_f64().expect("a number");
        assert!((rate * median / steps - 1.0).abs() < 1e-9, "{row}");
        let [operations, threads, part] = ["operations", "threads", "of_peak"].map(|key| row[key].as_f64().expect(key));
        let peak: Vec<f64> = array(&row["peak"]).iter().filter_map(Value::as_f64).collect();
        assert!(peak.len() == 2 && peak.iter().all(|&peak| peak > 0.0), "{row}");
        let parts = seconds.iter().zip(&peak).map(|(seconds, peak)| operations / seconds / (peak * threads));
        assert!((parts.sum::<f64>() / 2.0 / part - 1.0).abs() < 1e-9, "{row}");
    }

    let stamps = ["quick form: not the study's results", "synthetic stand-in, not CIFAR-10"];
    for stamp in stamps {
        assert!(printed.contains(stamp), "{printed}");
    }
    assert_eq!(printed.lines().filter(|line| line.starts_with("| ")).count(), rows.len() + 2, "{printed}");
    for figure in names.iter().filter(|name| name.ends_with(".svg")) {
        let figure = std::fs::read_to_string(out.join(figure)).expect("a figure");
        let drawn = roxmltree::Document::parse(&figure).expect("well-formed");
        let text: String = drawn.descendants().filter_map(|node| node.text()).collect();
        assert!(stamps.iter().all(|&stamp| text.contains(stamp)), "{text}");
    }
}

#[test]
fn a_stopped_bench_writes_nothing_and_reports_it() {
    let (_guard, folder) = folder();
    let (log, out) = (folder.join("log"), folder.join("speed"));
    let mut bench = command("xtask", &folder);
    bench.args(["bench", "--quick", "--rounds", "1000", "--synthetic", "--out"]).arg(&out);
    let mut child = spawn(&mut bench, &log);
    let under_way = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("round 1 of 1000"));
    wait_until(&mut child, "the first round", under_way);
    let ended = interrupt(child);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""), "{ended:#?}");
    let said = std::fs::read_to_string(&log).expect("a file");
    assert!(said.ends_with("stopped; nothing was written\n"), "{said}");
    assert!(!out.exists());
}
