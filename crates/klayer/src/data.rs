use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use klayer_cli::{Interrupt, Terminal};
use klayer_dataset::{Dataset, Format, Normalization, Normalize, Shape, Subset};
use klayer_linalg::text::printable;
use klayer_store::files;
use klayer_train::parse_seed;
use serde_json::json;

use crate::dataset_args::DatasetArgs;
use crate::inspect::write;
use crate::{Error, picture};

/// Images per class on a sheet.
const COLUMNS: usize = 10;
/// Options of `klayer data`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    klayer data                     show statistics of CIFAR-10, downloading it if necessary\n  \
    klayer data --data photos       show statistics of a folder of pictures\n  \
    klayer data --offline --json\n  \
    klayer data --sheet images.png  draw the first ten training images of each class")]
pub(crate) struct DataInfoArgs {
    /// Draw the first ten training images of each class in this PNG file
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Seed for drawing the validation images, or for generating images
    #[arg(long, default_value_t = 42, value_parser = parse_seed)]
    seed: u64,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DatasetArgs,
}

/// Mean and standard deviation of a channel over all pixels, in 0..=255.
struct Colour {
    name: String,
    mean: f64,
    deviation: f64,
}

impl DataInfoArgs {
    pub(crate) fn run(self, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), Error> {
        if let Some(sheet) = &self.sheet {
            files::probe(sheet)?;
        }
        let dataset = self.data.load(self.seed, terminal, interrupt)?;
        let parts = [("training", dataset.training()), ("validation", dataset.validation()), ("test", dataset.test())];
        let classes = dataset.class_names();
        let counts = parts.map(|(_, part)| counts(part, classes.len()));
        let colours = colours(dataset.shape(), &Normalization::fit(Normalize::Feature, dataset.training())?);
        if let Some(path) = &self.sheet {
            write(path, sheet(dataset.training(), classes.len()))?;
        }
        let report = if self.json {
            let parts = parts.iter().zip(&counts);
            let parts = parts
                .map(|((name, part), counts)| ((*name).to_owned(), json!({ "images": part.len(), "classes": counts })));
            let colours = colours.iter().map(|c| (c.name.clone(), json!({ "mean": c.mean, "deviation": c.deviation })));
            let line = json!({
                "name": dataset.name(),
                "synthetic": dataset.synthetic(),
                "reason": dataset.synthetic_reason(),
                "folder": dataset.folder().map(|folder| folder.to_string_lossy()),
                "sha256": dataset.sha256(),
                "format": dataset.format().map(|format| format.to_string()),
                "shape": dataset.shape().to_string(),
                "split": dataset.split().to_string(),
                "classes": classes,
                "parts": parts.collect::<serde_json::Map<_, _>>(),
                "pixels": colours.collect::<serde_json::Map<_, _>>(),
            });
            format!("{line}\n")
        } else {
            table(&dataset, &parts.map(|part| part.0), &counts, &colours, self.sheet.as_deref())
        };
        io::stdout().write_all(report.as_bytes()).map_err(Error::Output)
    }
}

/// Number of images of each class.
fn counts(part: Subset<'_>, classes: usize) -> Vec<u64> {
    let mut counts = vec![0; classes];
    for &label in part.labels() {
        counts[usize::from(label)] += 1;
    }
    counts
}

/// Mean and standard deviation of each channel, from those of its features.
fn colours(shape: Shape, normalization: &Normalization) -> Vec<Colour> {
    let plane = shape.height * shape.width;
    let colour = |i: usize| {
        let features = i * plane..(i + 1) * plane;
        let (means, deviations) = (&normalization.mean()[features.clone()], &normalization.deviation()[features]);
        let mean = means.iter().sum::<f64>() / plane as f64;
        // The mean of the squares minus the square of the mean.
        let squares: f64 = means.iter().zip(deviations).map(|(m, d)| m * m + d * d).sum();
        let variance = (squares / plane as f64 - mean * mean).max(0.0);
        let name = match shape.channels {
            1 => "gray".to_owned(),
            3 => ["red", "green", "blue"][i].to_owned(),
            _ => format!("channel {}", i + 1),
        };
        Colour { name, mean: 255.0 * mean, deviation: 255.0 * variance.sqrt() }
    };
    (0..shape.channels).map(colour).collect()
}

/// Draws a row of images for each class, with gray tiles for missing images.
fn sheet(images: Subset<'_>, classes: usize) -> image::ImageResult<Vec<u8>> {
    let none = vec![128; images.shape().features()];
    let mut tiles: Vec<&[u8]> = Vec::new();
    for class in 0..classes {
        let of_class = (0..images.len()).filter(|&i| usize::from(images.label(i)) == class);
        tiles.extend(of_class.map(|i| images.image(i)).chain([&none[..]; COLUMNS]).take(COLUMNS));
    }
    picture::sheet(tiles.into_iter(), COLUMNS, images.shape())
}

fn table(
    dataset: &Dataset,
    parts: &[&str; 3],
    counts: &[Vec<u64>; 3],
    colours: &[Colour],
    sheet: Option<&Path>,
) -> String {
    let from = match (dataset.folder(), dataset.synthetic_reason()) {
        (Some(folder), _) => folder.display().to_string(),
        (None, reason) => format!("generated ({})", reason.unwrap_or("requested")),
    };
    let checked = if dataset.format() == Some(Format::Cifar10) { ", every file verified" } else { "" };
    let (name, sha256, shape, split) = (dataset.name(), dataset.sha256(), dataset.shape(), dataset.split());
    let mut text = format!("{name}\nfrom        {from}\nSHA-256     {sha256}{checked}\n");
    let _ = write!(text, "images      {shape} bytes (channels x height x width)\nvalidation  {split}\n\n");
    let classes = dataset.class_names();
    let classes: Vec<_> = classes.iter().map(printable).collect();
    let width = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0).max(10);
    let mut row = |name: &str, values: [String; 3]| {
        let [training, validation, test] = values;
        let _ = writeln!(text, "{name:width$}  {training:>10}  {validation:>10}  {test:>10}");
    };
    row("class", parts.map(str::to_owned));
    for (i, class) in classes.iter().enumerate() {
        row(class, [0, 1, 2].map(|part: usize| counts[part][i].to_string()));
    }
    row("all", [0, 1, 2].map(|part: usize| counts[part].iter().sum::<u64>().to_string()));
    text += "\npixels of the training images, from 0 to 255\n";
    for colour in colours {
        let _ =
            writeln!(text, "{:width$}  mean {:>6.2}  deviation {:>6.2}", colour.name, colour.mean, colour.deviation);
    }
    if let Some(sheet) = sheet {
        let _ = writeln!(text, "\nwrote the first {COLUMNS} training images of each class to {}", sheet.display());
    }
    text
}
