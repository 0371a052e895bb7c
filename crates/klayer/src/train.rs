use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use klayer_cli::{Interrupt, Terminal, Watch, WatchArgs, parse_seconds};
use klayer_dataset::Dataset;
use klayer_store::files;
use klayer_train::model::{self, ModelInfo};
use klayer_train::record::Divergence;
use klayer_train::{Checkpoints, Data, Run, RunConfig, Trained, checkpoint, train_from};
use serde_json::json;

use crate::Error;
use crate::config::ConfigArgs;
use crate::dataset_args::DatasetArgs;
use crate::outputs;
use crate::recipe::Recipe;
use crate::run_args::ThreadArgs;

/// Options of `klayer train`; the defaults are those of the report.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    klayer train --hidden 50,50 --lambda 0.005 --cycles 2 --out model.klayer\n  \
    tail -F model.klayer.metrics.jsonl.part           follow the metrics in another terminal\n\n\
    An existing model and its metrics are replaced only when training finishes. A run that is stopped or diverges \
    leaves both unchanged.")]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    run: RunConfig,
    /// Weight of the L2 penalty
    #[arg(long, default_value_t = 0.005)]
    lambda: f64,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Write the trained network to FILE, and its metrics to FILE.metrics.jsonl
    ///
    /// Without it, the trained network is not saved.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Seconds between checkpoints [default: 30]
    ///
    /// A checkpoint is also written after each cycle. The file has the output's name with .checkpoint appended; the
    /// previous checkpoint is kept as .checkpoint.previous. Both are removed when training finishes.
    #[arg(long, value_name = "SECONDS", requires = "out", value_parser = parse_seconds)]
    checkpoint_every: Option<Duration>,
    /// Resume from the checkpoint of the same run, if there is one
    ///
    /// Without --resume or --restart, an existing checkpoint is an error, so that it is not lost.
    #[arg(long, requires = "out")]
    resume: bool,
    /// Discard an existing checkpoint and start from step 0
    #[arg(long, requires = "out", conflicts_with = "resume")]
    restart: bool,
    /// File to write the metrics to [default: the output's name with .metrics.jsonl appended]
    ///
    /// Contains a line of JSON for each validation, with step, losses, accuracy and learning rate. During training, the
    /// lines are written to a file with .part appended to the name. Without --metrics and --out, no metrics are
    /// written.
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Use settings that come with klayer, for CIFAR-10: minute, quarter, hour or day
    ///
    /// A recipe takes about this time on two cores, and less on fast ones; quarter is a quarter of an hour. day has not
    /// been run. A recipe trains on all training images, without validation. Options on the command line override it.
    #[arg(long = "recipe", value_enum, hide_possible_values = true, value_name = "NAME", conflicts_with = "config")]
    recipe: Option<Recipe>,
    #[command(flatten)]
    _config: ConfigArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DatasetArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

impl TrainArgs {
    /// Validates the settings as far as possible without the images.
    pub(crate) fn check(&self) -> Result<RunConfig, Error> {
        self.threads.check()?;
        let (metrics, checkpoints) = (self.metrics(), self.checkpoints());
        let growing = metrics.as_deref().map(growing);
        let kept =
            checkpoints.iter().flat_map(|checkpoints| [checkpoints.path().to_path_buf(), checkpoints.previous()]);
        let files: Vec<_> = self.out.iter().cloned().chain(metrics).chain(growing).chain(kept).collect();
        outputs::check([], files.iter().map(PathBuf::as_path))?;
        let config = RunConfig { lambda: self.lambda, test: true, ..self.run.clone() };
        config.check()?;
        if let Some(dimensions) = self.data.dimensions() {
            config.check_for(&dimensions)?;
        }
        Ok(config)
    }

    /// The metrics file, if metrics are written.
    fn metrics(&self) -> Option<PathBuf> {
        let beside = || self.out.as_deref().map(|out| outputs::beside(out, ".metrics.jsonl"));
        self.metrics.clone().or_else(beside)
    }

