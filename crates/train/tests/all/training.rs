//! Training runs: what they compute, on any number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use klayer_dataset::Subset;
use klayer_linalg::Scalar;
use klayer_nn::Network;
use klayer_nn::model_file::{self, MODEL};
use klayer_train::record::Point;
use klayer_train::{
    Error, Evaluation, Evaluator, Event, Init, Normalize, Observer, Par, RunConfig, Silent, Trained, train,
};

use crate::{DATA, data, diverging_run, other_run, short_run, small_run, with};

/// Everything that a run's settings determine, as bytes.
pub(crate) fn bits<T: Scalar>(trained: &Trained<T>) -> Vec<u8> {
    let determined = (trained.curve.clone(), trained.diverged, trained.test.clone());
    model_file::encode(&MODEL, &trained.network, &[], &determined).expect("it can be encoded")
}

fn run<T: Scalar>(config: &RunConfig, threads: usize) -> Trained<T> {
    train(config, data(config), &Par::threads(threads).expect("threads"), &Silent).expect("a run")
}

#[test]
fn curve_model_and_test_do_not_depend_on_the_thread_count() {
    for config in [small_run(), other_run()] {
        let config = with(config, |config| config.network.hidden = vec![130, 50].into());
        let (single, double) = (bits(&run::<f32>(&config, 1)), bits(&run::<f64>(&config, 1)));
        for threads in [1, 2, 4] {
            assert_eq!(bits(&run::<f32>(&config, threads)), single, "f32 on {threads} threads");
            assert_eq!(bits(&run::<f64>(&config, threads)), double, "f64 on {threads} threads");
        }
        let other = RunConfig { seed: config.seed + 1, ..config };
        assert_ne!(bits(&run::<f32>(&other, 1)), single, "another seed is another run");
    }
}

#[test]
fn evaluation_does_not_change_the_trained_model() {
    let watched = run::<f32>(&small_run(), 1);
    let config = RunConfig { validate_every: Some(1_000), training_sample: None, test: false, ..small_run() };
    let unwatched = run::<f32>(&config, 1);
    let network =
        |trained: &Trained<f32>| model_file::encode(&MODEL, &trained.network, &[], &()).expect("it can be encoded");
    assert_eq!(network(&watched), network(&unwatched));
    let (last, only) = (watched.curve[2], unwatched.curve[0]);
    assert_eq!(Point { training_loss: None, training_cost: None, ..last }, only);
    assert!(watched.test.is_some() && unwatched.test.is_none());
}

#[test]
fn the_curve_has_points_at_the_interval_and_the_end() {
    #[derive(Default)]
    struct Watch {
        steps: AtomicU64,
        points: Mutex<Vec<Point>>,
    }
    impl Observer for Watch {
        fn on(&self, event: &Event<'_>) {
            match *event {
                Event::Progressed(done) => {
                    assert_eq!(self.steps.fetch_add(1, Ordering::Relaxed) + 1, done, "every step, in order");
                }
                Event::Evaluated(metrics) => self.points.lock().expect("no panic").push(metrics.point),
                _ => {}
            }
        }
    }
    let watch = Watch::default();
    let trained = train::<f32>(&small_run(), &DATA, &Par::Seq, &watch).expect("a run");
    assert_eq!(watch.steps.into_inner(), 80);
    assert_eq!(watch.points.into_inner().expect("no panic"), trained.curve);
    let steps: Vec<_> = trained.curve.iter().map(|point| point.step).collect();
    assert_eq!(steps, [30, 60, 80]);
}

#[test]
fn training_lowers_the_loss_and_generalizes_to_test_images() {
    let config = with(small_run(), |config| {
        config.schedule.cycles = 10;
        config.validate_every = Some(1);
    });
    let trained = run::<f32>(&config, 2);
    let (first, last) = (trained.curve[0], trained.curve[trained.curve.len() - 1]);
    let loss = |point: Point| point.training_loss.expect("requested");
    assert!(loss(last) < 0.5 * loss(first), "{first:?} to {last:?}");
    // Guessing has an accuracy of 0.1; five deviations above it are 0.18 and 0.19 on so few images.
    assert!(last.validation_accuracy > Some(0.18), "{last:?}");
    assert!(trained.test.expect("requested").accuracy > 0.19);
}

#[test]
fn the_cost_is_the_loss_plus_the_l2_penalty() {
    let trained = run::<f64>(&small_run(), 1);
    let weights = trained.network.layers().iter().flat_map(|layer| layer.affine.weight.rows().flatten());
    let penalty = 0.003 * weights.map(|w| w * w).sum::<f64>();
    let last = trained.curve[trained.curve.len() - 1];
    let pairs = [(last.validation_cost, last.validation_loss), (last.training_cost, last.training_loss)];
    for (cost, loss) in pairs {
        let difference = cost.expect("evaluated") - loss.expect("evaluated");
        assert!((difference - penalty).abs() < 1e-10 * penalty, "{difference} and {penalty}");
    }
}

