//! The report as files: an HTML page, the same page as Markdown, figures and tables.
//!
//! [`render`] is a pure function of the results and of the paper's numbers: the same values give the same bytes. The
//! sections build a [`document::Document`], which becomes HTML and Markdown; figures are drawn once for both.

use std::path::PathBuf;

use crate::paper::Paper;
use crate::results::{Results, SCHEMA};

mod bars;
mod bench;
mod beyond;
mod csv;
mod curves;
mod document;
mod finals;
mod findings;
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
pub(crate) mod tests;
mod tiles;

pub(crate) use bench::bench_figures;
pub(crate) use beyond::beyond;

/// The stamp on all output of the quick form.
const QUICK: &str = "quick form: not the study's results";
/// The stamp on all output from the synthetic stand-in.
const SYNTHETIC: &str = "synthetic stand-in, not CIFAR-10";

/// A file of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Its path within the report's folder.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) contents: String,
}

/// Why results cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// This version does not support the schema of the results.
    #[error("the results have schema {found}, but this version supports schema {SCHEMA}")]
    Schema {
        /// The schema of the results.
        found: u32,
    },
    /// Two lists that must have the same length do not.
    #[error("{place} has {found} items; expected {expected}")]
    Length {
        /// Which list.
        place: String,
        /// Its expected length.
        expected: usize,
        /// Its length.
        found: usize,
    },
    /// Two figures have the same file name.
    #[error("two figures have the same name: {0}")]
    SameName(String),
}

/// Renders the files of the report: `index.html`, `report.md`, `figures/*.svg` and `tables/*.csv`.
///
/// A section that was not run has no figures and no CSV tables; the pages mark it as not run.
///
/// # Errors
///
/// If the schema of the results is not supported, or the lengths of related lists differ.
pub(crate) fn render(results: &Results, paper: &Paper) -> Result<Vec<File>, Error> {
    check(results)?;
    let tables = csv::tables(results);
    let mut files = files(&document(results, paper, &tables))?;
    files.extend(tables.into_iter().map(|(path, contents)| File { path: path.into(), contents }));
    Ok(files)
}

/// A document as an HTML page, a Markdown page and its figures.
fn files(document: &document::Document) -> Result<Vec<File>, Error> {
    let file = |path: &str, contents| File { path: path.into(), contents };
    let mut files = vec![file("index.html", html::page(document)), file("report.md", markdown::page(document))];
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
        findings::section(results),
        outline::provenance(results, paper, &names),
    ];
    document::Document {
        title: "K-layer networks with batch normalization on CIFAR-10".into(),
        stamps: stamps(results.quick, results.dataset.synthetic),
        blocks: blocks.into_iter().flatten().collect(),
    }
}

/// The stamps that apply to a report or a measurement.
pub(crate) fn stamps(quick: bool, synthetic: bool) -> Vec<String> {
    let marks = [(quick, QUICK), (synthetic, SYNTHETIC)];
    marks.into_iter().filter(|mark| mark.0).map(|mark| mark.1.to_owned()).collect()
}

/// Checks the schema, and that related lists have the same length.
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

/// The short form for tables.
fn bn(batch_norm: bool) -> &'static str {
    if batch_norm { "BN" } else { "no BN" }
}

/// The mean of the values with the smallest and the largest, and the number of diverged runs.
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
