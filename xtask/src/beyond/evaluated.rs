//! Training runs whose networks are also evaluated over views.

use klayer_dataset::{Subset, View};
use klayer_experiments::Error;
use klayer_experiments::runs::{Job, Task};
use klayer_store::Recorded;
use klayer_train::inspect::{Mistake, mistakes, weight_pictures};
use klayer_train::record::RunRecord;
use klayer_train::{Classifier, Data, Evaluation, Par, RunConfig, Trained, evaluate_probabilities};
use serde::{Deserialize, Serialize};

/// Units of the first layer that are drawn.
const UNITS: usize = 24;
/// Most confident mistakes that are listed.
const MISTAKES: usize = 25;

/// A run to train and evaluate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evaluated {
    pub(crate) run: RunConfig,
    /// Whether the record has the weights of the first layer and the mistakes.
    pub(crate) details: bool,
    /// Largest number of validation or test images to evaluate over views; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) images: Option<usize>,
}

/// The record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EvaluatedRecord {
    pub(crate) settings: Evaluated,
    pub(crate) run: RunRecord,
    /// Number of update steps.
    pub(crate) steps: u64,
    /// Operations of the matrix products of all update steps.
    pub(crate) operations: f64,
    /// Threads that the run used, which its time depends on.
    pub(crate) threads: usize,
    /// Accuracy over 18 views of each validation image, if there are any and the run did not diverge.
    pub(crate) validation_views: Option<f64>,
    /// Results over 18 views of each test image, if the run did not diverge.
    pub(crate) test_views: Option<Evaluation>,
    pub(crate) details: Option<Details>,
}

/// Parts of a trained network to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Weights of the first units of the first layer, for the pixels of an image: for each, its
    /// [`weight_pictures`] in hexadecimal.
    pub(crate) weights: Vec<String>,
    /// The misclassified test images with the highest probability over 18 views.
    pub(crate) mistakes: Vec<Mistake>,
}

impl Recorded for Evaluated {
    type Record = EvaluatedRecord;
    const KIND: &'static str = "evaluated run";

    fn origin(record: &EvaluatedRecord) -> (&Self, &str) {
        (&record.settings, &record.run.dataset.sha256)
    }
}

impl Job for Evaluated {
    fn threads(data: &Data) -> usize {
        RunConfig::threads(data)
    }

    fn work(&self, data: &Data) -> Result<u64, Error> {
        self.run.work(data)
    }

    fn compute(task: &Task<'_, Self>, data: &Data, par: &Par) -> Result<EvaluatedRecord, Error> {
        task.job.record(task.train(&task.job.run, data, par)?, data, par)
    }
}

impl Evaluated {
    /// The images to evaluate over views.
    fn chosen<'a>(&self, images: Subset<'a>) -> Subset<'a> {
        self.images.map_or(images, |most| images.first(most.min(images.len())))
    }

    /// The record of a trained network.
    fn record(&self, trained: Trained<f32>, data: &Data, par: &Par) -> Result<EvaluatedRecord, Error> {
        let dimensions = data.dataset.dimensions();
        let (steps, operations) = (self.run.steps(dimensions.training), self.run.operations(&dimensions)?);
        let (mut validation_views, mut test_views, mut details) = (None, None, None);
        if trained.diverged.is_none() {
            let shape = dimensions.shape;
            let views = View::all(shape, true, &View::SHIFTS).map_err(klayer_train::Error::from)?;
            let mut classifier = Classifier::new(&trained.network, &data.normalization, par.clone());
            let (validation, test) = (self.chosen(data.dataset.validation()), self.chosen(data.dataset.test()));
            if !validation.is_empty() {
                validation_views = Some(par.install(|| classifier.evaluate_views(validation, &views))?.accuracy);
            }
            let probabilities = par.install(|| classifier.view_probabilities(test.images(), shape, &views))?;
            test_views = Some(evaluate_probabilities(test, &probabilities, dimensions.classes));
            if self.details {
                let weights = weight_pictures(&trained.network, &data.normalization);
                details = Some(Details {
                    weights: weights.iter().take(UNITS).map(|picture| hexadecimal(picture)).collect(),
                    mistakes: mistakes(test, &probabilities, MISTAKES),
                });
            }
        }
        Ok(EvaluatedRecord {
            settings: self.clone(),
            run: trained.record(&self.run, data),
            steps,
            operations,
            threads: par.count(),
            validation_views,
            test_views,
            details,
        })
    }
}

fn hexadecimal(picture: &[u8]) -> String {
    picture.iter().map(|byte| format!("{byte:02x}")).collect()
}
