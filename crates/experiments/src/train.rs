//! Training runs.

use std::path::Path;
use std::time::Instant;

use klayer_dataset::{Normalizer, Shuffle, Subset};
use klayer_linalg::random::stream;
use klayer_linalg::{Par, Pixels, Scalar};
use klayer_nn::{Network, Workspace};
use klayer_optim::{L2, Schedule, Sgd};

use crate::Error;
use crate::checkpoint::{Checkpoints, Found, OptimizerState, State};
use crate::config::RunConfig;
use crate::data::Data;
use crate::environment::Environment;
use crate::evaluate::{Evaluation, Evaluator};
use crate::metrics::{Metrics, MetricsFile};
use crate::observer::{Observer, Step};
use crate::record::{self, Divergence, Point};
use crate::runs::Job;

/// A run to train.
pub struct Run<'a> {
    /// Settings.
    pub config: &'a RunConfig,
    /// Observer, which may also cancel the run.
    pub observer: &'a dyn Observer,
    /// Where to resume from and write checkpoints.
    pub checkpoints: Option<&'a Checkpoints<'a>>,
    /// The file for its [`Metrics`]. Replaced, except for the lines before the checkpoint that the run resumes from.
    pub metrics: Option<&'a Path>,
}

/// The result of a training run.
#[derive(Debug, Clone)]
pub struct Trained<T> {
    /// The network after the last step.
    pub network: Network<T>,
    /// Training curve: loss, cost and accuracy against update steps, up to the last step.
    pub curve: Vec<Point>,
    /// Where the run diverged: its loss was no longer finite.
    pub diverged: Option<Divergence>,
    /// Results on the test images, if the settings request them and the run did not diverge.
    pub test: Option<Evaluation>,
    /// Seconds of the training loop with its evaluations on training and validation images.
    pub seconds: f64,
}

/// The state of a running training.
struct UnderWay<'a, T> {
    config: &'a RunConfig,
    observer: &'a dyn Observer,
    network: Network<T>,
    workspace: Workspace<T>,
    sgd: Sgd,
    /// Completed update steps.
    done: u64,
    curve: Vec<Point>,
    /// Sum of the mini-batch losses since the last point of the curve.
    batch_losses: f64,
    metrics: Option<MetricsFile>,
    /// Path of the metrics file until it is opened before the first step: invalid settings must not touch it.
    metrics_at: Option<&'a Path>,
    /// Update steps per epoch.
    epoch: u64,
    diverged: Option<Divergence>,
    test: Option<Evaluation>,
    checkpoints: Option<&'a Checkpoints<'a>>,
    /// When the last checkpoint was written, or the run started.
    kept: Instant,
    seconds: f64,
}

/// The sequence of mini-batches of the training images.
pub(crate) struct Batches<'a, T> {
    training: Subset<'a>,
    normalizer: &'a Normalizer<T>,
    shuffle: Shuffle,
    images: Vec<&'a [u8]>,
    pub(crate) labels: Vec<u8>,
}

/// Trains a network with the settings `config`. The result does not depend on `par`.
///
/// # Errors
/// [`Error::Setting`], [`Error::Network`], [`Error::Optimizer`] for invalid settings, [`Error::Cancelled`] if the
/// observer cancels. A diverged run is a result, not an error.
pub fn train<T: Scalar>(
    config: &RunConfig,
    data: &Data,
    par: &Par,
    observer: &dyn Observer,
) -> Result<Trained<T>, Error> {
    train_from(&Run { config, observer, checkpoints: None, metrics: None }, data, par)
}

/// Trains one run, resuming from its last checkpoint if there is one; the result is the same as without interruption.
/// The caller removes the checkpoints once the result is stored.
///
/// # Errors
/// The errors of [`train()`]; [`Error::OtherRun`] for a checkpoint of another run, [`Error::OtherArithmetic`] for one
/// computed with different arithmetic, [`Error::Model`] for one of another version of klayer, [`Error::File`] for one
/// that cannot be read.
pub fn train_from<T: Scalar>(run: &Run<'_>, data: &Data, par: &Par) -> Result<Trained<T>, Error> {
    let (mut under_way, shuffle) = UnderWay::new(run, data, par)?;
    par.install(|| under_way.make(shuffle, data, par))?;
    let UnderWay { network, curve, diverged, test, seconds, .. } = under_way;
    Ok(Trained { network, curve, diverged, test, seconds })
}

