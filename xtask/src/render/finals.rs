//! Section 3.5: test accuracies with our best lambda and with the paper's.

use super::document::{Block, Figure, Kind, Row, Supplement, Table, Text};
use super::format::{accuracy, count, exact, plural, points_apart, setting};
use super::heatmap;
use crate::paper::Paper;
use crate::results::{Confusion, Final, Results};
use klayer_chart::{Mark, Panel, Scale, Swatch};

/// Mean and deviation of the runs of one lambda.
pub(super) fn mean(row: &Final) -> String {
    match row.test_accuracy.len() {
        1 => accuracy(row.mean),
        _ => format!("{} ± {}", accuracy(row.mean), accuracy(row.std)),
    }
}

/// The lambda as the paper printed it, if it is the paper's.
fn lambda(row: &Final, paper: &Paper) -> String {
    if row.lambda == paper.final_.lambda { exact(row.lambda) } else { setting(row.lambda) }
}

/// The source of the lambda, with its article.
fn source(row: &Final) -> &str {
    match row.origin.as_str() {
        "paper" => "the paper",
        "fine search" => "our fine search",
        origin => origin,
    }
}

pub(super) fn section(results: &Results, paper: &Paper, supplement: &mut Supplement) -> Vec<Block> {
    let rows = &results.finals;
    let mut blocks = vec![Block::Heading(2, "3.5 Final search".into())];
    blocks.push(Block::text(format!(
        "“Final search” is the paper’s heading: it trains one network with the best λ of its fine search, {}, for {} \
         cycles, and reports its accuracy on the test images. We train with the best λ of our fine search and with the \
         paper’s. The test images are not used to choose any setting.",
        exact(paper.final_.lambda),
        paper.final_.cycles
    )));
    blocks.push(table(rows, paper));
    if rows.is_empty() {
        blocks.push(Block::NotRun);
        return blocks;
    }
    let sentence = |row: &Final| {
        format!(
            "At λ = {} ({}) the mean of {} is {}; the paper printed {}. Our mean is {}.",
            lambda(row, paper),
            row.origin,
            plural(row.test_accuracy.len(), "run"),
            mean(row),
            exact(paper.final_.accuracy),
            points_apart(row.mean, paper.final_.accuracy)
        )
    };
    let compared = rows.iter().filter(|row| !results.quick && !row.test_accuracy.is_empty());
    let mut sentences: Vec<_> = compared.map(sentence).collect();
    let diverged: usize = rows.iter().map(|r| r.diverged.len()).sum();
    if diverged > 0 {
        sentences.push(format!("Excluded: {} that diverged.", plural(diverged, "run")));
    }
    if !sentences.is_empty() {
        blocks.push(Block::text(sentences.join(" ")));
    }
    blocks.push(Block::Figure(dots(rows, paper, supplement.next())));
    if let Some((row, confusion)) = rows.iter().find_map(|r| Some((r, r.confusion.as_ref()?))) {
        let run = format!("λ = {} ({}), seed {}", lambda(row, paper), row.origin, confusion.seed);
        let caption = format!("Confusion matrix of the run with {run}.");
        blocks.push(Block::Figure(Figure {
            name: "confusion".into(),
            label: supplement.next(),
            caption: caption.clone().into(),
            legend: Vec::new(),
            panels: vec![heatmap::draw(confusion, caption)],
        }));
        blocks.push(per_class(confusion, &run));
    }
    blocks
}

fn table(rows: &[Final], paper: &Paper) -> Block {
    let values = |row: &Final| row.test_accuracy.iter().map(|&a| accuracy(a)).collect::<Vec<_>>().join(", ");
    let mut cells = vec![Row::cells([
        Text::new().strong("Paper"),
        exact(paper.final_.accuracy).into(),
        exact(paper.final_.lambda).into(),
        paper.final_.cycles.to_string().into(),
        exact(paper.final_.accuracy).into(),
    ])];
    cells.extend(rows.iter().map(|row| {
        Row::cells([
            format!("Ours, λ of {}", source(row)).into(),
            mean(row).into(),
            lambda(row, paper).into(),
            row.cycles.to_string().into(),
            values(row).into(),
        ])
    }));
    let columns = [
        ("Run", Kind::Words),
        ("Test accuracy", Kind::Number),
        ("λ", Kind::Number),
        ("Cycles", Kind::Number),
        ("Every run", Kind::Number),
    ];
    Table::block("Accuracy on the test images: mean ± sample standard deviation over the seeds.", columns, cells)
}

