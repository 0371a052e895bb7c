//! The training run.

use std::time::Instant;

use klayer_dataset::{FEATURES, Shuffle};
use klayer_linalg::random::stream;
use klayer_linalg::{ColMajor, Par, Scalar};
use klayer_nn::{Network, Workspace};
use klayer_optim::{L2, Schedule, Sgd};

use crate::Error;
use crate::config::RunConfig;
use crate::data::Data;
use crate::evaluate::{Evaluation, Evaluator};
use crate::observer::Observer;
use crate::record::{Divergence, Point};

/// What a training run leaves.
#[derive(Debug, Clone)]
pub struct Trained<T> {
    /// The network after the last step.
    pub network: Network<T>,
    /// Loss, cost and accuracy against update steps; the last point is that of the last step.
    pub curve: Vec<Point>,
    /// Where the run broke off because its loss was no longer finite.
    pub diverged: Option<Divergence>,
    /// The trained network on the test images, if the settings ask for it and the run did not diverge.
    pub test: Option<Evaluation>,
    /// Seconds of the loop with its evaluations on training and validation images.
    pub seconds: f64,
}

/// Trains a network as `config` says. The result does not depend on `par`.
///
/// # Errors
/// [`Error::Setting`], [`Error::Network`], [`Error::Optimizer`] for settings that make no run,
/// [`Error::Cancelled`] if the observer says so. A run that diverges is a result, not an error.
pub fn train<T: Scalar>(
    config: &RunConfig,
    data: &Data,
    par: &Par,
    observer: &dyn Observer,
) -> Result<Trained<T>, Error> {
    config.check(data)?;
    par.install(|| run(config, data, par, observer))
}

fn run<T: Scalar>(config: &RunConfig, data: &Data, par: &Par, observer: &dyn Observer) -> Result<Trained<T>, Error> {
    let architecture = config.architecture(FEATURES, data.dataset.class_names().len())?;
    let normalizer = data.normalization.normalizer::<T>();
    let training = data.dataset.training();
    let sgd = Sgd { l2: L2::new(config.lambda)?, par: par.clone() };

    let mut network = Network::new(&architecture, config.init, &mut stream(config.seed, "init"))?;
    let mut shuffle = Shuffle::new(stream(config.seed, "shuffle"), training.len(), config.batch)?;
    let mut workspace = Workspace::new(&architecture, config.batch, par.clone());
    let mut images = ColMajor::zeros(FEATURES, config.batch);
    let mut labels = vec![0; config.batch];
    let mut evaluator = Evaluator::new(&architecture, &normalizer, par.clone());

    let start = Instant::now();
    let (mut curve, mut diverged) = (Vec::new(), None);
    for step in 0..config.steps() {
        if observer.cancelled() {
            return Err(Error::Cancelled);
        }
        let batch = shuffle.next_batch();
        normalizer.gather(training, batch, &mut images, par);
        for (label, &image) in labels.iter_mut().zip(batch) {
            *label = training.label(image as usize);
        }

        let rate = config.schedule.rate(step);
        match network.forward_train(images.as_ref(), &mut workspace)?.cross_entropy(&labels) {
            Err(klayer_nn::Error::NonFiniteLoss { .. }) => {
                diverged = Some(Divergence::of(&network, step, rate));
                break;
            }
            loss => loss?,
        };
        sgd.descend(&mut network, images.as_ref(), &mut workspace, rate)?;

        let done = step + 1;
        observer.progressed(done);
        if done.is_multiple_of(config.validate_every) || done == config.steps() {
            let validation = evaluator.evaluate(&network, data.dataset.validation())?;
            let sample = config.training_sample.map(|sample| training.first(sample));
            let sample = sample.map(|sample| evaluator.evaluate(&network, sample)).transpose()?;
            let penalty = sgd.l2.penalty(&network);
            let loss = validation.loss + sample.as_ref().map_or(0.0, |sample| sample.loss);
            if !(loss + penalty).is_finite() {
                diverged = Some(Divergence::of(&network, step, rate));
                break;
            }
            let point = Point::new(done, sample.as_ref(), &validation, penalty);
            observer.evaluated(&point);
            curve.push(point);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let test = (config.test && diverged.is_none()).then(|| evaluator.evaluate(&network, data.dataset.test()));
    let test = test.transpose()?;
    if test.as_ref().is_some_and(|test| !test.loss.is_finite()) {
        let last = config.steps() - 1;
        diverged = Some(Divergence::of(&network, last, config.schedule.rate(last)));
    }
    Ok(Trained { network, curve, test: test.filter(|_| diverged.is_none()), diverged, seconds })
}
