//! Training runs.

use std::path::Path;
use std::time::Instant;

use klayer_dataset::{Augmenter, Features, Normalizer, Shuffle, Subset};
use klayer_linalg::random::stream;
use klayer_linalg::{Images, Par, Scalar};
use klayer_nn::{Network, Objective, Workspace};
use klayer_optim::{L2, Optimizer, Schedule};
use klayer_store::Recorded;

use crate::Error;
use crate::checkpoint::{Checkpoints, Found, State};
use crate::config::{AugmentConfig, BatchConfig, NetworkConfig, OptimizerConfig, RunConfig};
use crate::data::Data;
use crate::environment::Environment;
use crate::evaluate::{Evaluation, Evaluator};
use crate::metrics::{Metrics, MetricsFile};
use crate::observer::{Event, Observer, Step};
use crate::record::{Divergence, Point, RunRecord};

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

/// What the training loop does, on what network, for how long.
pub struct Plan<'a> {
    /// Settings of the network.
    pub network: &'a NetworkConfig,
    /// L2 penalty weight.
    pub lambda: f64,
    /// Settings of the mini-batches.
    pub batch: &'a BatchConfig,
    /// Random changes of training images.
    pub augment: &'a AugmentConfig,
    /// Settings of the optimizer.
    pub optimizer: &'a OptimizerConfig,
    /// Root seed of everything random.
    pub seed: u64,
    /// Learning rates.
    pub schedule: Box<dyn Schedule + Send + Sync + 'a>,
    /// Number of update steps.
    pub steps: u64,
    /// Update steps between points of the curve. The last step always has a point.
    pub validate_every: u64,
    /// Number of training images, the first ones, for the curve's training loss; `None` to omit it.
    pub training_sample: Option<usize>,
    /// Whether to evaluate the trained network on the test images, if there are any.
    pub test: bool,
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
    /// Results on the test images, if there are any, the settings request them and the run did not diverge.
    pub test: Option<Evaluation>,
    /// Seconds of the training loop with its evaluations on training and validation images.
    pub seconds: f64,
}

impl<T> Trained<T> {
    /// The record of this result of `config` on `data`.
    pub fn record(self, config: &RunConfig, data: &Data) -> RunRecord {
        let Self { curve, diverged, test, seconds, .. } = self;
        let (config, dataset) = (config.clone(), data.info());
        RunRecord { config, dataset, environment: Environment::here(1), seconds, curve, diverged, test }
    }
}

/// The state of a running training.
struct UnderWay<'a, T> {
    plan: Plan<'a>,
    observer: &'a dyn Observer,
    network: Network<T>,
    workspace: Workspace<T>,
    optimizer: Optimizer<T>,
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
    keeper: Option<Keeper<'a>>,
    seconds: f64,
}

/// Where the checkpoints of a run are written, and what identifies the run.
#[derive(Clone, Copy)]
struct Keeper<'a> {
    checkpoints: &'a Checkpoints<'a>,
    config: &'a RunConfig,
    data: &'a Data,
    /// When the last checkpoint was written, or the run started.
    kept: Instant,
}

/// The sequence of mini-batches of the training images.
struct Batches<'a, T> {
    training: Subset<'a>,
    shuffle: Shuffle,
    augmenter: Augmenter,
    normalizer: &'a Normalizer<T>,
    features: Features<T>,
    labels: Vec<u8>,
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
/// The errors of [`train()`]; [`Error::OtherRun`] for a checkpoint of another run, [`Error::Model`] for one of another
/// version of klayer, [`Error::Store`] for one that cannot be read.
pub fn train_from<T: Scalar>(run: &Run<'_>, data: &Data, par: &Par) -> Result<Trained<T>, Error> {
    let &Run { config, observer, checkpoints, metrics } = run;
    let mut under_way = UnderWay::new(config.plan(data)?, data, par, observer)?;
    under_way.metrics_at = metrics;
    under_way.keeper = checkpoints.map(|checkpoints| Keeper { checkpoints, config, data, kept: Instant::now() });
    let shuffle = under_way.resume()?;
    under_way.finish(shuffle, data, par)
}

impl RunConfig {
    /// Validates the settings for `data` and returns what the training loop does.
    fn plan(&self, data: &Data) -> Result<Plan<'_>, Error> {
        let dimensions = data.dataset.dimensions();
        self.check_for(&dimensions)?;
        let images = dimensions.training;
        let steps = self.steps(images);
        Ok(Plan {
            network: &self.network,
            lambda: self.lambda,
            batch: &self.batch,
            augment: &self.augment,
            optimizer: &self.optimizer,
            seed: self.seed,
            schedule: self.schedule.schedule(steps)?,
            steps,
            validate_every: self.validate_every.unwrap_or(self.epoch(images)),
            training_sample: self.training_sample,
            test: self.test,
        })
    }
}

