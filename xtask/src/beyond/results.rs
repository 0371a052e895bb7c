//! The results of the chapter "Beyond the paper", from its records: the contents of its `results.json`.

use std::collections::BTreeSet;

use klayer_dataset::Normalize;
use klayer_experiments::Error;
use klayer_store::{Recorded as _, Store};
use klayer_train::Evaluation;
use klayer_train::inspect::Mistake;
use klayer_train::record::Point;
use serde::{Deserialize, Serialize};

use super::evaluated::{Evaluated, EvaluatedRecord};
use super::study::{Group, Published, Study};
use crate::results::{DatasetInfo, Environment};

/// The dataset and the machine of a chapter; stored with its records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) quick: bool,
    pub(crate) dataset: DatasetInfo,
    /// The same dataset with all training images.
    pub(crate) all: DatasetInfo,
    pub(crate) classes: Vec<String>,
    pub(crate) environment: Environment,
}

/// The whole chapter; see [`Results::new`] for what is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    #[serde(flatten)]
    pub(crate) manifest: Manifest,
    pub(crate) ingredients: Vec<Row>,
    pub(crate) left_out: Vec<Row>,
    pub(crate) paper: Vec<Row>,
    pub(crate) whitening: Vec<Row>,
    pub(crate) recipes: Vec<Row>,
    pub(crate) smaller: Vec<Row>,
    /// Operations of the recipe `day`, which is not run.
    pub(crate) day: f64,
    pub(crate) published: Vec<Published>,
}

/// The runs of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Operations of the matrix products of all update steps of a run.
    pub(crate) operations: f64,
    /// Widths of the hidden layers.
    pub(crate) hidden: String,
    /// Images in a mini-batch.
    pub(crate) batch: usize,
    /// Update steps.
    pub(crate) steps: u64,
    /// Processors of the runs, each once.
    pub(crate) processors: BTreeSet<String>,
    pub(crate) runs: Vec<Trained>,
    /// Curve of the first run, if it has training losses.
    pub(crate) curve: Vec<Point>,
    /// Confusion matrix of the first run over 18 views of the test images, if it has details.
    pub(crate) confusion: Option<Vec<Vec<u64>>>,
    /// Pictures of weights of the first run, in hexadecimal, if it has training losses and whitened inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) weights: Vec<String>,
    /// The most confident mistakes of the first run, if it has details.
    pub(crate) mistakes: Vec<Mistake>,
}

/// A run. Accuracies are `None` without such images, or if the run diverged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trained {
    pub(crate) seed: u64,
    /// Seconds of the training loop.
    pub(crate) seconds: f64,
    pub(crate) threads: usize,
    pub(crate) diverged: bool,
    pub(crate) validation: Option<f64>,
    /// Accuracy over 18 views of each validation image.
    pub(crate) validation_views: Option<f64>,
    pub(crate) test: Option<f64>,
    /// Accuracy over 18 views of each test image.
    pub(crate) test_views: Option<f64>,
}

impl Results {
    /// The results of the records in `store`. A section of comparisons with a missing record is empty; of the others,
    /// missing runs are left out.
    pub(crate) fn new(manifest: Manifest, study: &Study, store: &Store) -> Result<Self, Error> {
        let part = &manifest.dataset.sha256;
        let whole = |groups: &[Group]| -> Result<Vec<Row>, Error> {
            let rows = rows(groups, store, part)?;
            let complete = rows.len() == groups.len()
                && rows.iter().zip(groups).all(|(row, group)| row.runs.len() == group.runs.len());
            Ok(if complete { rows } else { Vec::new() })
        };
        Ok(Self {
            ingredients: whole(&study.ingredients)?,
            left_out: whole(&study.left_out)?,
            paper: rows(&study.paper, store, part)?,
            whitening: whole(&study.whitening)?,
            recipes: rows(&study.recipes, store, &manifest.all.sha256)?,
            smaller: rows(&study.smaller, store, &manifest.all.sha256)?,
            day: study.day,
            published: study.published.clone(),
            manifest,
        })
    }

    /// The sections with their names.
    pub(crate) fn sections(&self) -> [(&'static str, &[Row]); 6] {
        [
            ("recipes", &self.recipes),
            ("ingredients", &self.ingredients),
            ("ingredients left out", &self.left_out),
            ("the paper’s settings", &self.paper),
            ("smaller recipes", &self.smaller),
            ("whitening", &self.whitening),
        ]
    }
}

/// A row for each group, of its runs that are in the store.
fn rows(groups: &[Group], store: &Store, sha256: &str) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for group in groups {
        let records = group.runs.iter().map(|run| store.record::<Evaluated>(&run.key(sha256)?));
        let records: Vec<_> = records.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if !records.is_empty() {
            rows.push(row(&group.name, &records));
        }
    }
    Ok(rows)
}

fn row(name: &str, records: &[EvaluatedRecord]) -> Row {
    let first = &records[0];
    let config = &first.run.config;
    let trained = |record: &EvaluatedRecord| {
        let accuracy = |evaluation: &Option<Evaluation>| evaluation.as_ref().map(|evaluation| evaluation.accuracy);
        Trained {
            seed: record.run.config.seed,
            seconds: record.run.seconds,
            threads: record.threads,
            diverged: record.run.diverged.is_some(),
            validation: record.run.last().and_then(|point| point.validation_accuracy),
            validation_views: record.validation_views,
            test: accuracy(&record.run.test),
            test_views: accuracy(&record.test_views),
        }
    };
    let curve = first.run.curve.iter().filter(|point| point.training_loss.is_some());
    let curve: Vec<Point> = curve.copied().collect();
    let (weights, mistakes) = first.details.clone().map(|all| (all.weights, all.mistakes)).unwrap_or_default();
    let shown = !curve.is_empty() && matches!(config.batch.normalize, Normalize::Whiten { .. });
    let views = first.test_views.as_ref().filter(|_| first.details.is_some());
    Row {
        name: name.to_owned(),
        operations: first.operations,
        hidden: config.network.hidden.to_string(),
        batch: config.batch.size,
        steps: first.steps,
        processors: records.iter().map(|record| record.run.environment.processor.clone()).collect(),
        runs: records.iter().map(trained).collect(),
        curve,
        confusion: views.map(|evaluation| evaluation.confusion.clone()),
        weights: if shown { weights } else { Vec::new() },
        mistakes,
    }
}
