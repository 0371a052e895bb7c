//! Assembles the results from the records.

use std::collections::BTreeMap;

use klayer_experiments::Error;
use klayer_experiments::gradients::{GradientConfig, GradientRecord};
use klayer_experiments::search::best;
use klayer_experiments::statistics::{deviation, mean};
use klayer_store::{Recorded, Store};
use klayer_train::record::{self, RunRecord};
use serde::{Deserialize, Serialize};

use crate::findings::findings;
use crate::paper::{Paper, PaperSearch};
use crate::results::{
    Confusion, DatasetInfo, Environment, Final, GradientCheck, GradientRow, LossRun, Noise, Point, Results, SCHEMA,
    Search, Sensitivity, Trial,
};
use crate::study::{Network, Study};

/// The data of a report other than its runs; stored with their records, so that the report can be rendered again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) quick: bool,
    pub(crate) seed: u64,
    pub(crate) dataset: DatasetInfo,
    pub(crate) classes: Vec<String>,
    pub(crate) environment: Environment,
    /// Wall-clock seconds by section.
    pub(crate) seconds: BTreeMap<String, f64>,
}

/// The results of the finished sections. A section with a missing record is omitted.
pub(crate) fn assemble(manifest: &Manifest, paper: &Paper, store: &Store) -> Result<Results, Error> {
    let study = Study::new(paper, manifest.seed, manifest.quick);
    let records = Records { store, dataset: &manifest.dataset };

    let (networks, configs): (Vec<_>, Vec<_>) = study.gradients().into_iter().unzip();
    let gradients = records.of(&configs)?;
    let (loss_networks, loss) = study.loss()?.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let loss = records.of(&loss)?;
    let coarse = records.of(&study.coarse()?)?;
    let fine = records.of(&study.fine()?)?;
    let chosen = fine.as_deref().and_then(best).map(|record| record.config.lambda);
    let noise = match chosen {
        Some(lambda) => records.of(&study.noise(lambda)?)?,
        None => None,
    };

    let mut results = Results {
        schema: SCHEMA,
        quick: manifest.quick,
        seed: manifest.seed,
        dataset: manifest.dataset.clone(),
        environment: manifest.environment.clone(),
        settings: study.settings()?,
        seconds: manifest.seconds.clone(),
        gradient_check: gradients.as_ref().map(|_| gradient_check(&configs[0])),
        gradients: networks.iter().zip(gradients.iter().flatten()).flat_map(gradient_rows).collect(),
        loss: loss_networks.iter().zip(loss.iter().flatten()).map(loss_run).collect(),
        coarse: coarse.map(|records| search(&paper.coarse, &records, None)),
        fine: fine.map(|records| search(&paper.fine, &records, noise.as_deref())),
        finals: Vec::new(),
        sensitivity: Vec::new(),
        findings: Vec::new(),
    };
    for (lambda, origin) in
        chosen.map(|lambda| (lambda, "fine search")).into_iter().chain([(paper.final_.lambda, "paper")])
    {
        if let Some(runs) = records.of(&study.finals(lambda)?)? {
            results.finals.extend(final_row(lambda, origin, &runs, &manifest.classes));
        }
    }
    let groups = study.sensitivity()?.into_iter().map(|(sigma, batch_norm, configs)| {
        Ok(records.of(&configs)?.map(|runs| sensitivity_row(sigma, batch_norm, &runs)))
    });
    results.sensitivity = groups.collect::<Result<Option<_>, Error>>()?.unwrap_or_default();
    results.findings = findings(&results, paper);
    Ok(results)
}

/// The records of one dataset.
struct Records<'a> {
    store: &'a Store,
    dataset: &'a DatasetInfo,
}

impl Records<'_> {
    /// The records of `jobs`; `None` if one is missing.
    fn of<J: Recorded>(&self, jobs: &[J]) -> Result<Option<Vec<J::Record>>, Error> {
        match self.store.records(jobs, &self.dataset.sha256) {
            Err(klayer_store::Error::Missing { .. }) => Ok(None),
            records => Ok(Some(records?)),
        }
    }
}

fn gradient_check(config: &GradientConfig) -> GradientCheck {
    GradientCheck { images: config.batch.size, step: config.step, floor: config.floor }
}