fn dots(rows: &[Final], paper: &Paper, label: String) -> Figure {
    let mut marks = vec![Mark::Rule(paper.final_.accuracy, "paper-line")];
    for (i, row) in rows.iter().enumerate() {
        let runs = row.test_accuracy.len() as f64;
        let place = |k: usize| i as f64 + 0.12 * (k as f64 - (runs - 1.0) / 2.0) * (5.0 / runs.max(5.0));
        marks.push(Mark::Dash(i as f64, row.mean, "mean"));
        marks.push(Mark::Dots(row.test_accuracy.iter().enumerate().map(|(k, &a)| (place(k), a)).collect(), "ours"));
    }
    let values = rows.iter().flat_map(|r| r.test_accuracy.iter().copied().chain([r.mean]));
    let caption = "Test accuracy of every run, one dot per seed, and the paper’s accuracy.";
    let names = rows.iter().map(|r| (format!("λ = {}", lambda(r, paper)), r.origin.clone())).collect();
    let panel = Panel {
        title: "Final runs".into(),
        alt: caption.into(),
        x: (Scale::Places(names), ""),
        y: (Scale::around(values.chain([paper.final_.accuracy])), "test accuracy"),
        marks,
    };
    let legend = vec![
        (Swatch::Dot("ours"), "our runs".into()),
        (Swatch::Line("mean"), "their mean".into()),
        (Swatch::Line("paper-line"), format!("paper, {}", exact(paper.final_.accuracy))),
    ];
    Figure { name: "final".into(), label, caption: caption.into(), legend, panels: vec![panel.draw()] }
}

/// The predictions for one class.
pub(super) struct PerClass<'a> {
    pub(super) class: &'a str,
    pub(super) images: u64,
    pub(super) correct: u64,
    /// Fraction of the images classified correctly; `None` without images.
    pub(super) accuracy: Option<f64>,
    /// The most frequent wrong prediction, and its count.
    pub(super) mistaken: Option<(&'a str, u64)>,
}

/// The classes of a confusion matrix.
pub(super) fn classes(confusion: &Confusion) -> impl Iterator<Item = PerClass<'_>> {
    confusion.counts.iter().enumerate().map(|(i, counts)| {
        let (images, correct) = (counts.iter().sum::<u64>(), counts[i]);
        let wrong = counts.iter().enumerate().filter(|&(k, &n)| k != i && n > 0);
        let worst = wrong.min_by_key(|&(k, &n)| (std::cmp::Reverse(n), k));
        PerClass {
            class: &confusion.classes[i],
            images,
            correct,
            accuracy: (images > 0).then(|| correct as f64 / images as f64),
            mistaken: worst.map(|(k, &n)| (confusion.classes[k].as_str(), n)),
        }
    })
}

fn per_class(confusion: &Confusion, run: &str) -> Block {
    let row = |c: PerClass<'_>| {
        Row::cells([
            c.class.into(),
            c.accuracy.map_or("–".into(), accuracy).into(),
            count(c.correct).into(),
            count(c.images).into(),
            c.mistaken.map_or("–".to_owned(), |(name, n)| format!("{name} ({})", count(n))).into(),
        ])
    };
    let columns = [
        ("Class", Kind::Words),
        ("Accuracy", Kind::Number),
        ("Correct", Kind::Number),
        ("Images", Kind::Number),
        ("Most often mistaken for", Kind::Words),
    ];
    Table::block(
        format!("Accuracy of each class in the run with {run}."),
        columns,
        classes(confusion).map(row).collect(),
    )
}
