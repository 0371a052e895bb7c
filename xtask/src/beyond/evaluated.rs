//! Training runs whose networks are also evaluated over views.

use klayer_dataset::{Subset, View};
use klayer_experiments::Error;
use klayer_experiments::runs::{Job, Task};
use klayer_linalg::RowMajor;
use klayer_store::Recorded;
use klayer_train::record::RunRecord;
use klayer_train::{
    Classifier, Data, Evaluation, Observer, Par, Run, RunConfig, Trained, most_probable, train, train_from,
};
use serde::{Deserialize, Serialize};

/// The shifts of the views, in pixels, in both directions.
const SHIFTS: [i32; 3] = [-2, 0, 2];
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
    /// Accuracy over 18 views of each validation image, if there are any and the run did not diverge.
    pub(crate) validation_views: Option<f64>,
    /// Results over 18 views of each test image, if the run did not diverge.
    pub(crate) test_views: Option<Evaluation>,
    pub(crate) details: Option<Details>,
}

/// Parts of a trained network to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Weights of the first units of the first layer, for the pixels of an image: for each, its bytes in hexadecimal.
    /// 128 is 0, and the largest absolute weight of a unit is 1 or 255.
    pub(crate) weights: Vec<String>,
    /// The misclassified test images with the highest probability over 18 views.
    pub(crate) mistakes: Vec<Mistake>,
}

/// A misclassified image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mistake {
    /// Index of the test image, from 0.
    pub(crate) index: usize,
    pub(crate) class: usize,
    pub(crate) predicted: usize,
    /// Probability of the predicted class.
    pub(crate) probability: f64,
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

    fn run(&self, data: &Data, observer: &dyn Observer) -> Result<EvaluatedRecord, Error> {
        self.record(train(&self.run, data, &Par::Seq, observer)?, data, &Par::Seq)
    }

    fn go_on(task: &Task<'_, Self>, data: &Data, par: &Par) -> Result<EvaluatedRecord, Error> {
        let &Task { job, observer, ref checkpoints, ref metrics } = task;
        let run = Run { config: &job.run, observer, checkpoints: Some(checkpoints), metrics: Some(metrics) };
        job.record(train_from(&run, data, par)?, data, par)
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
            let views = View::all(shape, true, &SHIFTS).map_err(klayer_train::Error::from)?;
            let mut classifier = Classifier::new(&trained.network, &data.normalization, par.clone());
            let (validation, test) = (self.chosen(data.dataset.validation()), self.chosen(data.dataset.test()));
            if !validation.is_empty() {
                validation_views = Some(par.install(|| classifier.evaluate_views(validation, &views))?.accuracy);
            }
            test_views = Some(par.install(|| classifier.evaluate_views(test, &views))?);
            if self.details {
                let probabilities = par.install(|| classifier.view_probabilities(test.images(), shape, &views))?;
                details = Some(Details { weights: weights(&trained, data), mistakes: mistakes(test, &probabilities) });
            }
        }
        Ok(EvaluatedRecord {
            settings: self.clone(),
            run: trained.record(&self.run, data),
            steps,
            operations,
            validation_views,
            test_views,
            details,
        })
    }
}

/// The weights of the first units, for pixels: whitening is folded into them.
fn weights(trained: &Trained<f32>, data: &Data) -> Vec<String> {
    let first = &trained.network.layers()[0].affine;
    let folded;
    let weights: &RowMajor<f32> = if data.normalization.whitening().is_some() {
        folded = data.normalization.fold(&first.weight, &first.bias, 1.0).0;
        &folded
    } else {
        &first.weight
    };
    weights.rows().take(UNITS).map(hexadecimal).collect()
}

fn hexadecimal(weights: &[f32]) -> String {
    let largest = weights.iter().fold(0.0, |largest: f32, w| largest.max(w.abs())).max(f32::MIN_POSITIVE);
    weights.iter().map(|w| format!("{:02x}", (128.0 + 127.0 * w / largest).round() as u8)).collect()
}

fn mistakes(images: Subset<'_>, probabilities: &[Vec<f64>]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (index, (of_image, &label)) in probabilities.iter().zip(images.labels()).enumerate() {
        let (class, predicted) = (usize::from(label), most_probable(of_image));
        if class != predicted {
            mistakes.push(Mistake { index, class, predicted, probability: of_image[predicted] });
        }
    }
    mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    mistakes.truncate(MISTAKES);
    mistakes
}