    fn checkpoints(&self) -> Option<Checkpoints<'static>> {
        let every = self.checkpoint_every.unwrap_or(checkpoint::EVERY);
        self.out.as_deref().map(|out| Checkpoints::new(outputs::beside(out, ".checkpoint"), every))
    }

    pub(crate) fn run(self, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), Error> {
        let config = self.check()?;
        let par = self.threads.par()?;
        let (metrics, checkpoints) = (self.metrics(), self.checkpoints());
        let growing = metrics.as_deref().map(growing);
        if let Some(there) = checkpoints.as_ref().filter(|there| there.exist() && !self.resume && !self.restart) {
            return Err(Error::CheckpointThere { path: there.path().into() });
        }
        match &checkpoints {
            None if self.recipe.is_some() => terminal.warn("without --out, the trained network is not saved"),
            Some(there) if self.resume && there.exist() => {
                terminal.remark(|| format!("resuming from {}", there.path().display()));
            }
            Some(_) if self.resume => terminal.remark(|| "no checkpoint found: starting from step 0".to_owned()),
            _ => {}
        }
        let watchers = self.watch.open("klayer train", terminal)?;
        let data = match self.data.load(config.seed, terminal, interrupt) {
            Err(Error::Dataset(klayer_dataset::Error::Cancelled)) => {
                return Err(Error::Stopped { checkpoint: checkpoints.filter(Checkpoints::exist) });
            }
            data => Data::normalized(data?, config.batch.normalize)?,
        };
        let name = self.out.as_ref().map_or("training".to_owned(), |out| out.display().to_string());
        let steps = config.steps(data.dataset.training().len());
        let watch = watchers.run(None, &name, (steps, Watch::STEPS), terminal, interrupt);
        let run =
            Run { config: &config, observer: &watch, checkpoints: checkpoints.as_ref(), metrics: growing.as_deref() };
        config.check_for(&data.dataset.dimensions())?;
        // Not earlier: a failure above, such as missing images, must not lose the checkpoint.
        if let Some(checkpoints) = checkpoints.as_ref().filter(|_| self.restart) {
            checkpoints.remove()?;
        }
        let trained = match train_from::<f32>(&run, &data, &par) {
            Err(klayer_train::Error::Cancelled) => {
                drop(watch);
                return Err(Error::Stopped { checkpoint: checkpoints.filter(Checkpoints::exist) });
            }
            // The only file that it reads and must read is the checkpoint.
            Err(
                error @ (klayer_train::Error::Model { .. }
                | klayer_train::Error::OtherRun { .. }
                | klayer_train::Error::Store(klayer_store::Error::File { .. })),
            ) => return Err(Error::Checkpoint(error)),
            trained => trained?,
        };
        drop(watch);
        if let Some(Divergence { step, rate, .. }) = trained.diverged {
            checkpoints.map_or(Ok(()), |checkpoints| checkpoints.remove())?;
            // Without --metrics, the metrics are only an addition to the model, which is not written.
            if let Some(growing) = growing.as_deref().filter(|_| self.metrics.is_none()) {
                let _ = fs::remove_file(growing);
            }
            return Err(Error::Diverged { step, rate, metrics: growing.filter(|growing| growing.exists()) });
        }
        if let Some(out) = &self.out {
            model::save(out, &trained.network, &ModelInfo::new(&config, &data, &trained))?;
        }
        // Copied, not moved: a training killed before the checkpoints are removed resumes with the .part file.
        let named = metrics
            .zip(growing.as_deref())
            .map(|(path, growing)| files::write(&path, &files::read_regular(growing, files::LONGEST)?));
        if let Some(Err(error)) = &named {
            terminal.warn(&format!("cannot save the metrics: {error}"));
        }
        checkpoints.map_or(Ok(()), |checkpoints| checkpoints.remove())?;
        if let Some(growing) = growing.filter(|_| matches!(named, Some(Ok(())))) {
            let _ = fs::remove_file(growing);
        }
        let report = if self.json {
            json_line(steps, &trained, &data.dataset, par.count())
        } else {
            table(steps, &trained, self.out.as_deref(), data.dataset.synthetic())
        };
        io::stdout().write_all(report.as_bytes()).map_err(Error::Output)
    }
}

/// The metrics file during the training.
fn growing(metrics: &Path) -> PathBuf {
    outputs::beside(metrics, ".part")
}

fn json_line(steps: u64, trained: &Trained<f32>, dataset: &Dataset, threads: usize) -> String {
    let last = trained.curve.last();
    // Same keys as comparable programs, so that one reader works for all.
    let line = json!({
        "steps": steps,
        "seconds_train": trained.seconds,
        "steps_per_s": steps as f64 / trained.seconds,
        "val_loss": last.and_then(|point| point.validation_loss),
        "val_acc": last.and_then(|point| point.validation_accuracy),
        "test_acc": trained.test.as_ref().map(|test| test.accuracy),
        "threads": threads,
        "synthetic": dataset.synthetic(),
    });
    format!("{line}\n")
}

fn table(steps: u64, trained: &Trained<f32>, out: Option<&Path>, synthetic: bool) -> String {
    let mut text = "                 loss  accuracy\n".to_owned();
    let validation = trained.curve.last().and_then(|point| point.validation_loss.zip(point.validation_accuracy));
    let test = trained.test.as_ref().map(|test| (test.loss, test.accuracy));
    for (name, result) in [("validation", validation), ("test", test)] {
        text += &match result {
            Some((loss, accuracy)) => format!("{name:<10}    {loss:>7.4}  {:>7.2}%\n", 100.0 * accuracy),
            None => format!("{name:<10}  no images\n"),
        };
    }
    let (seconds, rate) = (trained.seconds, steps as f64 / trained.seconds);
    text += &format!("{steps} steps in {seconds:.1} s ({rate:.0} steps/s)\n");
    if synthetic {
        text.push_str("on generated images, not CIFAR-10\n");
    }
    if let Some(out) = out {
        text.push_str(&format!("wrote {}\n", out.display()));
    }
    text
}
