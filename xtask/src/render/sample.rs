//! Invented results for the tests of the rendering.

use crate::paper::Paper;
use crate::results::*;

/// A number in 0..1 that looks random and depends on `n` alone.
fn noise(n: u64) -> f64 {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1u64 << 24) as f64
}

fn curve(floor: f64, penalty: f64, seed: u64) -> Vec<Point> {
    let point = |k: u64| {
        let along = k as f64 / 40.0;
        let cycle = 0.12 * (1.0 - (along * std::f64::consts::TAU * 2.0).cos()) / 2.0;
        let training = floor + (2.45 - floor) * (-9.0 * along).exp() + cycle + 0.02 * noise(97 * seed + k);
        let validation = training + 0.15 * along;
        let cost = penalty * (0.1 + 12.0 * (-6.0 * along).exp());
        Point {
            step: k * 225,
            training_loss: training,
            training_cost: training + cost,
            validation_loss: validation,
            validation_cost: validation + cost,
            validation_accuracy: 0.1 + 0.43 * (1.0 - (-9.0 * along).exp()),
        }
    };
    (0..=40).map(point).collect()
}

fn constant(level: f64) -> Vec<Point> {
    let at = |k: u64| Point {
        step: k * 225,
        training_loss: level,
        training_cost: level + 0.01,
        validation_loss: level,
        validation_cost: level + 0.01,
        validation_accuracy: 0.1,
    };
    (0..=40).map(at).collect()
}

fn gradients() -> Vec<GradientRow> {
    let networks: [(&str, &[usize]); 3] =
        [("2-layer", &[50]), ("3-layer", &[50, 50]), ("9-layer", &[50, 30, 20, 20, 10, 10, 10, 10])];
    let mut rows = Vec::new();
    for (network, hidden) in networks {
        for (batch_norm, lambda) in [(true, 0.0), (true, 0.005), (false, 0.0), (false, 0.005)] {
            for layer in 1..=hidden.len() + 1 {
                let (input, output) =
                    (if layer == 1 { 3072 } else { hidden[layer - 2] }, *hidden.get(layer - 1).unwrap_or(&10));
                let kinds: &[_] =
                    if batch_norm && layer <= hidden.len() { &["W", "b", "gamma", "beta"] } else { &["W", "b"] };
                for &parameter in kinds {
                    let tiny = parameter == "b" && kinds.len() == 4;
                    let random = noise(rows.len() as u64);
                    let sum = if tiny { 1e-15 * (random - 0.5) } else { 8.0 * (random - 0.5) };
                    let checked = if parameter == "W" { input * output } else { output };
                    rows.push(GradientRow {
                        network: network.into(),
                        batch_norm,
                        lambda,
                        layer,
                        parameter: parameter.into(),
                        checked: checked - checked / 5000,
                        kinks: checked / 5000,
                        sum_numerical: sum + 1e-9 * (random - 0.3),
                        sum_analytic: sum,
                        sum_error: 1e-9 * checked as f64 * random,
                        max_relative_error: 4e-7 * random,
                        max_absolute_error: 3e-10 * random,
                    });
                }
            }
        }
    }
    rows
}

fn search(from: f64, to: f64, cycles: u64, top: f64, noise_at: Option<f64>) -> Search {
    let trial = |i: u64| {
        let lambda = from * (to / from).powf(noise(31 * i + cycles));
        let distance = (lambda / 0.004).log10();
        let accuracy = top - 0.012 * distance * distance + 0.008 * (noise(7 * i) - 0.5);
        Trial { lambda, seed: 1000 + i, validation_accuracy: Some((accuracy * 5000.0).round() / 5000.0) }
    };
    let noise = noise_at.map(|lambda| Noise {
        lambda,
        seeds: vec![1, 2, 3, 4, 5],
        diverged: Vec::new(),
        validation_accuracy: vec![0.5372, 0.5338, 0.5356, 0.5394, 0.536],
        mean: 0.5364,
        std: 0.002_059_126,
    });
    Search { from, to, cycles, trials: (0..24).map(trial).collect(), noise }
}

fn last(lambda: f64, origin: &str, shift: f64) -> Final {
    let classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    let count = |row: u64, column: u64| {
        if row == column { 450 + (200.0 * noise(row)) as u64 } else { (110.0 * noise(10 * row + column)) as u64 }
    };
    let accuracies: Vec<f64> =
        [0.5341, 0.5312, 0.5366, 0.5327, 0.5349].iter().map(|a| ((a + shift) * 1e4).round() / 1e4).collect();
    let mean = accuracies.iter().sum::<f64>() / 5.0;
    Final {
        lambda,
        origin: origin.into(),
        cycles: 4,
        seeds: vec![42, 43, 44, 45, 46],
        diverged: Vec::new(),
        std: (accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / 4.0).sqrt(),
        mean,
        test_accuracy: accuracies,
        confusion: Some(Confusion {
            seed: 42,
            classes: classes.map(String::from).into(),
            counts: (0..10).map(|r| (0..10).map(|c| count(r, c)).collect()).collect(),
        }),
    }
}

