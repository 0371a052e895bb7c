use std::fmt::Write as _;
use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};

use clap::Args;
use klayer_cli::{Interrupt, Terminal};
use klayer_dataset::Subset;
use klayer_linalg::text::printable;
use klayer_store::files;
use klayer_train::inspect::{mistakes, weight_pictures};
use klayer_train::model::{self, ModelInfo};
use klayer_train::{Classifier, Network, RunConfig};
use serde::Serialize;
use serde_json::{Value, json};

use crate::dataset_args::DatasetArgs;
use crate::evaluate::{Part, images_of};
use crate::outputs;
use crate::run_args::{ThreadArgs, ViewArgs, parse_positive};
use crate::{Error, picture};

/// Images per row of the sheet of mistakes.
const COLUMNS: usize = 10;

/// Options of `klayer inspect`.
#[derive(Debug, Args)]
#[command(mut_arg("views", |views| views.requires("mistakes")))]
#[command(after_help = "Examples:\n  \
    klayer inspect model.klayer                            describe the layers; needs no images\n  \
    klayer inspect model.klayer --dead                     also list dead units\n  \
    klayer inspect model.klayer --weights weights.png      draw a tile for each unit of the first layer\n  \
    klayer inspect model.klayer --mistakes mistakes.png    draw the most confident mistakes on the test images\n\n\
    A unit is dead if its output is 0 for every validation image; only ReLU can give that. A tile of --weights shows the weights \
    of a unit as an image: 0 is gray, and the largest absolute weight of the tile is black or full \
    color.")]
pub(crate) struct InspectArgs {
    /// Model file written by klayer train
    model: PathBuf,
    /// List the units that are dead on the validation images
    #[arg(long)]
    dead: bool,
    /// Draw the weights of the first layer in this PNG file
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Draw the most confident mistakes in this PNG file
    ///
    /// Draws the misclassified images with the highest confidence, ten per row, and lists them in the output.
    #[arg(long, value_name = "FILE")]
    mistakes: Option<PathBuf>,
    /// Maximum number of mistakes to show
    #[arg(long, value_name = "IMAGES", requires = "mistakes", default_value_t = 50, value_parser = parse_positive)]
    most: usize,
    /// Images to show mistakes on
    #[arg(long, value_enum, requires = "mistakes", default_value_t = Part::Test)]
    part: Part,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DatasetArgs,
}

/// Norm sqrt(sum p^2) and range of a group of parameters.
#[derive(Debug, Clone, Copy, Serialize)]
struct Summary {
    norm: f64,
    min: f64,
    max: f64,
}

/// Summary of a layer.
#[derive(Debug, Serialize)]
struct Layer {
    layer: usize,
    inputs: usize,
    outputs: usize,
    parameters: usize,
    weight: Summary,
    bias: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_norm: Option<Norm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<Vec<usize>>,
}

#[derive(Debug, Serialize)]
struct Norm {
    gamma: Summary,
    beta: Summary,
    /// `None` before the first mini-batch.
    running_mean: Option<Summary>,
    running_variance: Option<Summary>,
}

/// A misclassified image.
#[derive(Debug, Serialize)]
struct Mistake {
    index: usize,
    #[serde(rename = "true")]
    label: String,
    predicted: String,
    confidence: f64,
}

impl InspectArgs {
    pub(crate) fn run(self, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), Error> {
        let (network, info) = model::load(&self.model)?;
        outputs::check([self.model.as_path()], self.weights.as_deref().into_iter().chain(self.mistakes.as_deref()))?;
        let mut layers = layers(&network);
        let mut mistakes = None;
        if self.dead || self.mistakes.is_some() {
            let par = self.threads.par()?;
            let dataset = images_of(&info, &self.data, terminal, interrupt)?;
            let mut classifier = Classifier::new(&network, &info.normalization, par.clone());
            if self.dead {
                let images = Part::Validation.of(&dataset)?;
                let dead = par.install(|| classifier.dead_units(images.images()))?;
                for (layer, dead) in layers.iter_mut().zip(dead) {
                    layer.dead = Some(dead);
                }
            }
            if let Some(path) = &self.mistakes {
                let images = self.part.of(&dataset)?;
                let views = self.views.of(images.shape())?;
                let probabilities = views.probabilities(&mut classifier, images.images(), &par, interrupt)?;
                let found = worst(images, &probabilities, &info.classes, self.most);
                write(
                    path,
                    picture::sheet(found.iter().map(|mistake| images.image(mistake.index)), COLUMNS, images.shape()),
                )?;
                mistakes = Some(found);
            }
        }
        if let Some(path) = &self.weights {
            let (tiles, shape) = (weight_pictures(&network, &info.normalization), info.images.shape);
            let columns = (1..).find(|columns| columns * columns >= tiles.len()).expect("there is a square");
            write(path, picture::sheet(tiles.iter().map(Vec::as_slice), columns, shape))?;
        }
        let report = if self.json {
            format!("{}\n", line(&network, &info, &layers, mistakes.as_deref()))
        } else {
            let mut text = heading(&network, &info) + "\n" + &table(&layers);
            if let Some(mistakes) = &mistakes {
                text += &listing(mistakes, self.mistakes.as_deref());
            }
            if let Some(path) = &self.weights {
                let _ = writeln!(text, "\nwrote the weights of the first layer to {}", path.display());
            }
            text
        };
        io::stdout().write_all(report.as_bytes()).map_err(Error::Output)
    }
}