/// The definitions, one image at a time, without a batch, a workspace or a chunk.
fn naive(network: &Network<f64>, images: Subset<'_>) -> Evaluation {
    let normalizer = DATA.normalization.normalizer::<f64>();
    let (mut loss, mut confusion) = (0.0, vec![vec![0; 10]; 10]);
    for (image, &label) in images.images().zip(images.labels()) {
        let mut h = vec![0.0; image.len()];
        normalizer.normalize(image, &mut h);
        for layer in network.layers() {
            let rows = layer.affine.weight.rows().zip(&layer.affine.bias);
            h = rows.map(|(w, b)| w.iter().zip(&h).map(|(w, x)| w * x).sum::<f64>() + b).collect();
            let Some(norm) = &layer.batch_norm else { continue };
            let running = norm.running.as_ref().expect("it was trained");
            for (i, s) in h.iter_mut().enumerate() {
                let s_hat = (*s - running.mean[i]) / (running.variance[i] + 1e-8).sqrt();
                *s = (norm.gamma[i] * s_hat + norm.beta[i]).max(0.0);
            }
        }
        let sum: f64 = h.iter().map(|logit| logit.exp()).sum();
        loss += sum.ln() - h[usize::from(label)];
        let predicted = (0..10).max_by(|&a, &b| h[a].total_cmp(&h[b])).expect("ten classes");
        confusion[usize::from(label)][predicted] += 1;
    }
    let correct: u64 = (0..10).map(|class| confusion[class][class]).sum();
    let n = images.len() as f64;
    Evaluation { loss: loss / n, accuracy: correct as f64 / n, confusion }
}

#[test]
fn an_evaluation_in_chunks_equals_one_image_at_a_time() {
    let trained = run::<f64>(&small_run(), 1);
    let normalizer = DATA.normalization.normalizer::<f64>();
    let mut evaluator = Evaluator::new(trained.network.architecture(), &normalizer, Par::Seq);
    let dataset = &DATA.dataset;
    let parts = [dataset.validation(), dataset.test(), dataset.training().first(500), dataset.training().first(1)];
    for part in parts {
        let (found, expected) =
            (evaluator.evaluate(&trained.network, part).expect("it fits"), naive(&trained.network, part));
        assert!((found.loss - expected.loss).abs() < 1e-12 * expected.loss, "{} and {}", found.loss, expected.loss);
        assert_eq!((found.accuracy, found.confusion), (expected.accuracy, expected.confusion), "{} images", part.len());
    }
    assert_eq!(trained.test, Some(evaluator.evaluate(&trained.network, dataset.test()).expect("it fits")));
}

#[test]
fn a_diverged_run_reports_the_step_and_has_no_test() {
    let trained = run::<f32>(&diverging_run(), 1);
    let diverged = trained.diverged.expect("it cannot but diverge");
    assert!(diverged.step < 10 && diverged.rate == 1e6, "{diverged:?}");
    assert!(diverged.largest_weight.is_none_or(|weight| weight > 1e3), "{diverged:?}");
    assert_eq!(trained.test, None);
    assert!(trained.curve.iter().all(|point| point.validation_cost.is_some_and(f64::is_finite)));
}

#[test]
fn a_cancelled_run_stops_at_that_step() {
    #[derive(Default)]
    struct StopAfter(AtomicU64);
    impl Observer for StopAfter {
        fn on(&self, event: &Event<'_>) {
            if let Event::Progressed(done) = event {
                self.0.store(*done, Ordering::Relaxed);
            }
        }
        fn cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed) == 5
        }
    }
    let stop = StopAfter::default();
    let error = train::<f32>(&small_run(), &DATA, &Par::Seq, &stop).expect_err("the run was cancelled");
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(stop.0.into_inner(), 5);
}

#[test]
fn invalid_settings_are_rejected_with_the_reason() {
    type Change = fn(&mut RunConfig);
    let cases: [(Change, &str); 21] = [
        (|c| c.schedule.cycles = 0, "number of cycles is 0"),
        (|c| c.schedule.epochs = Some(0.0), "--epochs is 0, but it must be positive"),
        (|c| c.schedule.epochs = Some(f64::NAN), "--epochs is NaN"),
        (|c| c.schedule.n_s = 0, "n_s is 0"),
        (|c| c.schedule.eta_min = 0.2, "eta_min"),
        (|c| c.validate_every = Some(0), "--validate-every is 0, but it must be at least 1"),
        (|c| c.batch.size = 0, "--batch is 0, but it must be at least 1"),
        (|c| c.batch.size = 1_031, "--batch is 1031, but it must be at most 1030, the number of training images"),
        (|c| c.batch.size = 1, "batch norm needs at least two images"),
        (|c| c.batch.label_smoothing = 1.0, "--label-smoothing is 1, but it must be at least 0 and less than 1"),
        (
            |c| c.batch.normalize = Normalize::Channel,
            "--normalize is channel, but the images are normalized by feature",
        ),
        (|c| c.training_sample = Some(0), "sample size for the training loss is 0"),
        (|c| c.training_sample = Some(1_031), "from 1 to 1030, the number of training images (nearest: 1030)"),
        (|c| c.network.hidden = vec![12, 0].into(), "every layer needs at least one unit"),
        (|c| c.network.init = Init::Normal { sigma: 0.0 }, "standard deviation of the initial weights is 0"),
        (|c| c.network.dropout = -0.1, "--dropout is -0.1, but it must be at least 0 and less than 1"),
        (|c| c.lambda = -0.1, "lambda is -0.1"),
        (|c| c.lambda = f64::NAN, "lambda is NaN"),
        (|c| c.optimizer.momentum = 1.0, "--momentum is 1, but it must be at least 0 and less than 1"),
        (|c| c.optimizer.nesterov = true, "--nesterov requires a momentum above 0"),
        (|c| c.augment.shift = 40, "shift"),
    ];
    for (change, expected) in cases {
        let config = with(short_run(0.003, 5), change);
        let error = train::<f32>(&config, &DATA, &Par::Seq, &Silent).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}
