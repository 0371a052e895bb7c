use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use klayer_cli::{Interrupt, Terminal};
use klayer_dataset::{Dataset, Shape, Subset};
use klayer_export::safetensors;
use klayer_linalg::text::printable;
use klayer_store::files;
use klayer_train::model::ModelInfo;
use klayer_train::{Classifier, Evaluation, Evaluator, evaluate_probabilities, model};
use serde_json::json;

use crate::Error;
use crate::dataset_args::DatasetArgs;
use crate::outputs;
use crate::run_args::{ThreadArgs, ViewArgs};

/// Maximum number of classes listed in an error.
const NAMED: usize = 10;

/// Options of `klayer evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  klayer evaluate model.klayer --part validation\n  \
                        klayer evaluate model.klayer --views\n  \
                        klayer evaluate model.klayer --logits logits.safetensors")]
pub(crate) struct EvaluateArgs {
    /// Model file written by klayer train
    model: PathBuf,
    /// Images to evaluate the network on
    #[arg(long, value_enum, default_value_t = Part::Test)]
    part: Part,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Write the logits to this safetensors file
    ///
    /// It contains the tensors logits (images x classes) and labels.
    #[arg(long, value_name = "FILE", conflicts_with = "views")]
    logits: Option<PathBuf>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DatasetArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Part {
    Training,
    Validation,
    Test,
}

impl EvaluateArgs {
    pub(crate) fn run(self, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), Error> {
        let (network, info) = model::load(&self.model)?;
        outputs::check([self.model.as_path()], self.logits.as_deref())?;
        let dataset = images_of(&info, &self.data, terminal, interrupt)?;
        let par = self.threads.par()?;
        let images = self.part.of(&dataset)?;
        let normalizer = info.normalization.normalizer();
        let mut evaluator = Evaluator::new(network.architecture(), &normalizer, par.clone());
        let views = self.views.of(images.shape())?;
        let evaluation = if views.count() == 1 {
            par.install(|| evaluator.evaluate(&network, images))?
        } else {
            let mut classifier = Classifier::new(&network, &info.normalization, par.clone());
            let probabilities = views.probabilities(&mut classifier, images.images(), &par, interrupt)?;
            evaluate_probabilities(images, &probabilities, info.classes.len())
        };
        if let Some(path) = &self.logits {
            let logits = par.install(|| evaluator.logits(&network, images))?;
            let bytes = safetensors::encode_logits(&logits, images.labels())
                .map_err(|error| Error::Export { path: path.clone(), error })?;
            files::write(path, &bytes)?;
        }
        let report = if self.json {
            let line = json!({
                "images": images.len(),
                "views": views.count(),
                "synthetic": dataset.synthetic(),
                "loss": evaluation.loss,
                "accuracy": evaluation.accuracy,
                "classes": info.classes,
                "confusion": evaluation.confusion,
            });
            format!("{line}\n")
        } else {
            table(&evaluation, &info.classes, images.len(), views.count(), dataset.synthetic())
        };
        io::stdout().write_all(report.as_bytes()).map_err(Error::Output)
    }
}

impl Part {
    /// These images of `dataset`; an error if there are none.
    pub(crate) fn of(self, dataset: &Dataset) -> Result<Subset<'_>, Error> {
        let (part, images) = match self {
            Self::Training => ("training", dataset.training()),
            Self::Validation => ("validation", dataset.validation()),
            Self::Test => ("test", dataset.test()),
        };
        if !images.is_empty() {
            return Ok(images);
        }
        let hint = match self {
            Self::Validation => "; --validation N takes N training images, on which the model may have been trained",
            _ if dataset.validation().is_empty() => "",
            _ => "; --part validation uses the validation images",
        };
        Err(Error::NoPart { part, hint })
    }
}

/// Loads the images for a model. Fails if the dataset is another one, and warns if its checksum differs.
pub(crate) fn images_of(
    info: &ModelInfo,
    data: &DatasetArgs,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Dataset, Error> {
    let dataset = data.load_for(info, terminal, interrupt)?;
    let (name, shape, classes) = (dataset.name(), dataset.shape(), dataset.class_names());
    if (name, shape, classes) != (info.dataset.name.as_str(), info.images.shape, info.classes.as_slice()) {
        let model = describe(&info.dataset.name, info.images.shape, &info.classes);
        let hint = if info.dataset.synthetic { "; --synthetic generates the images of the model" } else { "" };
        return Err(Error::OtherDataset { model, images: describe(name, shape, classes), hint });
    }
    if dataset.sha256() != info.dataset.sha256 {
        terminal.warn(&format!(
            "the images, or their split, differ from those that the model was trained on: their SHA-256 is {}, not {}",
            dataset.sha256(),
            printable(&info.dataset.sha256)
        ));
    }
    Ok(dataset)
}

/// What must agree between the images of a model and those that it is evaluated on.
fn describe(name: &str, shape: Shape, classes: &[String]) -> String {
    let mut named: Vec<_> = classes.iter().take(NAMED).map(printable).collect();
    if classes.len() > NAMED {
        named.push("...".to_owned());
    }
    format!("{} of {shape} in {} classes ({})", printable(name), classes.len(), named.join(", "))
}

fn table(evaluation: &Evaluation, classes: &[String], images: usize, views: usize, synthetic: bool) -> String {
    let what = if synthetic { "generated images, not CIFAR-10" } else { "images" };
    let views = if views == 1 { String::new() } else { format!(", {views} views of each") };
    let mut text = format!(
        "loss {:.4}, accuracy {:.2}% on {images} {what}{views}\n\n\
         confusion matrix: a row per true class, a column per predicted class\n",
        evaluation.loss,
        100.0 * evaluation.accuracy
    );
    let classes: Vec<_> = classes.iter().map(printable).collect();
    let width = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0);
    let heads = classes.iter().map(|class| class.chars().take(5).collect::<String>());
    let line = heads.fold(format!("{:width$}", ""), |line, head| line + &format!(" {head:>5}"));
    let _ = writeln!(text, "{line}  correct");
    for (i, (class, row)) in classes.iter().zip(&evaluation.confusion).enumerate() {
        let _ = write!(text, "{class:width$}");
        for count in row {
            let _ = write!(text, " {count:>5}");
        }
        let total: u64 = row.iter().sum();
        let _ = writeln!(text, "  {:>4.1}%", 100.0 * row[i] as f64 / total.max(1) as f64);
    }
    text
}