/// Writes a sheet.
pub(crate) fn write(path: &Path, sheet: image::ImageResult<Vec<u8>>) -> Result<(), Error> {
    let png = sheet.map_err(|error| Error::Path { path: path.into(), error: io::Error::other(error) })?;
    Ok(files::write(path, &png)?)
}

impl Summary {
    fn of<'a>(values: impl IntoIterator<Item = &'a f32>) -> Self {
        let (mut squares, mut min, mut max) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        for &value in values {
            let value = f64::from(value);
            squares += value * value;
            (min, max) = (value.min(min), value.max(max));
        }
        Self { norm: squares.sqrt(), min, max }
    }

    fn range(self) -> String {
        format!("{:>9} to {:<9}", short(self.min), short(self.max))
    }
}

/// Formats a number with three significant digits.
fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        a if (1e-3..1e4).contains(&a) => format!("{x:.*}", (2 - a.log10().floor() as i32).max(0) as usize),
        _ => format!("{x:.2e}"),
    }
}

fn layers(network: &Network<f32>) -> Vec<Layer> {
    let shapes = network.architecture().layers();
    let layers = network.layers().iter().zip(shapes).enumerate().map(|(l, (layer, (inputs, outputs)))| Layer {
        layer: l + 1,
        inputs,
        outputs,
        parameters: layer.parameters().map(|(_, values)| values.len()).sum(),
        weight: Summary::of(layer.affine.weight.rows().flatten()),
        bias: Summary::of(&layer.affine.bias),
        batch_norm: layer.batch_norm.as_ref().map(|norm| Norm {
            gamma: Summary::of(&norm.gamma),
            beta: Summary::of(&norm.beta),
            running_mean: norm.running.as_ref().map(|running| Summary::of(&running.mean)),
            running_variance: norm.running.as_ref().map(|running| Summary::of(&running.variance)),
        }),
        dead: None,
    });
    layers.collect()
}

/// The `most` misclassified images with the highest confidence.
fn worst(images: Subset<'_>, probabilities: &[Vec<f64>], classes: &[String], most: usize) -> Vec<Mistake> {
    let name = |class: usize| classes.get(class).cloned().unwrap_or_else(|| class.to_string());
    let mistakes = mistakes(images, probabilities, most).into_iter().map(|mistake| Mistake {
        index: mistake.index,
        label: name(mistake.class),
        predicted: name(mistake.predicted),
        confidence: mistake.probability,
    });
    mistakes.collect()
}

fn line(network: &Network<f32>, info: &ModelInfo, layers: &[Layer], mistakes: Option<&[Mistake]>) -> Value {
    let architecture = network.architecture();
    let mut line = json!({
        "widths": architecture.widths(),
        "batch_norm_eps": architecture.batch_norm_eps(),
        "parameters": architecture.parameters(),
        "config": info.config,
        "dataset": info.dataset,
        "classes": info.classes,
        "validation_accuracy": info.validation_accuracy,
        "test_accuracy": info.test_accuracy,
        "layers": layers,
    });
    if let Some(mistakes) = mistakes {
        line["mistakes"] = json!(mistakes);
    }
    line
}

