//! The runs of the report: the paper's settings, in the full or the quick form.

use klayer_experiments::Error;
use klayer_experiments::gradients::GradientConfig;
use klayer_experiments::search::log_uniform;
use klayer_train::{BatchConfig, Init, NetworkConfig, RunConfig, ScheduleConfig};

use crate::paper::{Paper, PaperSearch};
use crate::results::Settings;

/// The name and the hidden widths of a network. The paper does not print the widths; these are the coursework's.
pub(crate) type Network = (&'static str, &'static [usize]);

pub(crate) const TWO_LAYER: Network = ("2-layer", &[50]);
pub(crate) const THREE_LAYER: Network = ("3-layer", &[50, 50]);
pub(crate) const NINE_LAYER: Network = ("9-layer", &[50, 30, 20, 20, 10, 10, 10, 10]);

/// All runs of a report.
#[derive(Debug)]
pub(crate) struct Study<'a> {
    paper: &'a Paper,
    seed: u64,
    size: &'static Size,
}

/// The settings that differ between the full and the quick form.
#[derive(Debug)]
struct Size {
    /// Replaces the paper's n_s.
    n_s: Option<u64>,
    /// Images of a gradient check.
    gradient_images: usize,
    /// Points per cycle of the curves in a loss figure.
    loss_points: u64,
    /// Points per cycle of all other curves.
    points: u64,
    /// Number of training images used to compute the training loss.
    training_sample: usize,
    coarse_trials: usize,
    fine_trials: usize,
    noise_seeds: u64,
    final_seeds: u64,
    sensitivity_seeds: u64,
}

const FULL: Size = Size {
    n_s: None,
    gradient_images: 100,
    loss_points: 20,
    points: 5,
    training_sample: 5_000,
    coarse_trials: 20,
    fine_trials: 20,
    noise_seeds: 5,
    final_seeds: 5,
    sensitivity_seeds: 3,
};

const QUICK: Size = Size {
    n_s: Some(50),
    gradient_images: 20,
    loss_points: 10,
    points: 2,
    training_sample: 1_000,
    coarse_trials: 4,
    fine_trials: 4,
    noise_seeds: 2,
    final_seeds: 2,
    sensitivity_seeds: 1,
};

/// The step of the central differences: smaller steps increase rounding errors, larger ones the truncation error.
const GRADIENT_STEP: f64 = 1e-5;
/// The floor of the relative error: below it, the comparison is absolute, with a tolerance of 1e-6 times the floor.
const GRADIENT_FLOOR: f64 = 1e-4;
/// Images in a mini-batch.
const BATCH: usize = 100;

impl<'a> Study<'a> {
    pub(crate) fn new(paper: &'a Paper, seed: u64, quick: bool) -> Self {
        Self { paper, seed, size: if quick { &QUICK } else { &FULL } }
    }

