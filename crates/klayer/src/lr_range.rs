use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use klayer_chart::{Mark, Panel, Scale, Swatch, file};
use klayer_cli::{Interrupt, Terminal, Watch, Watchers};
use klayer_experiments::lr_range::{RangeConfig, RangePoint, RangeTest, Suggestion, range_test, suggest};
use klayer_experiments::{Growth, Ramp};
use klayer_store::files;
use klayer_train::{AugmentConfig, BatchConfig, Data, NetworkConfig, OptimizerConfig, parse_count, parse_seed};
use serde_json::json;

use crate::Error;
use crate::config::ConfigArgs;
use crate::dataset_args::DatasetArgs;
use crate::outputs;
use crate::run_args::ThreadArgs;

/// Approximate number of rows of the table.
const ROWS: usize = 20;

/// Options of `klayer lr-range`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    klayer lr-range                                  raise the rate to 0.5 over 5 epochs\n  \
    klayer lr-range --hidden 100 --to 1 --figure range.svg --csv range.csv\n  \
    klayer lr-range --log --from 1e-5 --to 1         raise the rate exponentially, to see where learning starts\n\n\
    Trains a network while raising the learning rate at every step (Smith, 2017). The suggested eta_min is the rate at \
    which the validation accuracy starts to rise (10% of the way from chance to its best), eta_max the rate at which \
    the increase slows (95% of the way), the accuracy becomes ragged, or it starts to fall. The test ends early if \
    training diverges. No metrics are written during the test; --csv and --json output every point at the end. See \
    docs/lr-range.md for details.")]
pub(crate) struct LrRangeArgs {
    #[command(flatten)]
    network: NetworkConfig,
    #[command(flatten)]
    batch: BatchConfig,
    #[command(flatten)]
    augment: AugmentConfig,
    #[command(flatten)]
    optimizer: OptimizerConfig,
    /// Seed of the initial weights and of everything random during training
    #[arg(long, default_value_t = 42, value_parser = parse_seed)]
    seed: u64,
    /// Weight of the L2 penalty
    #[arg(long, default_value_t = 0.005)]
    lambda: f64,
    /// Learning rate of the first update step
    #[arg(long, value_name = "RATE", default_value_t = 1e-5)]
    from: f64,
    /// Learning rate of the last update step
    #[arg(long, value_name = "RATE", default_value_t = 0.5)]
    to: f64,
    /// Number of update steps
    #[arg(long, default_value_t = 2250, value_parser = parse_count::<u64>)]
    steps: u64,
    /// Raise the rate exponentially instead of linearly
    #[arg(long)]
    log: bool,
    /// Number of points to measure
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    points: u64,
    /// Plot loss and accuracy against the learning rate in this SVG file
    #[arg(long, value_name = "FILE")]
    figure: Option<PathBuf>,
    /// Write all points to this CSV file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    _config: ConfigArgs,
    /// Print the result, with all points, as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DatasetArgs,
}

impl LrRangeArgs {
    /// Validates the settings as far as possible without the images, and returns the configuration of the test.
    pub(crate) fn check(&self) -> Result<RangeConfig, Error> {
        let growth = if self.log { Growth::Exponential } else { Growth::Linear };
        let ramp = Ramp::new(self.from, self.to, self.steps, growth).map_err(klayer_experiments::Error::from)?;
        outputs::check([], self.figure.as_deref().into_iter().chain(self.csv.as_deref()))?;
        self.threads.check()?;
        let config = RangeConfig {
            network: self.network.clone(),
            batch: self.batch.clone(),
            augment: self.augment,
            optimizer: self.optimizer,
            lambda: self.lambda,
            seed: self.seed,
            ramp,
            every: (self.steps / self.points).max(1),
        };
        config.check()?;
        if let Some(dimensions) = self.data.dimensions() {
            config.check_for(&dimensions)?;
        }
        Ok(config)
    }

    pub(crate) fn run(self, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), Error> {
        let config = self.check()?;
        let par = self.threads.par()?;
        let dataset = self.data.load(config.seed, terminal, interrupt)?;
        let data = Data::normalized(dataset, config.batch.normalize)?;
        let watchers = Watchers::default();
        let watch = watchers.run(None, "range test", (self.steps, Watch::STEPS), terminal, interrupt);
        let test = range_test(&config, &data, &par, &watch)?;
        drop(watch);
        let accuracies: Vec<_> = test.points.iter().map(|point| (point.rate, point.validation_accuracy)).collect();
        let suggestion = suggest(&accuracies, 1.0 / data.dataset.class_names().len() as f64);

        if let Some(path) = &self.csv {
            files::write(path, csv(&test.points).as_bytes())?;
        }
        if let Some(path) = &self.figure {
            files::write(path, self.figure(&test, suggestion.as_ref().ok(), data.dataset.synthetic()).as_bytes())?;
        }
        let report = if self.json {
            let line = json!({
                "points": test.points,
                "diverged": test.diverged,
                "suggestion": suggestion.as_ref().ok(),
                "no_suggestion": suggestion.as_ref().err(),
                "synthetic": data.dataset.synthetic(),
            });
            format!("{line}\n")
        } else {
            table(&test, &suggestion, data.dataset.synthetic())
        };
        io::stdout().write_all(report.as_bytes()).map_err(Error::Output)
    }

