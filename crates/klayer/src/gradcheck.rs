use std::fmt::Write as _;
use std::io::{self, Write};

use clap::Args;
use klayer_cli::{Interrupt, Terminal, Watchers};
use klayer_experiments::gradients::{GradientConfig, GradientRecord};
use klayer_experiments::runs::Job;
use klayer_train::{BatchConfig, Data, NetworkConfig, parse_seed};
use serde_json::json;

use crate::Error;
use crate::config::ConfigArgs;
use crate::dataset_args::DatasetArgs;
use crate::run_args::parse_positive;

/// Options of `klayer gradcheck`.
#[derive(Debug, Args)]
#[command(mut_arg("batch", |batch| batch.help("Number of images in the mini-batch (the first training images)")))]
#[command(after_help = "Examples:\n  \
    klayer gradcheck                                      check every parameter of the default network\n  \
    klayer gradcheck --hidden 20,10 --no-bn --lambda 0.1\n  \
    klayer gradcheck --hidden 1000 --features 64          check a large network on a part of each image\n\n\
    Compares the analytic gradient ga with the central difference gn in f64. The relative error is \
    |ga - gn| / max(eps, |ga| + |gn|). Parameters whose step moves the input of a ReLU across 0 are skipped and counted \
    as kinks. The exit status is 1 if the largest error exceeds the tolerance.")]
pub(crate) struct GradcheckArgs {
    #[command(flatten)]
    network: NetworkConfig,
    #[command(flatten)]
    batch: BatchConfig,
    /// Seed of the weights
    #[arg(long, default_value_t = 42, value_parser = parse_seed)]
    seed: u64,
    /// Weights of the L2 penalty, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "0,0.005")]
    lambda: Vec<f64>,
    /// Step of the central differences
    #[arg(long, value_name = "STEP", default_value_t = 1e-5)]
    h: f64,
    /// Smallest denominator of the relative error
    #[arg(long, default_value_t = 1e-4)]
    eps: f64,
    /// Largest accepted relative error
    #[arg(long, value_name = "ERROR", default_value_t = 1e-6)]
    tolerance: f64,
    /// Number of leading features of each image to use [default: all]
    #[arg(long, value_parser = parse_positive)]
    features: Option<usize>,
    #[command(flatten)]
    _config: ConfigArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DatasetArgs,
}

impl GradcheckArgs {
    /// Validates the settings as far as possible without the images, and returns the configuration of the check.
    pub(crate) fn check(&self) -> Result<GradientConfig, Error> {
        for (name, value) in [("eps", self.eps), ("the tolerance", self.tolerance)] {
            if !(value.is_finite() && value > 0.0) {
                let needed = "it must be greater than 0".to_owned();
                let value = value.to_string();
                return Err(klayer_train::Error::Setting { name, value, needed }.into());
            }
        }
        let config = GradientConfig {
            network: self.network.clone(),
            batch: self.batch.clone(),
            step: self.h,
            floor: self.eps,
            lambdas: self.lambda.clone(),
            seed: self.seed,
            features: self.features,
        };
        config.check()?;
        if let Some(dimensions) = self.data.dimensions() {
            config.check_for(&dimensions)?;
        }
        Ok(config)
    }

    pub(crate) fn run(self, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), Error> {
        let config = self.check()?;
        let dataset = self.data.load(config.seed, terminal, interrupt)?;
        let data = Data::normalized(dataset, config.batch.normalize)?;
        let bar = (config.work(&data)?, "{bar:40} {pos}/{len} parameters  {eta} left");
        let watchers = Watchers::default();
        let watch = watchers.run(None, "gradients", bar, terminal, interrupt);
        let record = config.run(&data, &watch)?;
        drop(watch);
        let largest = record.rows.iter().map(|row| row.max_relative_error).fold(0.0, f64::max);
        let passed = largest <= self.tolerance;
        let report = if self.json {
            let line = json!({
                "passed": passed,
                "max_relative_error": largest,
                "tolerance": self.tolerance,
                "config": record.config,
                "dataset": record.dataset,
                "rows": record.rows,
            });
            format!("{line}\n")
        } else {
            table(&record, largest)
        };
        io::stdout().write_all(report.as_bytes()).map_err(Error::Output)?;
        if passed { Ok(()) } else { Err(Error::GradientsDiffer { largest, tolerance: self.tolerance }) }
    }
}

fn table(record: &GradientRecord, largest: f64) -> String {
    let mut text = format!(
        "{:>8}  layer  {:9}  {:>8}  {:>5}  {:>10}  {:>10}  {:>10}\n",
        "lambda", "parameter", "checked", "kinks", "mean error", "max error", "max |diff|"
    );
    for row in &record.rows {
        let _ = writeln!(
            text,
            "{:>8}  {:>5}  {:9}  {:>8}  {:>5}  {:>10.1e}  {:>10.1e}  {:>10.1e}",
            row.lambda,
            row.layer,
            row.parameter,
            row.checked,
            row.kinks,
            row.sum_relative_error / row.checked.max(1) as f64,
            row.max_relative_error,
            row.max_absolute_error
        );
    }
    let on = if record.dataset.synthetic { " on generated images, not CIFAR-10" } else { "" };
    let _ = writeln!(text, "largest relative error {largest:.1e}, in {:.1} s{on}", record.seconds);
    text
}
