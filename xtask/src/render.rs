//! The report as files: one page, its Markdown twin, figures and tables.
//!
//! [`render`] is a pure function of the results and of the paper's numbers: the same values give the same bytes. The
//! sections build a [`document::Document`], which becomes HTML and Markdown; figures are drawn once for both.

use std::path::PathBuf;

use crate::paper::Paper;
use crate::results::{Results, SCHEMA};

mod bench;
mod csv;
mod curves;
mod document;
mod finals;
mod format;
mod gradients;
mod heatmap;
mod html;
mod markdown;
mod outline;
#[cfg(test)]
mod sample;
mod search;
#[cfg(test)]
mod tests;

pub(crate) use bench::bench_figures;

/// What stands on everything that the quick form makes.
const QUICK: &str = "quick form: not the study's results";
/// What stands on everything that the synthetic stand-in makes.
const SYNTHETIC: &str = "synthetic stand-in, not CIFAR-10";

/// A file of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Its place within the folder of the report.
    pub(crate) path: PathBuf,
    /// What it holds.
    pub(crate) contents: String,
}

/// Why results cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The results have a layout that this version does not know.
    #[error("results have schema {found}, this version renders {SCHEMA}")]
    Schema {
        /// The schema of the results.
        found: u32,
    },
    /// A list of the results does not have as many items as another one that it belongs to.
    #[error("{place} has {found} items where {expected} are expected")]
    Length {
        /// Which list.
        place: String,
        /// The items it must have.
        expected: usize,
        /// The items it has.
        found: usize,
    },
    /// Two figures would have the same file name.
    #[error("two figures are called {0}")]
    SameName(String),
}

/// Makes the files of the report: `index.html`, `report.md`, `figures/*.svg` and `tables/*.csv`.
///
/// A section that was not run has neither figures nor tables, and a line that says so in the pages.
///
/// # Errors
///
/// If the results have another schema, or lists that belong together differ in length.
pub(crate) fn render(results: &Results, paper: &Paper) -> Result<Vec<File>, Error> {
    check(results)?;
    let tables = csv::tables(results);
    let document = document(results, paper, &tables);
    let file = |path: &str, contents| File { path: path.into(), contents };
    let mut files = vec![file("index.html", html::page(&document)), file("report.md", markdown::page(&document))];
    for block in &document.blocks {
        if let document::Block::Figure(figure) = block {
            let path = format!("figures/{}.svg", figure.name);
            if files.iter().any(|f| f.path.to_str() == Some(&path)) {
                return Err(Error::SameName(path));
            }
            let title = format!("{}. {}", figure.label, figure.caption.bare());
            files.push(file(&path, klayer_chart::file(&title, &document.stamps, &figure.legend, &figure.panels)));
        }
    }
    files.extend(tables.into_iter().map(|(path, contents)| file(&path, contents)));
    Ok(files)
}

fn document(results: &Results, paper: &Paper, tables: &[(String, String)]) -> document::Document {
    let mut supplement = document::Supplement::default();
    let names: Vec<_> = tables.iter().map(|t| t.0.clone()).collect();
    let blocks = [
        outline::opening(results, paper),
        gradients::section(results, paper),
        curves::loss_section(results, paper, &mut supplement),
        search::coarse(results, paper, &mut supplement),
        search::fine(results, paper, &mut supplement),
        finals::section(results, paper, &mut supplement),
        curves::sensitivity_section(results, paper, &mut supplement),
        outline::findings(results),
        outline::provenance(results, paper, &names),
    ];
    document::Document {
        title: "K-layer networks with batch normalization on CIFAR-10".into(),
        stamps: stamps(results.quick, results.dataset.synthetic),
        blocks: blocks.into_iter().flatten().collect(),
    }
}

/// What stands on everything that is made in the quick form, or from generated images.
pub(crate) fn stamps(quick: bool, synthetic: bool) -> Vec<String> {
    let marks = [(quick, QUICK), (synthetic, SYNTHETIC)];
    marks.into_iter().filter(|mark| mark.0).map(|mark| mark.1.to_owned()).collect()
}

/// Holds that lists which belong together have the same length.
fn check(results: &Results) -> Result<(), Error> {
    if results.schema != SCHEMA {
        return Err(Error::Schema { found: results.schema });
    }
    let same = |place: String, expected: usize, found: usize| {
        if expected == found { Ok(()) } else { Err(Error::Length { place, expected, found }) }
    };
    for (name, search) in [("coarse", &results.coarse), ("fine", &results.fine)] {
        let Some(noise) = search.as_ref().and_then(|search| search.noise.as_ref()) else { continue };
        same(format!("{name}.noise.validation_accuracy"), noise.seeds.len(), noise.validation_accuracy.len())?;
    }
    for (i, f) in results.finals.iter().enumerate() {
        same(format!("final[{i}].test_accuracy"), f.seeds.len(), f.test_accuracy.len())?;
        let Some(confusion) = &f.confusion else { continue };
        let classes = confusion.classes.len();
        same(format!("final[{i}].confusion.counts"), classes, confusion.counts.len())?;
        for (row, counts) in confusion.counts.iter().enumerate() {
            same(format!("final[{i}].confusion.counts[{row}]"), classes, counts.len())?;
        }
    }
    for (i, s) in results.sensitivity.iter().enumerate() {
        let lists = [
            ("final_training_loss", s.final_training_loss.len()),
            ("final_validation_loss", s.final_validation_loss.len()),
            ("final_validation_accuracy", s.final_validation_accuracy.len()),
            ("curves", s.curves.len()),
        ];
        for (name, found) in lists {
            same(format!("sensitivity[{i}].{name}"), s.seeds.len(), found)?;
        }
    }
    Ok(())
}

/// Whether a network has batch norm, in words.
fn norm(batch_norm: bool) -> &'static str {
    if batch_norm { "with batch norm" } else { "without batch norm" }
}

/// The same in a table.
fn bn(batch_norm: bool) -> &'static str {
    if batch_norm { "BN" } else { "no BN" }
}

/// The mean of the values with the smallest and the largest, and how many runs have none.
fn mean_and_range(values: &[Option<f64>], number: fn(f64) -> String) -> String {
    let finite: Vec<f64> = values.iter().flatten().copied().collect();
    let diverged = values.len() - finite.len();
    let Some((lo, hi)) = klayer_chart::range(finite.iter().copied()) else { return "diverged".into() };
    let mean = number(finite.iter().sum::<f64>() / finite.len() as f64);
    let mut text = if finite.len() == 1 { mean } else { format!("{mean} ({}–{})", number(lo), number(hi)) };
    if diverged > 0 {
        text += &format!(", {diverged} diverged");
    }
    text
}
