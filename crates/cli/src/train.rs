use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use klayer_cli::{DataArgs, Interrupt, Terminal, Watch, WatchArgs, parse_seconds};
use klayer_dataset::Dataset;
use klayer_experiments::model::{self, ModelInfo};
use klayer_experiments::record::Point;
use klayer_experiments::{Checkpoints, Data, Run, RunConfig, Trained, checkpoint, files, train_from};
use serde_json::json;

use crate::Error;
use crate::config::ConfigArgs;
use crate::outputs;
use crate::run_args::{RunArgs, ThreadArgs};

/// Options of `klayer train`; the defaults are those of the report.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    klayer train --hidden 50,50 --lambda 0.005 --cycles 2 --out model.klayer\n  \
    tail -F model.klayer.metrics.jsonl.part           follow the metrics in another terminal\n\n\
    An existing model and its metrics are replaced only when training finishes. A run that is stopped or diverges \
    leaves both unchanged.")]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    run: RunArgs,
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
    #[command(flatten)]
    _config: ConfigArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

impl TrainArgs {
    /// Validates the settings as far as possible without the images.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.threads.check()?;
        let (metrics, checkpoints) = (self.metrics(), self.checkpoints());
        let growing = metrics.as_deref().map(growing);
        let kept =
            checkpoints.iter().flat_map(|checkpoints| [checkpoints.path().to_path_buf(), checkpoints.previous()]);
        let files: Vec<_> = self.out.iter().cloned().chain(metrics).chain(growing).chain(kept).collect();
        outputs::check([], files.iter().map(PathBuf::as_path))?;
        if let Some(dimensions) = self.data.dimensions() {
            self.run.config(self.lambda, true, &dimensions)?;
        }
        Ok(())
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
        self.check()?;
        let par = self.threads.par()?;
        let (metrics, checkpoints) = (self.metrics(), self.checkpoints());
        let growing = metrics.as_deref().map(growing);
        if let Some(checkpoints) = checkpoints.as_ref().filter(|checkpoints| checkpoints.exist() && !self.resume) {
            if !self.restart {
                return Err(Error::CheckpointThere { path: checkpoints.path().into() });
            }
            checkpoints.remove()?;
        }
        let watchers = self.watch.open("klayer train", terminal)?;
        let data = match self.data.load(Path::new("."), self.run.network.seed, terminal, interrupt) {
            Err(klayer_dataset::Error::Cancelled) => {
                return Err(Error::Stopped { checkpoint: checkpoints.filter(Checkpoints::exist) });
            }
            data => Data::new(data?),
        };
        let config = self.run.config(self.lambda, true, &data.dataset.dimensions())?;
        let name = self.out.as_ref().map_or("training".to_owned(), |out| out.display().to_string());
        let watch = watchers.run(None, &name, (config.steps(), Watch::STEPS), terminal, interrupt);
        let run =
            Run { config: &config, observer: &watch, checkpoints: checkpoints.as_ref(), metrics: growing.as_deref() };
        let trained = match train_from::<f32>(&run, &data, &par) {
            Err(klayer_experiments::Error::Cancelled) => {
                drop(watch);
                return Err(Error::Stopped { checkpoint: checkpoints.filter(Checkpoints::exist) });
            }
            Err(error @ klayer_experiments::Error::Model { .. }) => return Err(Error::DamagedCheckpoint(error)),
            trained => trained?,
        };
        drop(watch);
        let (Some(last), Some(test), None) = (trained.curve.last(), &trained.test, trained.diverged) else {
            let (step, rate) = trained.diverged.map_or((0, 0.0), |diverged| (diverged.step, diverged.rate));
            checkpoints.map_or(Ok(()), |checkpoints| checkpoints.remove())?;
            // Without --metrics, the metrics are only an addition to the model, which is not written.
            if let Some(growing) = growing.as_deref().filter(|_| self.metrics.is_none()) {
                let _ = fs::remove_file(growing);
            }
            return Err(Error::Diverged { step, rate, metrics: growing.filter(|growing| growing.exists()) });
        };
        if let Some(out) = &self.out {
            let info = ModelInfo {
                config: config.clone(),
                dataset: data.info(),
                normalization: data.normalization.clone(),
                classes: data.dataset.class_names().to_vec(),
                validation_accuracy: last.validation_accuracy,
                test_accuracy: Some(test.accuracy),
            };
            model::save(out, &trained.network, &info)?;
        }
        // Copied, not moved: a training killed before the checkpoints are removed resumes with the .part file.
        let named = metrics
            .zip(growing.as_deref())
            .map(|(path, growing)| files::write(&path, &files::read(growing, u64::MAX)?));
        if let Some(Err(error)) = &named {
            terminal.warn(&format!("cannot save the metrics: {error}"));
        }
        checkpoints.map_or(Ok(()), |checkpoints| checkpoints.remove())?;
        if let Some(growing) = growing.filter(|_| matches!(named, Some(Ok(())))) {
            let _ = fs::remove_file(growing);
        }
        let report = if self.json {
            json_line(&config, &trained, last, test.accuracy, &data.dataset, par.count())
        } else {
            table(&config, &trained, last, test, self.out.as_deref(), data.dataset.synthetic())
        };
        io::stdout().write_all(report.as_bytes()).map_err(Error::Output)
    }
}

/// The metrics file during the training.
fn growing(metrics: &Path) -> PathBuf {
    outputs::beside(metrics, ".part")
}

fn json_line(
    config: &RunConfig,
    trained: &Trained<f32>,
    last: &Point,
    test_accuracy: f64,
    dataset: &Dataset,
    threads: usize,
) -> String {
    // Same keys as comparable programs, so that one reader works for all.
    let line = json!({
        "steps": config.steps(),
        "seconds_train": trained.seconds,
        "steps_per_s": config.steps() as f64 / trained.seconds,
        "val_loss": last.validation_loss,
        "val_acc": last.validation_accuracy,
        "test_acc": test_accuracy,
        "threads": threads,
        "synthetic": dataset.synthetic(),
    });
    format!("{line}\n")
}

fn table(
    config: &RunConfig,
    trained: &Trained<f32>,
    last: &Point,
    test: &klayer_experiments::Evaluation,
    out: Option<&Path>,
    synthetic: bool,
) -> String {
    let steps = config.steps();
    let mut text = format!(
        "                 loss  accuracy\n\
         validation    {:>7.4}  {:>7.2}%\n\
         test          {:>7.4}  {:>7.2}%\n\
         {steps} steps in {:.1} s ({:.0} steps/s)\n",
        last.validation_loss,
        100.0 * last.validation_accuracy,
        test.loss,
        100.0 * test.accuracy,
        trained.seconds,
        steps as f64 / trained.seconds,
    );
    if synthetic {
        text.push_str("on generated images, not CIFAR-10\n");
    }
    if let Some(out) = out {
        text.push_str(&format!("wrote {}\n", out.display()));
    }
    text
}