impl<'a, T: Scalar> UnderWay<'a, T> {
    /// Starts a run, or resumes it from its last checkpoint, which also holds the position in the mini-batches.
    fn new(run: &Run<'a>, data: &Data, par: &Par) -> Result<(Self, Option<Shuffle>), Error> {
        let &Run { config, observer, checkpoints, metrics } = run;
        let architecture = config.check(&data.dataset.dimensions())?;
        let found = checkpoints.map(|checkpoints| checkpoints.find(config, data, |warning| observer.warned(warning)));
        let mut under_way = Self {
            config,
            observer,
            network: Network::new(&architecture, config.init, &mut stream(config.seed, "init"))?,
            workspace: Workspace::new(&architecture, config.batch, par.clone()),
            sgd: Sgd { l2: L2::new(config.lambda)?, par: par.clone() },
            done: 0,
            curve: Vec::new(),
            batch_losses: 0.0,
            metrics: None,
            metrics_at: metrics,
            epoch: (data.dataset.training().len() / config.batch) as u64,
            diverged: None,
            test: None,
            checkpoints,
            kept: Instant::now(),
            seconds: 0.0,
        };
        let Some(Found { network, state }) = found.transpose()?.flatten() else { return Ok((under_way, None)) };
        let State { done, shuffle, curve, batch_losses, seconds, optimizer: OptimizerState::Sgd, .. } = state;
        under_way = Self { network, done, curve, batch_losses, seconds, ..under_way };
        observer.progressed(done);
        under_way.open_metrics();
        Ok((under_way, Some(shuffle)))
    }

    /// Runs the remaining steps, on the mini-batches of `shuffle` or from the first one, and the final test if
    /// requested.
    fn make(&mut self, shuffle: Option<Shuffle>, data: &Data, par: &Par) -> Result<(), Error> {
        let &RunConfig { seed, batch, validate_every, training_sample, test, .. } = self.config;
        let (steps, normalizer) = (self.config.steps(), data.normalization.normalizer());
        let mut batches = Batches::new((seed, batch), shuffle, data, &normalizer)?;
        let mut evaluator = Evaluator::new(self.network.architecture(), &normalizer, par.clone());
        let validation = data.dataset.validation();
        let sample = training_sample.map(|sample| data.dataset.training().first(sample));

        let mut clock = Instant::now();
        while self.done < steps && self.diverged.is_none() {
            if self.observer.cancelled() {
                self.keep_or_warn(&batches.shuffle, data);
                return Err(Error::Cancelled);
            }
            batches.advance();
            self.step(batches.pixels(), &batches.labels)?;
            if self.diverged.is_none() && (self.done.is_multiple_of(validate_every) || self.done == steps) {
                let validation = evaluator.evaluate(&self.network, validation)?;
                let sample = sample.map(|sample| evaluator.evaluate(&self.network, sample)).transpose()?;
                self.evaluated(sample.as_ref(), &validation);
            }
            let now = Instant::now();
            self.seconds += (now - clock).as_secs_f64();
            clock = now;
            self.tell_point();
            self.keep_now_and_then(&batches.shuffle, data, now);
        }
        if test && self.diverged.is_none() {
            self.tested(evaluator.evaluate(&self.network, data.dataset.test())?);
        }
        Ok(())
    }

    /// Writes a checkpoint at the end of a cycle, and when the interval has passed.
    fn keep_now_and_then(&mut self, shuffle: &Shuffle, data: &Data, now: Instant) {
        let Some(checkpoints) = self.checkpoints else { return };
        let due = self.done.is_multiple_of(self.config.schedule.cycle()) || now - self.kept >= checkpoints.every();
        if due && self.diverged.is_none() && self.done < self.config.steps() {
            self.kept = now;
            self.keep_or_warn(shuffle, data);
        }
    }

    fn keep_or_warn(&self, shuffle: &Shuffle, data: &Data) {
        if let Err(error) = self.keep(shuffle, data) {
            self.observer.warned(&format!("cannot write a checkpoint: {error}"));
        }
    }

    /// Writes a checkpoint, if a path is configured and there is progress to save.
    fn keep(&self, shuffle: &Shuffle, data: &Data) -> Result<(), Error> {
        let Some(checkpoints) = self.checkpoints.filter(|_| self.done > 0) else { return Ok(()) };
        let dataset = data.info();
        let state = State {
            key: record::key(RunConfig::KIND, self.config, &dataset.sha256)?,
            environment: Environment::here(self.sgd.par.count()),
            config: self.config.clone(),
            dataset,
            optimizer: OptimizerState::Sgd,
            done: self.done,
            shuffle: shuffle.clone(),
            curve: self.curve.clone(),
            batch_losses: self.batch_losses,
            seconds: self.seconds,
        };
        checkpoints.write(&self.network, &state)
    }

