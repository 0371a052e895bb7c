//! Checkpoints: files with the complete state of a training run, to resume it.
//!
//! The file has the layout of a model file (see [`klayer_nn::model_file`]), with the magic `KLAYERCP` and a [`State`]
//! in place of a model's metadata. The previous checkpoint is kept beside it, in case the last one is damaged or
//! cannot be read. Both are removed when the run is finished.
//!
//! All x86-64 processors compute the same bits, so a run may be resumed on another machine.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use klayer_dataset::Shuffle;
use klayer_linalg::{Scalar, kernels_on};
use klayer_nn::Network;
use klayer_nn::model_file::{self, Kind};
use klayer_optim::OptimizerState;
use klayer_store::{Recorded, files};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::RunConfig;
use crate::data::{Data, DatasetInfo};
use crate::environment::Environment;
use crate::record::Point;
use crate::{Error, network_file};

/// File kind of checkpoints.
pub const CHECKPOINT: Kind = Kind { name: "checkpoint", magic: b"KLAYERCP", version: 6 };

/// Default interval between checkpoints. A checkpoint is also written at the end of each cycle.
pub use klayer_store::CHECKPOINT_EVERY as EVERY;

/// The checkpoint files of a run.
pub struct Checkpoints<'a> {
    path: PathBuf,
    every: Duration,
    /// For a run in a store: whether this process still holds the run.
    held: Option<&'a (dyn Fn() -> bool + Sync)>,
}

/// The state of a training run between two update steps, except for its parameters and running statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Key of the run's record: a hash of the settings, the dataset and klayer's version.
    pub key: String,
    /// Where it was written.
    pub environment: Environment,
    /// Settings.
    pub config: RunConfig,
    /// Dataset.
    pub dataset: DatasetInfo,
    /// Completed update steps; they determine the learning rate.
    pub done: u64,
    /// Permutation of this epoch, the position in it, and the state of the random stream for the next ones. All other
    /// random numbers of a run, such as dropout masks, are determined by the seed and the step.
    pub shuffle: Shuffle,
    /// The curve so far.
    pub curve: Vec<Point>,
    /// Sum of the mini-batch losses since the last point of the curve.
    pub batch_losses: f64,
    /// Seconds so far.
    pub seconds: f64,
}

/// The network and state to resume from.
pub(crate) struct Found<T> {
    pub(crate) network: Network<T>,
    pub(crate) optimizer: OptimizerState<T>,
    pub(crate) state: State,
}

impl fmt::Debug for Checkpoints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, every, held } = self;
        f.debug_struct("Checkpoints")
            .field("path", path)
            .field("every", every)
            .field("shared", &held.is_some())
            .finish()
    }
}

impl<'a> Checkpoints<'a> {
    /// Checkpoints at `path`, written at the end of every cycle and when `every` has passed since the last one.
    pub fn new(path: impl Into<PathBuf>, every: Duration) -> Self {
        Self { path: path.into(), every, held: None }
    }

    /// Checkpoints of a run that other processes may take over: written only while `held` returns `true`. If none can
    /// be used, the run starts again.
    pub fn shared(path: impl Into<PathBuf>, every: Duration, held: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { path: path.into(), every, held: Some(held) }
    }

    /// Path of the last checkpoint.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the previous checkpoint.
    pub fn previous(&self) -> PathBuf {
        let mut name: OsString = self.path.clone().into();
        name.push(".previous");
        name.into()
    }

    /// Whether a checkpoint exists.
    pub fn exist(&self) -> bool {
        self.path.exists() || self.previous().exists()
    }

