//! Checkpoints: all that a training run needs to go on where it was, as a file.
//!
//! The file is laid out as a model file (see [`klayer_nn::model_file`]), with the magic `KLAYERCP` and a [`State`]
//! in place of a model's metadata. The one before it is kept beside it, for the case that it is damaged or cannot be
//! read. Both are removed when the run is finished.
//!
//! A checkpoint tells the [`Arithmetic`] that it was computed with. Where sums end in other bits nothing goes on from
//! it, so that no record is of two kinds of processors: a run of its own is refused, and one in a store takes the
//! checkpoint before it or begins anew.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use klayer_dataset::{FEATURES, Shuffle};
use klayer_linalg::Scalar;
use klayer_linalg::text::printable;
use klayer_nn::Network;
use klayer_nn::model_file::{self, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arithmetic::Arithmetic;
use crate::config::RunConfig;
use crate::data::{Data, DatasetInfo};
use crate::environment::Environment;
use crate::lock::Claim;
use crate::record::{self, Point};
use crate::runs::Job;
use crate::{Error, files};

/// Files of training runs under way.
pub const CHECKPOINT: Kind = Kind { name: "checkpoint", magic: b"KLAYERCP", version: 3 };

/// How often a run writes a checkpoint, unless it is told otherwise. Each cycle ends with one too.
pub const EVERY: Duration = Duration::from_secs(30);

/// Where a run keeps its checkpoints.
#[derive(Debug)]
pub struct Checkpoints<'a> {
    path: PathBuf,
    every: Duration,
    claim: Option<&'a Claim>,
}

/// The state of a training run between two update steps, beside its parameters and running statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What names the run's record: a hash of the settings, the dataset and the program's version.
    pub key: String,
    /// Where it was written: by which version, and with which arithmetic.
    pub environment: Environment,
    /// The settings.
    pub config: RunConfig,
    /// The images.
    pub dataset: DatasetInfo,
    /// What the optimizer remembers from one step to the next.
    pub optimizer: OptimizerState,
    /// Update steps made. The learning rate follows from it.
    pub done: u64,
    /// The permutation of this epoch, the position in it, and the state of the stream that draws the next ones. The
    /// only other random numbers of a run are its first weights.
    pub shuffle: Shuffle,
    /// The curve so far.
    pub curve: Vec<Point>,
    /// The sum of the mini-batches' losses since the last point of the curve.
    pub batch_losses: f64,
    /// Seconds so far.
    pub seconds: f64,
}

/// What an optimizer remembers from one step to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OptimizerState {
    /// Plain gradient descent: nothing.
    Sgd,
}

/// What a run goes on from.
pub(crate) struct Found<T> {
    pub(crate) network: Network<T>,
    pub(crate) state: State,
}

impl<'a> Checkpoints<'a> {
    /// The checkpoints at `path`, written every cycle and whenever `every` has passed since the last one.
    pub fn new(path: impl Into<PathBuf>, every: Duration) -> Self {
        Self { path: path.into(), every, claim: None }
    }

    /// Those of a run in a store, written only as long as nobody else has taken it over.
    pub(crate) fn claimed(path: PathBuf, every: Duration, claim: &'a Claim) -> Self {
        Self { path, every, claim: Some(claim) }
    }

    /// The last checkpoint.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The one before it.
    pub fn previous(&self) -> PathBuf {
        let mut name: OsString = self.path.clone().into();
        name.push(".previous");
        name.into()
    }

    /// Whether there is a checkpoint.
    pub fn exist(&self) -> bool {
        self.path.exists() || self.previous().exists()
    }