fn heading(network: &Network<f32>, info: &ModelInfo) -> String {
    let architecture = network.architecture();
    let config = &info.config;
    let classes: Vec<_> = info.classes.iter().map(printable).collect();
    let accuracies = [("validation", info.validation_accuracy), ("test", info.test_accuracy)];
    let known = accuracies.into_iter().filter_map(|(name, value)| Some(format!("{name} {:.2}%", 100.0 * value?)));
    let known: Vec<_> = known.collect();
    let accuracy = if known.is_empty() { "not measured".to_owned() } else { known.join(", ") };
    format!(
        "network      {architecture}, {} parameters\n\
         trained on   {} of {} (SHA-256 {}), normalized by {}\n\
         training     {}, lambda {}, batch {}, seed {}, init {}\n\
         methods      {}\n\
         accuracy     {accuracy}\n\
         classes      {}\n",
        architecture.parameters(),
        printable(&info.dataset.name),
        info.images.shape,
        printable(&info.dataset.sha256),
        info.normalization.normalize(),
        config.schedule,
        config.lambda,
        config.batch.size,
        config.seed,
        config.network.init,
        methods(config),
        classes.join(", "),
    )
}

/// The optimizer, and all methods against overfitting.
fn methods(config: &RunConfig) -> String {
    let RunConfig { network, batch, augment, optimizer, .. } = config;
    let optimizer = match optimizer.momentum {
        0.0 => "gradient descent".to_owned(),
        mu => format!("{} {mu}", if optimizer.nesterov { "Nesterov momentum" } else { "momentum" }),
    };
    let others = [
        (network.dropout > 0.0, format!("dropout {}", network.dropout)),
        (batch.label_smoothing > 0.0, format!("label smoothing {}", batch.label_smoothing)),
        (augment.flip, "random flips".to_owned()),
        (augment.shift > 0, format!("random shifts of up to {} pixels", augment.shift)),
    ];
    let others = others.into_iter().filter(|(used, _)| *used).map(|(_, name)| name);
    iter::once(optimizer).chain(others).collect::<Vec<_>>().join(", ")
}

fn table(layers: &[Layer]) -> String {
    let mut text = format!("layer  {:12} {:>10}  {:10} {:>9}  range\n", "shape", "parameters", "", "norm");
    for layer in layers {
        let shape = format!("{} x {}", layer.outputs, layer.inputs);
        let _ = write!(text, "{:<6} {shape:12} {:>10}  ", layer.layer, layer.parameters);
        let mut rows = vec![("W", Some(layer.weight)), ("b", Some(layer.bias))];
        if let Some(norm) = &layer.batch_norm {
            rows.extend([("gamma", Some(norm.gamma)), ("beta", Some(norm.beta))]);
            rows.extend([("mean", norm.running_mean), ("variance", norm.running_variance)]);
        }
        for (i, (name, summary)) in rows.into_iter().enumerate() {
            let indent = if i == 0 { 0 } else { 32 };
            let _ = match summary {
                Some(summary) => {
                    writeln!(text, "{:indent$}{name:10} {:>9}  {}", "", short(summary.norm), summary.range().trim_end())
                }
                None => writeln!(text, "{:indent$}{name:10} not available", ""),
            };
        }
        if let Some(dead) = &layer.dead {
            let units: Vec<_> = dead.iter().take(20).map(usize::to_string).collect();
            let more = if dead.len() > 20 { ", ..." } else { "" };
            let which = if dead.is_empty() { String::new() } else { format!(": {}{more}", units.join(", ")) };
            let _ = writeln!(text, "{:32}{} of {} units are dead{which}", "", dead.len(), layer.outputs);
        }
    }
    if layers.iter().any(|layer| layer.batch_norm.is_some()) {
        text += "mean and variance are the running statistics of batch norm\n";
    }
    text
}

fn listing(mistakes: &[Mistake], path: Option<&Path>) -> String {
    if mistakes.is_empty() {
        let sheet = path.map_or(String::new(), |path| format!("; {} is empty", path.display()));
        return format!("\nno misclassified images{sheet}\n");
    }
    let widest = |name: fn(&Mistake) -> &str| {
        mistakes.iter().map(|mistake| printable(name(mistake)).chars().count()).max().unwrap_or(0).max(9)
    };
    let (label, predicted) = (widest(|mistake| &mistake.label), widest(|mistake| &mistake.predicted));
    let mut text = format!("\nimage  {:label$}  {:predicted$}  confidence\n", "true", "predicted");
    for mistake in mistakes {
        let _ = writeln!(
            text,
            "{:>5}  {:label$}  {:predicted$}  {:>9.1}%",
            mistake.index,
            printable(&mistake.label),
            printable(&mistake.predicted),
            100.0 * mistake.confidence
        );
    }
    if let Some(path) = path {
        let _ = writeln!(text, "wrote these images, {COLUMNS} per row in this order, to {}", path.display());
    }
    text
}