impl Plan<'_> {
    /// Trains a network as planned, without checkpoints and metrics. The result does not depend on `par`. The caller
    /// has validated the settings.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Optimizer`], [`Error::Dataset`] for invalid settings, [`Error::Cancelled`] if the
    /// observer cancels. A diverged run is a result, not an error.
    pub fn train<T: Scalar>(self, data: &Data, par: &Par, observer: &dyn Observer) -> Result<Trained<T>, Error> {
        UnderWay::new(self, data, par, observer)?.finish(None, data, par)
    }
}

impl<'a, T: Scalar> UnderWay<'a, T> {
    fn new(plan: Plan<'a>, data: &Data, par: &Par, observer: &'a dyn Observer) -> Result<Self, Error> {
        let &Plan { network, batch, seed, .. } = &plan;
        if batch.normalize != data.normalization.normalize() {
            let needed = format!("the images are normalized by {}", data.normalization.normalize());
            return Err(Error::setting("--normalize", batch.normalize, &needed));
        }
        let dimensions = data.dataset.dimensions();
        let architecture = network.architecture(dimensions.shape.features(), dimensions.classes)?;
        let objective =
            Objective::default().with_dropout(network.dropout, seed)?.with_smoothing(batch.label_smoothing)?;
        let mut workspace = Workspace::new(&architecture, batch.size, par.clone());
        workspace.set_objective(objective);
        Ok(Self {
            observer,
            network: Network::new(&architecture, network.init, &mut stream(seed, "init"))?,
            workspace,
            optimizer: Optimizer::new(&architecture, plan.optimizer.method()?, L2::new(plan.lambda)?, par.clone()),
            done: 0,
            curve: Vec::new(),
            batch_losses: 0.0,
            metrics: None,
            metrics_at: None,
            epoch: batch.epoch(dimensions.training),
            diverged: None,
            test: None,
            keeper: None,
            seconds: 0.0,
            plan,
        })
    }

    /// Continues from the last checkpoint, if there is one, and returns its position in the mini-batches.
    fn resume(&mut self) -> Result<Option<Shuffle>, Error> {
        let Some(Keeper { checkpoints, config, data, .. }) = self.keeper else { return Ok(None) };
        let warn = |warning: &str| self.observer.on(&Event::Warned(warning));
        let Some(Found { network, optimizer, state }) = checkpoints.find(config, data, warn)? else { return Ok(None) };
        let State { done, shuffle, curve, batch_losses, seconds, .. } = state;
        self.optimizer
            .restore(&optimizer)
            .map_err(|error| Error::OtherRun { path: checkpoints.path().into(), difference: error.to_string() })?;
        self.network = network;
        (self.done, self.curve, self.batch_losses, self.seconds) = (done, curve, batch_losses, seconds);
        self.observer.on(&Event::Progressed(done));
        self.open_metrics();
        Ok(Some(shuffle))
    }

    /// Runs the remaining steps, on the mini-batches of `shuffle` or from the first one.
    fn finish(mut self, shuffle: Option<Shuffle>, data: &Data, par: &Par) -> Result<Trained<T>, Error> {
        par.install(|| self.make(shuffle, data, par))?;
        let Self { network, curve, diverged, test, seconds, .. } = self;
        Ok(Trained { network, curve, diverged, test, seconds })
    }

    /// Runs the remaining steps, and the final test if requested.
    fn make(&mut self, shuffle: Option<Shuffle>, data: &Data, par: &Par) -> Result<(), Error> {
        let &Plan { steps, validate_every, training_sample, test, .. } = &self.plan;
        let normalizer = data.normalization.normalizer();
        let mut batches = Batches::new(&self.plan, shuffle, data, &normalizer)?;
        let mut evaluator = Evaluator::new(self.network.architecture(), &normalizer, par.clone());
        let validation = Some(data.dataset.validation()).filter(|images| !images.is_empty());
        let sample = training_sample.map(|sample| data.dataset.training().first(sample));

        let mut clock = Instant::now();
        while self.done < steps && self.diverged.is_none() {
            if self.observer.cancelled() {
                self.keep_or_warn(&batches.shuffle);
                return Err(Error::Cancelled);
            }
            batches.next(self.done, par, |images, labels| self.step(images, labels))?;
            if self.diverged.is_none() && (self.done.is_multiple_of(validate_every) || self.done == steps) {
                let mut evaluate = |images| evaluator.evaluate(&self.network, images);
                let validation = validation.map(&mut evaluate).transpose()?;
                let sample = sample.map(&mut evaluate).transpose()?;
                self.evaluated(sample.as_ref(), validation.as_ref());
            }
            let now = Instant::now();
            self.seconds += (now - clock).as_secs_f64();
            clock = now;
            self.tell_point();
            self.keep_now_and_then(&batches.shuffle, now);
        }
        if test && self.diverged.is_none() && !data.dataset.test().is_empty() {
            self.tested(evaluator.evaluate(&self.network, data.dataset.test())?);
        }
        Ok(())
    }

    /// Writes a checkpoint at the end of a cycle, and when the interval has passed.
    fn keep_now_and_then(&mut self, shuffle: &Shuffle, now: Instant) {
        let Some(keeper) = &mut self.keeper else { return };
        let ends_cycle = keeper.config.schedule.cycle().is_some_and(|cycle| self.done.is_multiple_of(cycle));
        let due = ends_cycle || now - keeper.kept >= keeper.checkpoints.every();
        if due && self.diverged.is_none() && self.done < self.plan.steps {
            keeper.kept = now;
            self.keep_or_warn(shuffle);
        }
    }

