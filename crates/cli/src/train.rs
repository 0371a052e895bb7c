use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use indicatif::ProgressBar;
use klayer_cli::{DataArgs, Interrupt, Terminal};
use klayer_experiments::model::{self, ModelInfo};
use klayer_experiments::record::Point;
use klayer_experiments::{Cyclical, Data, Init, Observer, Par, RunConfig, Trained, files, train};
use serde_json::json;

use crate::Error;

/// The switches of `klayer train`; the defaults are the report's.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  klayer train --hidden 50,50 --lambda 0.005 --cycles 2 --out model.klayer")]
pub(crate) struct TrainArgs {
    /// Widths of the hidden layers, or "none"
    #[arg(long, value_name = "WIDTHS", default_value = "50,50", value_parser = parse_widths)]
    hidden: Widths,
    /// Leave batch norm out
    #[arg(long)]
    no_bn: bool,
    /// Standard deviation of the initial weights [default: sqrt(2 / inputs of the layer)]
    #[arg(long, allow_negative_numbers = true)]
    sigma: Option<f64>,
    /// Weight of the L2 penalty
    #[arg(long, allow_negative_numbers = true, default_value_t = 0.005)]
    lambda: f64,
    /// Cycles to train, of 2 n_s update steps each
    #[arg(long, default_value_t = 2)]
    cycles: u64,
    /// Update steps from the smallest learning rate to the largest
    #[arg(long, value_name = "STEPS", default_value_t = 2250)]
    n_s: u64,
    /// Smallest learning rate
    #[arg(long, allow_negative_numbers = true, value_name = "RATE", default_value_t = 1e-5)]
    eta_min: f64,
    /// Largest learning rate
    #[arg(long, allow_negative_numbers = true, value_name = "RATE", default_value_t = 1e-1)]
    eta_max: f64,
    /// Images in a mini-batch
    #[arg(long, value_name = "IMAGES", default_value_t = 100)]
    batch: usize,
    /// Update steps between validations [default: one epoch]
    #[arg(long, value_name = "STEPS")]
    validate_every: Option<u64>,
    /// Seed of the initial weights and of the order of the images
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Threads; the result is the same on any number [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// File to write the trained network to
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one line of JSON in place of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// Widths of hidden layers.
#[derive(Debug, Clone)]
struct Widths(Vec<usize>);

fn parse_widths(text: &str) -> Result<Widths, String> {
    if text == "none" {
        return Ok(Widths(Vec::new()));
    }
    let widths = text.split(',').map(|width| match width.trim().parse() {
        Ok(0) | Err(_) => Err(format!("'{width}' is not a width; give numbers of at least 1, as in 50,50, or none")),
        Ok(width) => Ok(width),
    });
    widths.collect::<Result<_, _>>().map(Widths)
}

impl TrainArgs {
    pub(crate) fn run(self, interrupt: &Interrupt) -> Result<(), Error> {
        let terminal = Terminal::new();
        let threads = self.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let par = Par::threads(threads).map_err(klayer_experiments::Error::from)?;
        if let Some(out) = &self.out {
            files::probe(out)?;
        }
        let schedule = Cyclical::new(self.eta_min, self.eta_max, self.n_s).map_err(klayer_experiments::Error::from)?;
        let data = Data::new(self.data.load(Path::new("."), self.seed, &terminal, interrupt)?);
        let epoch = (data.dataset.training().len() / self.batch.max(1)).max(1) as u64;
        let config = RunConfig {
            hidden: self.hidden.0,
            batch_norm: !self.no_bn,
            init: self.sigma.map_or(Init::He, |sigma| Init::Normal { sigma }),
            lambda: self.lambda,
            schedule,
            cycles: self.cycles,
            batch: self.batch,
            seed: self.seed,
            validate_every: self.validate_every.unwrap_or(epoch),
            training_sample: None,
            test: true,
        };

        let watch = Watch::new(&terminal, interrupt, config.steps());
        let trained = train::<f32>(&config, &data, &par, &watch)?;
        drop(watch);
        let (Some(last), Some(test), None) = (trained.curve.last(), &trained.test, trained.diverged) else {
            let (step, rate) = trained.diverged.map_or((0, 0.0), |diverged| (diverged.step, diverged.rate));
            return Err(Error::Diverged { step, rate });
        };
        if let Some(out) = &self.out {
            let info = ModelInfo {
                config: config.clone(),
                dataset: data.info(),
                normalization: data.normalization.clone(),
                classes: data.dataset.class_names().iter().map(|&name| name.to_owned()).collect(),
                validation_accuracy: last.validation_accuracy,
                test_accuracy: Some(test.accuracy),
            };
            model::save(out, &trained.network, &info)?;
        }
        let report = if self.json {
            json_line(&config, &trained, last, test.accuracy, par.count())
        } else {
            table(&config, &trained, last, test, self.out.as_deref(), data.dataset.synthetic())
        };
        io::stdout().write_all(report.as_bytes()).map_err(Error::Output)
    }
}

fn json_line(config: &RunConfig, trained: &Trained<f32>, last: &Point, test_accuracy: f64, threads: usize) -> String {
    let line = json!({
        "steps": config.steps(),
        "seconds_train": trained.seconds,
        "steps_per_s": config.steps() as f64 / trained.seconds,
        "val_loss": last.validation_loss,
        "val_acc": last.validation_accuracy,
        "test_acc": test_accuracy,
        "threads": threads,
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
         {steps} steps in {:.1} s ({:.0} a second)\n",
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
        text.push_str(&format!("written to {}\n", out.display()));
    }
    text
}

/// One bar: steps a second, time left and the latest validation accuracy.
struct Watch<'a> {
    terminal: &'a Terminal,
    interrupt: &'a Interrupt,
    bar: ProgressBar,
}

impl<'a> Watch<'a> {
    fn new(terminal: &'a Terminal, interrupt: &'a Interrupt, steps: u64) -> Self {
        let bar = terminal.bar(steps, "{bar:40} {pos}/{len} steps  {per_sec}  {eta} left  {msg}");
        Self { terminal, interrupt, bar }
    }
}

impl Observer for Watch<'_> {
    fn progressed(&self, done: u64) {
        self.bar.set_position(done);
    }

    fn evaluated(&self, point: &Point) {
        let accuracy = format!("validation {:.2}%", 100.0 * point.validation_accuracy);
        self.terminal.now_and_then(|| format!("step {}: {accuracy}", point.step));
        self.bar.set_message(accuracy);
    }

    fn cancelled(&self) -> bool {
        self.interrupt.requested()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