    /// Performs one update step on a mini-batch, unless the run diverges there.
    fn step(&mut self, images: Pixels<'_, T>, labels: &[u8]) -> Result<(), Error> {
        match self.descend(images, labels) {
            Err(Error::Network(klayer_nn::Error::NonFiniteLoss { .. })) => self.diverge(self.done),
            Err(error) => return Err(error),
            Ok(()) => {
                self.done += 1;
                self.open_metrics();
                self.observer.progressed(self.done);
            }
        }
        Ok(())
    }

    fn descend(&mut self, images: Pixels<'_, T>, labels: &[u8]) -> Result<(), Error> {
        let rate = self.config.schedule.rate(self.done);
        let loss = self.network.forward_train(images, &mut self.workspace)?.cross_entropy(labels)?;
        self.sgd.descend(&mut self.network, images, &mut self.workspace, rate)?;
        self.batch_losses += loss;
        self.observer.stepped(&Step { step: self.done + 1, loss, rate });
        Ok(())
    }

    /// Adds a point to the curve after the current step, from its evaluations.
    fn evaluated(&mut self, sample: Option<&Evaluation>, validation: &Evaluation) {
        let penalty = self.sgd.l2.penalty(&self.network);
        let loss = validation.loss + sample.map_or(0.0, |sample| sample.loss);
        if !(loss + penalty).is_finite() {
            return self.diverge(self.done - 1);
        }
        self.curve.push(Point::new(self.done, sample, validation, penalty));
    }

    /// Creates the metrics file or resumes it, once.
    fn open_metrics(&mut self) {
        let Some(path) = self.metrics_at.take() else { return };
        match MetricsFile::open(path, &self.curve) {
            Ok((file, before)) => {
                let (has, needs) = (before.len(), self.curve.len());
                if has < needs {
                    let file = path.display();
                    self.observer.warned(&format!("{file}: has only the first {has} of {needs} points"));
                }
                if !self.curve.is_empty() {
                    self.observer.resumed(&before);
                }
                self.metrics = Some(file);
            }
            Err(error) => self.observer.warned(&format!("cannot write metrics: {error}")),
        }
    }

    /// Reports and writes the point of the last update step, if there is one.
    fn tell_point(&mut self) {
        let Some(&point) = self.curve.last().filter(|point| self.diverged.is_none() && point.step == self.done) else {
            return;
        };
        let before = self.curve.iter().rev().nth(1).map_or(0, |point| point.step);
        let metrics = Metrics {
            point,
            batch_loss: self.batch_losses / (point.step - before) as f64,
            rate: self.config.schedule.rate(self.done - 1),
            epoch: self.done as f64 / self.epoch as f64,
            seconds: self.seconds,
        };
        self.batch_losses = 0.0;
        self.observer.evaluated(&metrics);
        if let Some(Err(error)) = self.metrics.as_mut().map(|file| file.push(&metrics)) {
            // The last line may be truncated: write no further lines.
            self.metrics = None;
            self.observer.warned(&format!("cannot write further metrics: {error}"));
        }
    }

    fn tested(&mut self, test: Evaluation) {
        if test.loss.is_finite() {
            self.test = Some(test);
        } else {
            self.diverge(self.done - 1);
        }
    }

    /// Records that the run diverged at update step `step`: its loss is no longer finite.
    fn diverge(&mut self, step: u64) {
        self.diverged = Some(Divergence::of(&self.network, step, self.config.schedule.rate(step)));
    }
}

impl<'a, T: Scalar> Batches<'a, T> {
    /// Batches of `batch` images in the order of `seed`: from the start, or from the position of `shuffle`.
    pub(crate) fn new(
        (seed, batch): (u64, usize),
        shuffle: Option<Shuffle>,
        data: &'a Data,
        normalizer: &'a Normalizer<T>,
    ) -> Result<Self, Error> {
        let training = data.dataset.training();
        let fresh = || Shuffle::new(stream(seed, "shuffle"), training.len(), batch);
        Ok(Self {
            training,
            normalizer,
            shuffle: shuffle.map_or_else(fresh, Ok)?,
            images: Vec::with_capacity(batch),
            labels: Vec::with_capacity(batch),
        })
    }

    /// Advances to the next mini-batch.
    pub(crate) fn advance(&mut self) {
        let batch = self.shuffle.next_batch().iter().map(|&image| image as usize);
        self.images.clear();
        self.images.extend(batch.clone().map(|image| self.training.image(image)));
        self.labels.clear();
        self.labels.extend(batch.map(|image| self.training.label(image)));
    }

    /// The images of the current mini-batch.
    pub(crate) fn pixels(&self) -> Pixels<'_, T> {
        self.normalizer.pixels(&self.images)
    }
}