    fn keep_or_warn(&self, shuffle: &Shuffle) {
        if let Err(error) = self.keep(shuffle) {
            self.warn(&format!("cannot write a checkpoint: {error}"));
        }
    }

    /// Writes a checkpoint, if a path is configured and there is progress to save.
    fn keep(&self, shuffle: &Shuffle) -> Result<(), Error> {
        let Some(Keeper { checkpoints, config, data, .. }) = self.keeper.filter(|_| self.done > 0) else {
            return Ok(());
        };
        let dataset = data.info();
        let state = State {
            key: config.key(&dataset.sha256)?,
            environment: Environment::here(self.optimizer.par().count()),
            config: config.clone(),
            dataset,
            done: self.done,
            shuffle: shuffle.clone(),
            curve: self.curve.clone(),
            batch_losses: self.batch_losses,
            seconds: self.seconds,
        };
        checkpoints.write(&self.network, &self.optimizer.state(), &state)
    }

    fn warn(&self, warning: &str) {
        self.observer.on(&Event::Warned(warning));
    }

    /// Performs one update step on a mini-batch, unless the run diverges there.
    fn step(&mut self, images: Images<'_, T>, labels: &[u8]) -> Result<(), Error> {
        match self.descend(images, labels) {
            Err(Error::Network(klayer_nn::Error::NonFiniteLoss { .. })) => self.diverge(self.done),
            Err(error) => return Err(error),
            Ok(()) => {
                self.done += 1;
                self.open_metrics();
                self.observer.on(&Event::Progressed(self.done));
            }
        }
        Ok(())
    }

    fn descend(&mut self, images: Images<'_, T>, labels: &[u8]) -> Result<(), Error> {
        let rate = self.plan.schedule.rate(self.done);
        self.workspace.set_step(self.done);
        let loss = self.network.forward_train(images, &mut self.workspace)?.cross_entropy(labels)?;
        self.optimizer.descend(&mut self.network, images, &mut self.workspace, rate)?;
        self.batch_losses += loss;
        self.observer.on(&Event::Stepped(Step { step: self.done + 1, loss, rate }));
        Ok(())
    }

    /// Adds a point to the curve after the current step, from its evaluations.
    fn evaluated(&mut self, sample: Option<&Evaluation>, validation: Option<&Evaluation>) {
        let penalty = self.optimizer.l2().penalty(&self.network);
        let loss: f64 = [validation, sample].into_iter().flatten().map(|evaluation| evaluation.loss).sum();
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
                    self.warn(&format!("{file}: has only the first {has} of {needs} points"));
                }
                if !self.curve.is_empty() {
                    self.observer.on(&Event::Resumed(&before));
                }
                self.metrics = Some(file);
            }
            Err(error) => self.warn(&format!("cannot write metrics: {error}")),
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
            rate: self.plan.schedule.rate(self.done - 1),
            epoch: self.done as f64 / self.epoch as f64,
            seconds: self.seconds,
        };
        self.batch_losses = 0.0;
        self.observer.on(&Event::Evaluated(&metrics));
        if let Some(Err(error)) = self.metrics.as_mut().map(|file| file.push(&metrics)) {
            // The last line may be truncated: write no further lines.
            self.metrics = None;
            self.warn(&format!("cannot write further metrics: {error}"));
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
        self.diverged = Some(Divergence::of(&self.network, step, self.plan.schedule.rate(step)));
    }
}

impl<'a, T: Scalar> Batches<'a, T> {
    /// The mini-batches of `plan`: from the start, or from the position of `shuffle`.
    fn new(
        plan: &Plan<'_>,
        shuffle: Option<Shuffle>,
        data: &'a Data,
        normalizer: &'a Normalizer<T>,
    ) -> Result<Self, Error> {
        let (training, batch, seed) = (data.dataset.training(), plan.batch, plan.seed);
        let fresh = || Shuffle::new(stream(seed, "shuffle"), training.len(), batch.size);
        Ok(Self {
            training,
            shuffle: shuffle.map_or_else(fresh, Ok)?,
            augmenter: Augmenter::new(plan.augment.augment(), training.shape(), seed)?,
            normalizer,
            features: Features::default(),
            labels: Vec::with_capacity(batch.size),
        })
    }

    /// Calls `work` with the images and labels of the next mini-batch, for update step `step` (from 0).
    fn next<R>(&mut self, step: u64, par: &Par, work: impl FnOnce(Images<'_, T>, &[u8]) -> R) -> R {
        let indices = self.shuffle.next_batch();
        self.labels.clear();
        self.labels.extend(indices.iter().map(|&image| self.training.label(image as usize)));
        let images = self.augmenter.batch(self.training, indices, step, par);
        work(self.normalizer.batch(&images, &mut self.features, par), &self.labels)
    }
}