    /// Removes both checkpoints.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn remove(&self) -> Result<(), Error> {
        for path in [self.path.clone(), self.previous()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::file(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Writes a checkpoint; the last one becomes the previous one.
    pub(crate) fn write<T: Scalar>(
        &self,
        network: &Network<T>,
        optimizer: &OptimizerState<T>,
        state: &State,
    ) -> Result<(), Error> {
        if self.held.is_some_and(|held| !held()) {
            return Ok(());
        }
        let bytes =
            model_file::encode(&CHECKPOINT, network, optimizer.values(), state).map_err(Error::model(&self.path))?;
        // Write and sync the new one first: if that fails, the older ones are unchanged.
        let staged = files::stage(&self.path, &bytes)?;
        match fs::rename(&self.path, self.previous()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file(&self.path)(error)),
            _ => Ok(staged.place(&self.path)?),
        }
    }

    /// Loads the last valid checkpoint, if there is one. Calls `warn` for each one that is skipped.
    ///
    /// # Errors
    /// [`Error::OtherRun`]; [`Error::Store`] if one cannot be read and there is no other to resume from: it may be
    /// readable later. For a run outside a store also [`Error::Model`] for one of another version, and if all are
    /// damaged. In these cases a trial in a store starts again.
    pub(crate) fn find<T: Scalar>(
        &self,
        config: &RunConfig,
        data: &Data,
        warn: impl Fn(&str),
    ) -> Result<Option<Found<T>>, Error> {
        let (last, previous) = (self.path.clone(), self.previous());
        let (mut unread, mut passed_over) = (None, false);
        for path in [&last, &previous] {
            let error = match self.open(path, config, data) {
                Ok(Some(found)) => {
                    // Replace the skipped one, which would otherwise become the previous checkpoint.
                    if passed_over {
                        let _ = fs::rename(&previous, &last);
                    }
                    return Ok(Some(found));
                }
                Ok(None) => continue,
                Err(error) => error,
            };
            let another = path == &last && previous.exists();
            let instead = if another { "using the previous checkpoint" } else { "no other checkpoint found" };
            let alone = self.held.is_none();
            match &error {
                // Of another version: keep it for that version. In a store this cannot be a trial's checkpoint.
                Error::Model { error: klayer_nn::Error::Layout { .. }, .. } if alone => return Err(error),
                Error::Model { .. } if alone && !another => return Err(unread.unwrap_or(error)),
                Error::Model { .. } | Error::Store(klayer_store::Error::File { .. }) => {
                    warn(&format!("{error}; {instead}"))
                }
                _ => return Err(error),
            }
            if alone || matches!(error, Error::Store(klayer_store::Error::File { .. })) {
                unread = unread.or(Some(error));
            }
            passed_over = true;
        }
        unread.map_or(Ok(None), Err)
    }

    /// Loads the checkpoint at `path`, if it exists.
    fn open<T: Scalar>(&self, path: &Path, config: &RunConfig, data: &Data) -> Result<Option<Found<T>>, Error> {
        let bytes = match network_file::read(&[CHECKPOINT], path, files::open_regular) {
            Err(Error::Store(klayer_store::Error::File { error, .. })) if error.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            read => read?.1,
        };
        let (network, numbers, state) = model_file::decode(&CHECKPOINT, &bytes).map_err(Error::model(path))?;
        Found { network, optimizer: OptimizerState::from(numbers), state }.check(path, config, data).map(Some)
    }
}

impl<T: Scalar> Found<T> {
    /// Checks that the checkpoint belongs to the run of `config` on `data`.
    fn check(self, path: &Path, config: &RunConfig, data: &Data) -> Result<Self, Error> {
        let Self { network, state, .. } = &self;
        if let Some(difference) = difference(state, config, data)? {
            return Err(Error::OtherRun { path: path.into(), difference });
        }
        let dimensions = data.dataset.dimensions();
        let training = dimensions.training;
        let fits = network.architecture()
            == &config.network.architecture(dimensions.shape.features(), dimensions.classes)?
            && (state.shuffle.images(), state.shuffle.batch()) == (training, config.batch.size)
            && state.done <= config.steps(training)
            && state.curve.iter().all(|point| point.step <= state.done);
        if !fits {
            let difference = "its contents do not match".to_owned();
            return Err(Error::OtherRun { path: path.into(), difference });
        }
        Ok(self)
    }
}

/// The first difference between the checkpoint's run and a run of `config` on `data`.
fn difference(state: &State, config: &RunConfig, data: &Data) -> Result<Option<String>, Error> {
    let json = |config: &RunConfig| serde_json::to_value(config).map_err(klayer_store::Error::Json);
    let (there, here) = (json(&state.config)?, json(config)?);
    // A setting with its default may be missing on either side.
    for (name, _) in there.as_object().into_iter().chain(here.as_object()).flatten() {
        let [there, here] = [&there, &here].map(|settings| settings.get(name));
        if there != here {
            let [there, here] = [there, here].map(|value| value.map_or("the default".to_owned(), Value::to_string));
            return Ok(Some(format!("{} is {there} in the checkpoint, but {here} here", name.replace('_', " "))));
        }
    }
    let dataset = data.info();
    if state.dataset != dataset {
        let tell = |info: &DatasetInfo| format!("{} (SHA-256 {})", info.name, info.sha256);
        return Ok(Some(format!(
            "the dataset, or its split, is {} in the checkpoint, but {} here",
            tell(&state.dataset),
            tell(&dataset)
        )));
    }
    let version = env!("CARGO_PKG_VERSION");
    let there = &state.environment.version;
    if there != version {
        return Ok(Some(format!("it was written by klayer {there}, but this is klayer {version}")));
    }
    let there = state.environment.kernels;
    if there != kernels_on() {
        let on = |kernels| if kernels { "klayer's kernels" } else { "faer alone" };
        let (there, here) = (on(there), on(!there));
        return Ok(Some(format!(
            "products ran on {there} in the checkpoint, but run on {here} here (KLAYER_NO_KERNELS)"
        )));
    }
    let key = config.key(&dataset.sha256)?;
    Ok((state.key != key).then(|| format!("the run is {} in the checkpoint, but {key} here", state.key)))
}
