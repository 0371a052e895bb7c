use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use klayer_cli::{Interrupt, Terminal};
use klayer_dataset::picture;
use klayer_linalg::text::printable;
use klayer_train::{Classifier, model};
use serde_json::json;
use walkdir::WalkDir;

use crate::Error;
use crate::run_args::{ThreadArgs, ViewArgs, parse_positive};

/// Number of pictures classified in one batch.
const TOGETHER: usize = 32;

/// Options of `klayer predict`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    klayer predict model.klayer cat.jpg dog.png    print a row for each picture\n  \
    klayer predict model.klayer photos             classify all pictures in a folder and its subfolders\n  \
    klayer predict model.klayer photos --json      print a line of JSON for each picture\n\n\
    Pictures are rotated according to their EXIF data, drawn on white where transparent, cropped to the central square \
    and resized to the network's input (Lanczos). Pictures that cannot be read cause a warning and exit status 1; the others are \
    still classified. Hidden files in folders are skipped.")]
pub(crate) struct PredictArgs {
    /// Model file written by klayer train
    model: PathBuf,
    /// Pictures to classify, and folders to search for pictures
    ///
    /// Supported formats are PNG, JPEG, GIF, BMP, TIFF and WebP.
    #[arg(required = true, value_name = "PICTURE|FOLDER")]
    pictures: Vec<PathBuf>,
    /// Number of most probable classes to print
    #[arg(long, value_name = "CLASSES", default_value_t = 3, value_parser = parse_positive)]
    top: usize,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Print one line of JSON for each picture
    #[arg(long)]
    json: bool,
}

/// A class name with its label and probability.
type Guess<'a> = (&'a str, usize, f64);

impl PredictArgs {
    pub(crate) fn run(self, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), Error> {
        let (network, info) = model::load(&self.model)?;
        let shape = info.images.shape;
        let views = self.views.of(shape)?;
        let par = self.threads.par()?;
        let mut classifier = Classifier::new(&network, &info.normalization, par.clone());

        let (paths, mut failed) = self.paths(terminal)?;
        let table = Table::new(&paths, &info.classes);
        let of = paths.len() + failed;
        for paths in paths.chunks(TOGETHER) {
            let mut read = Vec::new();
            for path in paths {
                if interrupt.requested() {
                    return Err(klayer_train::Error::Cancelled.into());
                }
                read.push((path, picture::read(path, shape).map_err(reason)));
            }
            let images = read.iter().filter_map(|(_, pixels)| pixels.as_deref().ok());
            let probabilities = views.probabilities(&mut classifier, images, &par, interrupt)?;
            let mut probabilities = probabilities.into_iter();
            let mut rows = String::new();
            for (path, pixels) in &read {
                if let Err(error) = pixels {
                    failed += 1;
                    terminal.warn(&format!("{}: {error}", shown(path)));
                    if self.json {
                        rows += &format!("{}\n", json!({ "image": path.to_string_lossy(), "error": error }));
                    }
                    continue;
                }
                let probabilities = probabilities.next().expect("each picture has been classified");
                let guesses = most_probable(&probabilities, &info.classes, self.top);
                rows +=
                    &if self.json { line(path, &guesses, info.dataset.synthetic) } else { table.row(path, &guesses) };
            }
            io::stdout().write_all(rows.as_bytes()).map_err(Error::Output)?;
        }
        if failed > 0 { Err(Error::Pictures { failed, of }) } else { Ok(()) }
    }

    /// All given pictures and those in given folders, in order, and the number of folders without pictures or that
    /// cannot be read, which have been reported.
    fn paths(&self, terminal: &Terminal) -> Result<(Vec<PathBuf>, usize), Error> {
        let (mut paths, mut failed) = (Vec::new(), 0);
        for path in &self.pictures {
            if !path.is_dir() {
                paths.push(path.clone());
                continue;
            }
            let (before, mut others) = (paths.len(), 0);
            let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
            let entries = WalkDir::new(path).follow_links(true).sort_by_file_name().into_iter();
            for entry in entries.filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name())) {
                match entry {
                    Ok(entry) if entry.path().is_dir() => {}
                    Ok(entry) if entry.path().is_file() && picture::is_one(entry.path()) => {
                        paths.push(entry.into_path());
                    }
                    Ok(_) => others += 1,
                    Err(error) => {
                        failed += 1;
                        terminal.warn(&printable(error));
                    }
                }
            }
            if others > 0 {
                let files = if others == 1 { "file that is not a picture" } else { "files that are not pictures" };
                terminal.remark(|| format!("{}: skipped {others} {files}", shown(path)));
            }
            if paths.len() == before {
                if self.pictures.len() == 1 && failed == 0 {
                    return Err(Error::NoPictures { path: path.clone() });
                }
                failed += 1;
                terminal.warn(&format!("{}: no pictures found", shown(path)));
            }
        }
        Ok((paths, failed))
    }
}

/// What is wrong with a picture, without its path.
fn reason(error: klayer_dataset::Error) -> String {
    match error {
        klayer_dataset::Error::Picture { reason, .. } => printable(reason),
        error => printable(error),
    }
}

fn shown(path: &Path) -> String {
    printable(path.display())
}

/// The `most` most probable classes; ties keep the order of the classes.
fn most_probable<'a>(probabilities: &[f64], classes: &'a [String], most: usize) -> Vec<Guess<'a>> {
    let mut guesses: Vec<_> = classes.iter().zip(probabilities).enumerate().map(|(i, (c, &p))| (&**c, i, p)).collect();
    guesses.sort_by(|a, b| b.2.total_cmp(&a.2));
    guesses.truncate(most);
    guesses
}

/// The predictions for a picture; `synthetic` is whether the model was trained on generated images.
fn line(path: &Path, guesses: &[Guess<'_>], synthetic: bool) -> String {
    let guesses: Vec<_> = guesses
        .iter()
        .map(|(class, label, probability)| json!({ "class": class, "label": label, "probability": probability }))
        .collect();
    format!("{}\n", json!({ "image": path.to_string_lossy(), "synthetic": synthetic, "predictions": guesses }))
}

/// Column widths of the table of pictures and classes.
struct Table {
    path: usize,
    class: usize,
}

impl Table {
    fn new(paths: &[PathBuf], classes: &[String]) -> Self {
        let widest =
            |texts: &mut dyn Iterator<Item = String>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
        Self {
            path: widest(&mut paths.iter().map(|path| shown(path))),
            class: widest(&mut classes.iter().map(printable)),
        }
    }

    fn row(&self, path: &Path, guesses: &[Guess<'_>]) -> String {
        let guesses: Vec<_> = guesses
            .iter()
            .map(|(class, _, probability)| {
                let width = self.class;
                format!("{:width$} {:>5.1}%", printable(class), 100.0 * probability)
            })
            .collect();
        format!("{:width$}  {}\n", shown(path), guesses.join("   "), width = self.path)
    }
}
