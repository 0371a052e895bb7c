//! Metrics: every point of a run has one line, in order, however the run is interrupted.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use klayer_train::{Checkpoints, Error, Event, Metrics, Observer, Par, Run, Step, Trained, train_from};
use tempfile::TempDir;

use crate::{DATA, small_run};

/// Cancels a run after some steps of its own, and records all events.
#[derive(Default)]
struct Watch {
    most: Option<u64>,
    made: AtomicU64,
    steps: Mutex<Vec<Step>>,
    resumed: Mutex<Vec<Metrics>>,
    points: Mutex<Vec<Metrics>>,
    warnings: Mutex<Vec<String>>,
}

impl Observer for Watch {
    fn on(&self, event: &Event<'_>) {
        match *event {
            Event::Resumed(before) => self.resumed.lock().expect("no panic").extend(before),
            Event::Stepped(step) => {
                self.made.fetch_add(1, Ordering::Relaxed);
                self.steps.lock().expect("no panic").push(step);
            }
            Event::Evaluated(metrics) => self.points.lock().expect("no panic").push(*metrics),
            Event::Warned(warning) => self.warnings.lock().expect("no panic").push(warning.to_owned()),
            _ => {}
        }
    }

    fn cancelled(&self) -> bool {
        self.most.is_some_and(|most| self.made.load(Ordering::Relaxed) >= most)
    }
}

fn go(folder: &Path, watch: &Watch) -> Result<Trained<f32>, Error> {
    let checkpoints = Checkpoints::new(folder.join("run.checkpoint"), Duration::from_secs(1_000_000));
    let metrics = folder.join("run.metrics.jsonl");
    let config = small_run();
    let run = Run { config: &config, observer: watch, checkpoints: Some(&checkpoints), metrics: Some(&metrics) };
    train_from(&run, &DATA, &Par::Seq)
}

/// The lines of a file.
fn lines(path: &Path) -> Vec<Metrics> {
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
}

fn timeless(metrics: &[Metrics]) -> Vec<Metrics> {
    metrics.iter().map(|metrics| Metrics { seconds: 0.0, ..*metrics }).collect()
}

#[test]
fn a_line_has_a_curve_point_and_the_mean_batch_loss() {
    let folder = TempDir::new().expect("a temporary folder");
    let watch = Watch::default();
    let trained = go(folder.path(), &watch).expect("a run");
    let lines = lines(&folder.path().join("run.metrics.jsonl"));
    assert_eq!(lines.iter().map(|line| line.point).collect::<Vec<_>>(), trained.curve);
    assert_eq!(lines, watch.points.into_inner().expect("no panic"));
    let steps = watch.steps.into_inner().expect("no panic");
    assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
    let schedule = small_run().schedule.schedule(80).expect("a schedule");
    assert!(steps.iter().all(|step| step.rate == schedule.rate(step.step - 1)));
    for (line, interval) in lines.iter().zip([0..30, 30..60, 60..80]) {
        let mean = steps[interval.clone()].iter().map(|step| step.loss).sum::<f64>() / interval.len() as f64;
        assert_eq!((line.batch_loss, line.rate), (mean, steps[interval.end - 1].rate));
        // 1,030 images give ten mini-batches of 100.
        assert_eq!(line.epoch, interval.end as f64 / 10.0);
    }
    let seconds: Vec<_> = lines.iter().map(|line| line.seconds).collect();
    assert!(seconds.is_sorted() && seconds[0] > 0.0 && seconds[2] <= trained.seconds);
}

#[test]
fn an_interrupted_run_with_a_truncated_last_line_has_every_line_once() {
    let undisturbed = TempDir::new().expect("a temporary folder");
    go(undisturbed.path(), &Watch::default()).expect("a run");
    let expected = lines(&undisturbed.path().join("run.metrics.jsonl"));
    for most in [1, 7, 29, 30, 31] {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("run.metrics.jsonl");
        loop {
            let watch = Watch { most: Some(most), ..Watch::default() };
            let there = fs::read(&path).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count());
            let ended = go(folder.path(), &watch).is_ok();
            assert_eq!(watch.resumed.into_inner().expect("no panic").len(), there);
            assert_eq!(watch.warnings.into_inner().expect("no panic"), [] as [String; 0]);
            if ended {
                break;
            }
            // As if the process was killed while writing a line.
            let mut file = fs::OpenOptions::new().append(true).open(&path).expect("a file");
            file.write_all(br#"{"step":9"#).expect("written");
        }
        assert_eq!(timeless(&lines(&path)), timeless(&expected), "stopped every {most} steps");
    }
}

#[test]
fn lines_after_the_checkpoint_are_dropped_and_missing_ones_reported() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("run.metrics.jsonl");
    fs::write(&path, "{}\nthe lines of something else\n").expect("written");
    go(folder.path(), &Watch { most: Some(50), ..Watch::default() }).expect_err("the run was cancelled");
    let one = fs::read(&path).expect("a file");
    assert_eq!(lines(&path).len(), 1, "what was there is replaced");

    // As if the process was killed after the line and before the checkpoint.
    let mut two = one.clone();
    two.extend(String::from_utf8_lossy(&one).replace("\"step\":30", "\"step\":60").into_bytes());
    fs::write(&path, two).expect("written");
    let watch = Watch::default();
    let trained = go(folder.path(), &watch).expect("the rest");
    assert_eq!(lines(&path).iter().map(|line| line.point).collect::<Vec<_>>(), trained.curve);
    assert_eq!(watch.warnings.into_inner().expect("no panic"), [] as [String; 0]);

    fs::remove_file(folder.path().join("run.checkpoint")).expect("a checkpoint");
    let _ = fs::remove_file(folder.path().join("run.checkpoint.previous"));
    go(folder.path(), &Watch { most: Some(35), ..Watch::default() }).expect_err("the run was cancelled");
    fs::remove_file(&path).expect("it is there");
    let watch = Watch::default();
    go(folder.path(), &watch).expect("the rest");
    let warnings = watch.warnings.into_inner().expect("no panic");
    assert!(warnings.len() == 1 && warnings[0].contains("has only the first 0 of 1 points"), "{warnings:?}");
    assert_eq!(lines(&path).iter().map(|line| line.point.step).collect::<Vec<_>>(), [60, 80]);
}

#[test]
fn a_failed_metrics_write_causes_only_a_warning() {
    let folder = TempDir::new().expect("a temporary folder");
    fs::create_dir(folder.path().join("run.metrics.jsonl")).expect("a folder in its place");
    let watch = Watch::default();
    let trained = go(folder.path(), &watch).expect("a run");
    assert_eq!(trained.curve.len(), 3);
    let warnings = watch.warnings.into_inner().expect("no panic");
    assert!(warnings.len() == 1 && warnings[0].contains("run.metrics.jsonl"), "{warnings:?}");
}