    /// The settings of all training runs.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        let RunConfig { batch, schedule, .. } = self.run(THREE_LAYER, self.paper.final_.lambda, 1)?;
        let ScheduleConfig { eta_min, eta_max, n_s, .. } = schedule;
        Ok(Settings { batch: batch.size, eta_min, eta_max, n_s })
    }

    /// Section 3.1: every network with and without batch norm, each without and with the L2 penalty.
    pub(crate) fn gradients(&self) -> Vec<(Network, GradientConfig)> {
        let networks = [TWO_LAYER, THREE_LAYER, NINE_LAYER];
        let cases = networks.into_iter().flat_map(|network| [(network, true), (network, false)]);
        let jobs = cases.map(|(network, batch_norm)| {
            let config = GradientConfig {
                network: of(network, batch_norm),
                batch: BatchConfig { size: self.size.gradient_images, ..BatchConfig::default() },
                step: GRADIENT_STEP,
                floor: GRADIENT_FLOOR,
                lambdas: vec![0.0, self.paper.loss.assumed_lambda],
                seed: self.seed,
                features: None,
            };
            (network, config)
        });
        jobs.collect()
    }

    /// Section 3.2: Figures 1 and 2 with the printed lambda, and again with the lambda that was probably intended.
    pub(crate) fn loss(&self) -> Result<Vec<(Network, RunConfig)>, Error> {
        let loss = &self.paper.loss;
        let mut jobs = Vec::new();
        for lambda in [loss.lambda, loss.assumed_lambda] {
            for network in [THREE_LAYER, NINE_LAYER] {
                for batch_norm in [true, false] {
                    let run = self.run(network, lambda, loss.cycles)?;
                    jobs.push((network, RunConfig { network: of(network, batch_norm), ..self.with_curve(run) }));
                }
            }
        }
        Ok(jobs)
    }

    /// Section 3.3.
    pub(crate) fn coarse(&self) -> Result<Vec<RunConfig>, Error> {
        self.search("coarse search", &self.paper.coarse, self.size.coarse_trials)
    }

    /// Section 3.4.
    pub(crate) fn fine(&self) -> Result<Vec<RunConfig>, Error> {
        self.search("fine search", &self.paper.fine, self.size.fine_trials)
    }

    fn search(&self, name: &str, search: &PaperSearch, trials: usize) -> Result<Vec<RunConfig>, Error> {
        let lambdas = log_uniform(self.seed, name, search.from, search.to, trials)?;
        lambdas.into_iter().map(|lambda| self.run(THREE_LAYER, lambda, search.cycles)).collect()
    }

    /// Section 3.4: repeats `lambda` with seeds that the search did not use.
    pub(crate) fn noise(&self, lambda: f64) -> Result<Vec<RunConfig>, Error> {
        let run = self.run(THREE_LAYER, lambda, self.paper.fine.cycles)?;
        let seeds = (1..=self.size.noise_seeds).map(|i| self.seed.wrapping_add(i));
        Ok(seeds.map(|seed| RunConfig { seed, ..run.clone() }).collect())
    }

    /// Section 3.5: several seeds of `lambda`, evaluated on the test images.
    pub(crate) fn finals(&self, lambda: f64) -> Result<Vec<RunConfig>, Error> {
        let run = RunConfig { test: true, ..self.run(THREE_LAYER, lambda, self.paper.final_.cycles)? };
        let seeds = (0..self.size.final_seeds).map(|i| self.seed.wrapping_add(i));
        Ok(seeds.map(|seed| RunConfig { seed, ..run.clone() }).collect())
    }

    /// Section 3.6: for each sigma, with and without batch norm, several seeds.
    pub(crate) fn sensitivity(&self) -> Result<Vec<(f64, bool, Vec<RunConfig>)>, Error> {
        let run = self.run(NINE_LAYER, self.paper.final_.lambda, self.paper.sensitivity.cycles)?;
        let run = self.with_curve(run);
        let sigmas = self.paper.sensitivity.sigmas.iter();
        let cases = sigmas.flat_map(|&sigma| [(sigma, true), (sigma, false)]);
        let groups = cases.map(|(sigma, batch_norm)| {
            let seeds = (0..self.size.sensitivity_seeds).map(|i| self.seed.wrapping_add(i));
            let network = NetworkConfig { init: Init::Normal { sigma }, ..of(NINE_LAYER, batch_norm) };
            let run = RunConfig { network, ..run.clone() };
            (sigma, batch_norm, seeds.map(|seed| RunConfig { seed, ..run.clone() }).collect())
        });
        Ok(groups.collect())
    }

    fn run(&self, network: Network, lambda: f64, cycles: u64) -> Result<RunConfig, Error> {
        let loss = &self.paper.loss;
        let n_s = self.size.n_s.unwrap_or(loss.n_s);
        let run = RunConfig {
            network: of(network, true),
            lambda,
            schedule: ScheduleConfig {
                eta_min: loss.eta_min,
                eta_max: loss.eta_max,
                n_s,
                cycles,
                ..ScheduleConfig::default()
            },
            batch: BatchConfig { size: BATCH, ..BatchConfig::default() },
            seed: self.seed,
            validate_every: Some(2 * n_s / self.size.points),
            ..RunConfig::default()
        };
        run.check()?;
        Ok(run)
    }

    /// The same run with the points of a loss figure.
    fn with_curve(&self, run: RunConfig) -> RunConfig {
        RunConfig {
            validate_every: Some(2 * run.schedule.n_s / self.size.loss_points),
            training_sample: Some(self.size.training_sample),
            ..run
        }
    }
}

/// The settings of a network of the paper.
fn of(network: Network, batch_norm: bool) -> NetworkConfig {
    NetworkConfig { hidden: network.1.to_vec().into(), batch_norm, ..NetworkConfig::default() }
}