    fn figure(&self, test: &RangeTest, suggestion: Option<&Suggestion>, synthetic: bool) -> String {
        let points = |value: fn(&RangePoint) -> f64| -> Vec<(f64, f64)> {
            test.points.iter().map(|point| (point.rate, value(point))).collect()
        };
        let name = if self.log { "learning rate (logarithmic axis)" } else { "learning rate" };
        let rates = if self.log { Scale::log_around([self.from, self.to]) } else { Scale::Linear(0.0, self.to) };
        let bounds = || {
            let bounds = suggestion.into_iter().flat_map(|found| [found.eta_min, found.eta_max]);
            let diverged = test.diverged.iter().map(|diverged| Mark::Upright(diverged.rate, "missing"));
            bounds.map(|rate| Mark::Upright(rate, "rule")).chain(diverged)
        };
        let panel = |title: &str, y, lines: Vec<Mark>| {
            let alt = format!("{title} against the learning rate.");
            Panel { title: title.into(), alt, x: (rates.clone(), name), y, marks: bounds().chain(lines).collect() }
                .draw()
        };
        let (training, validation) = (points(|point| point.batch_loss), points(|point| point.validation_loss));
        // Losses far above the initial one would flatten the rest of the curve.
        let ceiling = 2.0 * training.first().map_or(1.0, |first| first.1);
        let losses = training.iter().chain(&validation).map(|point| point.1).filter(|&loss| loss <= ceiling);
        let accuracy = points(|point| 100.0 * point.validation_accuracy);
        let highest = accuracy.iter().map(|point| point.1).fold(10.0, f64::max);
        let panels = [
            panel(
                "Accuracy",
                (Scale::Linear(0.0, (highest / 10.0).ceil() * 10.0), "% of the validation images"),
                vec![Mark::Line(accuracy, "validation")],
            ),
            panel(
                "Loss",
                (Scale::around(losses), "cross-entropy"),
                vec![Mark::Line(training, "training"), Mark::Line(validation, "validation")],
            ),
        ];
        let mut legend = vec![
            (Swatch::Line("training"), "training, mini-batches".to_owned()),
            (Swatch::Line("validation"), "validation".to_owned()),
        ];
        if suggestion.is_some() {
            legend.push((Swatch::Line("rule"), "suggested eta_min and eta_max".to_owned()));
        }
        if test.diverged.is_some() {
            legend.push((Swatch::Line("missing"), "diverged".to_owned()));
        }
        let stamps: &[String] = if synthetic { &["synthetic stand-in, not CIFAR-10".to_owned()] } else { &[] };
        file("Learning-rate range test", stamps, &legend, &panels)
    }
}

fn csv(points: &[RangePoint]) -> String {
    let mut text = "step,rate,batch_loss,validation_loss,validation_accuracy\n".to_owned();
    for RangePoint { step, rate, batch_loss, validation_loss, validation_accuracy } in points {
        let _ = writeln!(text, "{step},{rate:?},{batch_loss:?},{validation_loss:?},{validation_accuracy:?}");
    }
    text
}

fn table(test: &RangeTest, suggestion: &Result<Suggestion, String>, synthetic: bool) -> String {
    let mut text = format!("{:>10}  {:>13}  {:>15}  {:>8}\n", "rate", "training loss", "validation loss", "accuracy");
    let every = test.points.len().div_ceil(ROWS).max(1);
    for point in test.points.iter().rev().step_by(every).collect::<Vec<_>>().into_iter().rev() {
        let _ = writeln!(
            text,
            "{:>10.2e}  {:>13.4}  {:>15.4}  {:>7.2}%",
            point.rate,
            point.batch_loss,
            point.validation_loss,
            100.0 * point.validation_accuracy
        );
    }
    if let Some(diverged) = &test.diverged {
        let _ = writeln!(text, "diverged at step {}, at learning rate {:.2e}", diverged.step, diverged.rate);
    }
    let _ = match suggestion {
        Ok(Suggestion { eta_min, eta_max, reason }) => {
            writeln!(text, "\nsuggestion: --eta-min {eta_min:.2e} --eta-max {eta_max:.2e}\n{reason}")
        }
        Err(reason) => writeln!(text, "\nno suggestion: {reason}"),
    };
    if synthetic {
        text.push_str("on generated images, not CIFAR-10\n");
    }
    text
}