fn sensitivity(sigma: f64, batch_norm: bool) -> Sensitivity {
    let flat = !batch_norm && sigma < 0.05;
    let floor = if batch_norm { 1.32 } else { 1.55 };
    let curves: Vec<_> = (0..3).map(|s| if flat { constant(10f64.ln()) } else { curve(floor, 0.1, s + 7) }).collect();
    let last = |of: fn(&Point) -> f64| curves.iter().map(|c| c.last().map(of)).collect();
    Sensitivity {
        sigma,
        batch_norm,
        lambda: 0.004_812_337,
        seeds: vec![42, 43, 44],
        final_training_loss: last(|p| p.training_loss),
        final_validation_loss: last(|p| p.validation_loss),
        final_validation_accuracy: last(|p| p.validation_accuracy),
        curves,
    }
}

fn finding(id: &str, claim: &str, measure: &str, value: Option<f64>, holds: Option<bool>) -> Finding {
    Finding { id: id.into(), claim: claim.into(), measure: measure.into(), value, holds }
}

/// Every section, in the full form.
pub(crate) fn full(paper: &Paper) -> Results {
    let mut loss = Vec::new();
    for (network, floor) in [("3-layer", 1.25), ("9-layer", 1.35)] {
        for (lambda, more) in [(0.05, 0.25), (0.005, 0.0)] {
            for batch_norm in [true, false] {
                let curve = curve(floor + more + if batch_norm { 0.0 } else { 0.2 }, 30.0 * lambda, loss.len() as u64);
                loss.push(LossRun {
                    network: network.into(),
                    batch_norm,
                    lambda,
                    curve,
                    validation_accuracy: Some(0.53 - more / 5.0),
                });
            }
        }
    }
    let sections = ["gradients", "loss", "coarse", "fine", "final", "sensitivity"];
    Results {
        schema: SCHEMA,
        quick: false,
        seed: 42,
        dataset: DatasetInfo {
            name: "CIFAR-10".into(),
            sha256: "0123456789abcdef".repeat(4),
            synthetic: false,
            training: 45_000,
            validation: 5_000,
            test: 10_000,
        },
        environment: Environment {
            version: "0.1.0".into(),
            processor: "Example Processor 3000 @ 2.50 GHz".into(),
            cores: 2,
            threads: 2,
            system: "linux x86_64".into(),
        },
        settings: Settings { batch: 100, eta_min: 1e-5, eta_max: 1e-1, n_s: 2250 },
        seconds: sections.iter().enumerate().map(|(i, s)| ((*s).to_owned(), 41.5 + 97.0 * i as f64)).collect(),
        gradient_check: Some(GradientCheck { images: 20, step: 1e-5, floor: 1e-6 }),
        gradients: gradients(),
        loss,
        coarse: Some(search(1e-5, 1e-1, 2, 0.524, None)),
        fine: Some(search(1e-3, 1e-2, 3, 0.537, Some(0.004_812_337))),
        finals: vec![last(0.004_812_337, "fine search", 0.0024), last(paper.final_.lambda, "paper", 0.0)],
        sensitivity: [0.1, 0.01, 0.001].iter().flat_map(|&s| [true, false].map(|b| sensitivity(s, b))).collect(),
        findings: vec![
            finding(
                "gradients",
                "The analytic gradient is calculated correctly.",
                "The largest relative error over all networks; holds below 1e-6.",
                Some(3.912e-7),
                Some(true),
            ),
            finding(
                "batch_norm_9",
                "Batch normalization helps the 9-layer network.",
                "Validation accuracy with batch norm less that without; holds above 0.",
                Some(0.0412),
                Some(true),
            ),
            finding(
                "fine_beats_coarse",
                "The fine search beats the coarse one.",
                "Best validation accuracy of the fine search less that of the coarse one; holds above 0.",
                Some(-0.0021),
                Some(false),
            ),
            finding("constant", "Without batch norm the loss stays near ln 10.", "Distance.", None, None),
        ],
    }
}

/// The same with nothing but a search of one trial, which diverged.
pub(crate) fn sparse(paper: &Paper) -> Results {
    let all = full(paper);
    Results {
        gradient_check: None,
        gradients: vec![],
        loss: vec![],
        fine: None,
        finals: vec![],
        sensitivity: vec![],
        findings: vec![],
        coarse: all
            .coarse
            .map(|s| Search { trials: vec![Trial { lambda: 0.01, seed: 1, validation_accuracy: None }], ..s }),
        ..all
    }
}