fn gradient_rows((network, record): (&Network, &GradientRecord)) -> Vec<GradientRow> {
    let rows = record.rows.iter().map(|row| GradientRow {
        network: network.0.to_owned(),
        batch_norm: record.config.network.batch_norm,
        lambda: row.lambda,
        layer: row.layer,
        parameter: row.parameter.clone(),
        checked: row.checked,
        kinks: row.kinks,
        sum_numerical: row.sum_numerical,
        sum_analytic: row.sum_analytic,
        sum_error: row.sum_relative_error,
        max_relative_error: row.max_relative_error,
        max_absolute_error: row.max_absolute_error,
    });
    rows.collect()
}

fn loss_run((network, record): (&Network, &RunRecord)) -> LossRun {
    LossRun {
        network: network.0.to_owned(),
        batch_norm: record.config.network.batch_norm,
        lambda: record.config.lambda,
        curve: curve(record),
        validation_accuracy: record.last().and_then(|point| point.validation_accuracy),
    }
}

/// The points of a run that have a training loss and validation results.
fn curve(record: &RunRecord) -> Vec<Point> {
    let points = record.curve.iter().filter_map(|point| {
        Some(Point {
            step: point.step,
            training_loss: point.training_loss?,
            training_cost: point.training_cost?,
            validation_loss: point.validation_loss?,
            validation_cost: point.validation_cost?,
            validation_accuracy: point.validation_accuracy?,
        })
    });
    points.collect()
}

fn search(paper: &PaperSearch, records: &[RunRecord], noise: Option<&[RunRecord]>) -> Search {
    let trials = records.iter().map(|record| Trial {
        lambda: record.config.lambda,
        seed: record.config.seed,
        validation_accuracy: record.last().and_then(|point| point.validation_accuracy),
    });
    let noise = noise.map(|records| {
        let (seeds, accuracies): (Vec<u64>, Vec<f64>) =
            records.iter().filter_map(|record| Some((record.config.seed, record.last()?.validation_accuracy?))).unzip();
        Noise {
            lambda: records[0].config.lambda,
            seeds,
            diverged: diverged(records),
            mean: mean(&accuracies),
            std: deviation(&accuracies),
            validation_accuracy: accuracies,
        }
    });
    // Without a finished repetition there is no mean and no band.
    let noise = noise.filter(|noise| !noise.validation_accuracy.is_empty());
    Search { from: paper.from, to: paper.to, cycles: paper.cycles, trials: trials.collect(), noise }
}

/// The final evaluation of one lambda; `None` if every run diverged.
fn final_row(lambda: f64, origin: &str, records: &[RunRecord], classes: &[String]) -> Option<Final> {
    let tested = || records.iter().filter_map(|record| Some((record.config.seed, record.test.as_ref()?)));
    let accuracies: Vec<f64> = tested().map(|(_, test)| test.accuracy).collect();
    let (seed, first) = tested().next()?;
    Some(Final {
        lambda,
        origin: origin.to_owned(),
        cycles: records[0].config.schedule.cycles,
        seeds: tested().map(|(seed, _)| seed).collect(),
        diverged: diverged(records),
        mean: mean(&accuracies),
        std: deviation(&accuracies),
        test_accuracy: accuracies,
        confusion: Some(Confusion { seed, classes: classes.to_vec(), counts: first.confusion.clone() }),
    })
}

fn sensitivity_row(sigma: f64, batch_norm: bool, records: &[RunRecord]) -> Sensitivity {
    let last = |figure: fn(&record::Point) -> Option<f64>| {
        records.iter().map(|record| record.last().and_then(figure)).collect()
    };
    Sensitivity {
        sigma,
        batch_norm,
        lambda: records[0].config.lambda,
        seeds: seeds(records),
        final_training_loss: last(|point| point.training_loss),
        final_validation_loss: last(|point| point.validation_loss),
        final_validation_accuracy: last(|point| point.validation_accuracy),
        curves: records.iter().map(curve).collect(),
    }
}

fn seeds(records: &[RunRecord]) -> Vec<u64> {
    records.iter().map(|record| record.config.seed).collect()
}

fn diverged(records: &[RunRecord]) -> Vec<u64> {
    records.iter().filter(|record| record.diverged.is_some()).map(|record| record.config.seed).collect()
}
