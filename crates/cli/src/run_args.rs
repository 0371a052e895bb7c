use std::num::NonZeroUsize;
use std::str::FromStr;
use std::thread;

use clap::Args;
use klayer_dataset::Dimensions;
use klayer_experiments::{Cyclical, Error, Init, Par, RunConfig};

/// Options of the network and its mini-batches.
#[derive(Debug, Clone, Args)]
pub(crate) struct NetworkArgs {
    /// Widths of the hidden layers, separated by commas, or "none"
    #[arg(long, value_name = "WIDTHS", default_value = "50,50", value_parser = parse_widths)]
    hidden: Widths,
    /// Disable batch norm
    #[arg(long)]
    no_bn: bool,
    /// Standard deviation of the initial weights, or "he" for sqrt(2 / inputs of the layer)
    #[arg(long, default_value = "he", value_parser = parse_init)]
    sigma: Init,
    /// Images per mini-batch
    #[arg(long, value_name = "IMAGES", default_value_t = 100, value_parser = parse_count::<usize>)]
    pub(crate) batch: usize,
    /// Seed of the initial weights and of the order of the images
    #[arg(long, default_value_t = 42, value_parser = parse_seed)]
    pub(crate) seed: u64,
}

/// Training options except lambda; the defaults are those of the report.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Number of cycles, each of 2 n_s update steps
    #[arg(long, default_value_t = 2, value_parser = parse_count::<u64>)]
    cycles: u64,
    /// Update steps in half a cycle: from the smallest to the largest learning rate, or back (n_s)
    #[arg(long, value_name = "STEPS", default_value_t = 2250, value_parser = parse_count::<u64>)]
    n_s: u64,
    /// Smallest learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-5)]
    eta_min: f64,
    /// Largest learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-1)]
    eta_max: f64,
    /// Update steps between validations [default: one epoch]
    #[arg(long, value_name = "STEPS", value_parser = parse_count::<u64>)]
    validate_every: Option<u64>,
}

/// Options for the number of threads.
#[derive(Debug, Clone, Args)]
pub(crate) struct ThreadArgs {
    /// Number of threads; has no effect on the results [default: all cores]
    #[arg(long, value_parser = parse_count::<NonZeroUsize>)]
    pub(crate) threads: Option<NonZeroUsize>,
}

impl ThreadArgs {
    pub(crate) fn count(&self) -> usize {
        self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }

    /// Rejects more threads than the system can run.
    pub(crate) fn check(&self) -> Result<(), Error> {
        Ok(Par::check(self.count())?)
    }

    pub(crate) fn par(&self) -> Result<Par, Error> {
        Ok(Par::threads(self.count())?)
    }
}

/// Widths of hidden layers.
#[derive(Debug, Clone)]
struct Widths(Vec<usize>);

fn parse_widths(text: &str) -> Result<Widths, String> {
    if text == "none" {
        return Ok(Widths(Vec::new()));
    }
    let widths = text.split(',').map(|width| match width.trim().parse() {
        Ok(0) | Err(_) => {
            Err(format!("'{width}' is not a width; expected integers of at least 1, as in 50,50, or none"))
        }
        Ok(width) => Ok(width),
    });
    widths.collect::<Result<_, _>>().map(Widths)
}

fn parse_init(text: &str) -> Result<Init, String> {
    if text == "he" {
        return Ok(Init::He);
    }
    text.parse().map(|sigma| Init::Normal { sigma }).map_err(|_| "expected a number or he".to_owned())
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected an integer from 0 to {}", u64::MAX))
}

/// Parses a count. Zero is accepted here and rejected when the settings are validated together.
pub(crate) fn parse_count<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "expected an integer of at least 1".to_owned())
}

/// Parses a count of at least 1.
pub(crate) fn parse_positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected an integer of at least 1".to_owned())
}

impl NetworkArgs {
    /// Widths of the hidden layers.
    pub(crate) fn hidden(&self) -> Vec<usize> {
        self.hidden.0.clone()
    }

    /// Whether hidden layers have batch norm.
    pub(crate) fn batch_norm(&self) -> bool {
        !self.no_bn
    }

    /// Initialization of the weights.
    pub(crate) fn init(&self) -> Init {
        self.sigma
    }

    /// The options as command-line arguments.
    fn arguments(&self) -> Vec<String> {
        let widths: Vec<_> = self.hidden.0.iter().map(usize::to_string).collect();
        let mut arguments = Vec::new();
        let mut push = |switch: &str, value: String| arguments.extend([switch.to_owned(), value]);
        push("--hidden", if widths.is_empty() { "none".to_owned() } else { widths.join(",") });
        push("--batch", self.batch.to_string());
        push("--seed", self.seed.to_string());
        if let Init::Normal { sigma } = self.sigma {
            push("--sigma", sigma.to_string());
        }
        if self.no_bn {
            arguments.push("--no-bn".to_owned());
        }
        arguments
    }
}

impl RunArgs {
    /// The configuration of a run on `data` with penalty `lambda`, evaluated on the test images if `test` is set; an
    /// error if the settings are invalid.
    pub(crate) fn config(&self, lambda: f64, test: bool, data: &Dimensions) -> Result<RunConfig, Error> {
        let epoch = (data.training / self.network.batch.max(1)).max(1) as u64;
        let config = RunConfig {
            hidden: self.network.hidden(),
            batch_norm: self.network.batch_norm(),
            init: self.network.init(),
            lambda,
            schedule: Cyclical::new(self.eta_min, self.eta_max, self.n_s)?,
            cycles: self.cycles,
            batch: self.network.batch,
            seed: self.network.seed,
            validate_every: self.validate_every.unwrap_or(epoch),
            training_sample: None,
            test,
        };
        config.check(data)?;
        Ok(config)
    }

    /// The options as command-line arguments that start the same training.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = self.network.arguments();
        let mut push = |switch: &str, value: String| arguments.extend([switch.to_owned(), value]);
        push("--cycles", self.cycles.to_string());
        push("--n-s", self.n_s.to_string());
        push("--eta-min", self.eta_min.to_string());
        push("--eta-max", self.eta_max.to_string());
        if let Some(steps) = self.validate_every {
            push("--validate-every", steps.to_string());
        }
        arguments
    }
}