    /// Removes them.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove(&self) -> Result<(), Error> {
        for path in [self.path.clone(), self.previous()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::file(path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Writes a checkpoint; the last one becomes the one before it.
    pub(crate) fn write<T: Scalar>(&self, network: &Network<T>, state: &State) -> Result<(), Error> {
        if self.claim.is_some_and(|claim| !claim.held()) {
            return Ok(());
        }
        let bytes = model_file::encode(&CHECKPOINT, network, state).map_err(refuse(&self.path))?;
        // First the new one, whole and synced: if that cannot be, the older ones stay as they are.
        let staged = files::stage(&self.path, &bytes)?;
        match fs::rename(&self.path, self.previous()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file(&self.path)(error)),
            _ => staged.place(&self.path),
        }
    }

    /// The last checkpoint that is whole and of this arithmetic, if there is one. `warn` is told of those that are not.
    ///
    /// # Errors
    /// [`Error::OtherRun`]; [`Error::File`] if one cannot be read and there is no other to resume from: it may be
    /// readable another time. For a run outside a store also [`Error::OtherArithmetic`], [`Error::Model`] for one of
    /// another version, and [`Error::Model`] if all are damaged. A trial in a store starts again in these cases.
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
                    // In place of one that is of no use, which would otherwise become the one before the next.
                    if passed_over {
                        let _ = fs::rename(&previous, &last);
                    }
                    return Ok(Some(found));
                }
                Ok(None) => continue,
                Err(error) => error,
            };
            let another = path == &last && previous.exists();
            let instead = if another { "the one before it is used" } else { "there is no other" };
            let alone = self.claim.is_none();
            match &error {
                Error::OtherArithmetic { path, difference } if self.claim.is_some() => {
                    let path = path.display();
                    warn(&format!("{path}: it is left aside, since {}; {instead}", printable(difference)));
                }
                // Of another version: a store has no trial of it, and what is no trial's is kept for that version.
                Error::Model { error: klayer_nn::Error::Layout { .. }, .. } if alone => return Err(error),
                Error::Model { .. } if alone && !another => return Err(unread.unwrap_or(error)),
                Error::Model { .. } | Error::File { .. } => warn(&format!("{error}; {instead}")),
                _ => return Err(error),
            }
            if alone || matches!(error, Error::File { .. }) {
                unread = unread.or(Some(error));
            }
            passed_over = true;
        }
        unread.map_or(Ok(None), Err)
    }

    /// The checkpoint at `path`, if there is one.
    fn open<T: Scalar>(&self, path: &Path, config: &RunConfig, data: &Data) -> Result<Option<Found<T>>, Error> {
        let bytes = match files::read_kind(&CHECKPOINT, path) {
            Err(Error::File { error, .. }) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let (network, state) = model_file::decode(&CHECKPOINT, &bytes).map_err(refuse(path))?;
        Found { network, state }.check(path, config, data).map(Some)
    }
}

impl<T: Scalar> Found<T> {
    /// The same, if it is of a run of `config` on `data`.
    fn check(self, path: &Path, config: &RunConfig, data: &Data) -> Result<Self, Error> {
        let Self { network, state } = &self;
        if let Some(difference) = difference(state, config, data)? {
            return Err(Error::OtherRun { path: path.into(), difference });
        }
        let training = data.dataset.training().len();
        let fits = network.architecture() == &config.architecture(FEATURES, data.dataset.class_names().len())?
            && (state.shuffle.images(), state.shuffle.batch()) == (training, config.batch)
            && state.done <= config.steps()
            && state.curve.iter().all(|point| point.step <= state.done);
        if !fits {
            let difference = "its parts do not fit together".to_owned();
            return Err(Error::OtherRun { path: path.into(), difference });
        }
        let Environment { arithmetic, processor, .. } = &state.environment;
        let difference = match arithmetic {
            Some(there) => there.difference(&Arithmetic::here()),
            None => Some("it does not tell with which it was computed".to_owned()),
        };
        if let Some(difference) = difference {
            let difference = format!("{difference}; it was written on {processor}");
            return Err(Error::OtherArithmetic { path: path.into(), difference });
        }
        Ok(self)
    }
}

/// The first difference between the run of a checkpoint and one of `config` on `data`.
fn difference(state: &State, config: &RunConfig, data: &Data) -> Result<Option<String>, Error> {
    let dataset = data.info();
    if state.dataset != dataset {
        let tell = |info: &DatasetInfo| format!("{} (SHA-256 {})", info.name, info.sha256);
        return Ok(Some(format!("the images are {} there, and {} here", tell(&state.dataset), tell(&dataset))));
    }
    let json = |config: &RunConfig| serde_json::to_value(config).map_err(Error::Json);
    let (there, here) = (json(&state.config)?, json(config)?);
    for (name, value) in there.as_object().into_iter().flatten() {
        let other = here.get(name).unwrap_or(&Value::Null);
        if value != other {
            return Ok(Some(format!("{} is {value} there, and {other} here", name.replace('_', " "))));
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let there = &state.environment.version;
    if there != version {
        return Ok(Some(format!("it was written by version {there}, and this is version {version}")));
    }
    let key = record::key(RunConfig::KIND, config, &dataset.sha256)?;
    Ok((state.key != key).then(|| format!("its run is {} there, and {key} here", state.key)))
}

fn refuse(path: &Path) -> impl FnOnce(klayer_nn::Error) -> Error {
    move |error| Error::Model { path: path.into(), error }
}
