//! Section 3.1: analytic gradients against numerical ones.

use std::collections::BTreeSet;

use super::document::{Block, Kind, Row, Table, Text};
use super::format::{count, exact, setting, significant};
use super::{bn, norm};
use crate::paper::{Paper, PaperGradients, PaperLayer};
use crate::results::{GradientCheck, GradientRow, Results};

/// A row of the paper's tables: its symbol and subscript, its value in the paper, and its parameter and value in ours.
type Sum = (&'static str, &'static str, fn(&PaperLayer) -> f64, &'static str, fn(&GradientRow) -> f64);

const SUMS: [Sum; 6] = [
    ("Σ\u{a0}g", "nW", |p| p.numerical_w, "W", |r| r.sum_numerical),
    ("Σ\u{a0}g", "nb", |p| p.numerical_b, "b", |r| r.sum_numerical),
    ("Σ\u{a0}g", "aW", |p| p.analytic_w, "W", |r| r.sum_analytic),
    ("Σ\u{a0}g", "ab", |p| p.analytic_b, "b", |r| r.sum_analytic),
    ("Σ\u{a0}ε", "W", |p| p.error_w, "W", |r| r.sum_error),
    ("Σ\u{a0}ε", "b", |p| p.error_b, "b", |r| r.sum_error),
];

/// Network, batch norm, lambda, and the rows of every layer and parameter.
type Check<'a> = (String, bool, f64, Vec<&'a GradientRow>);

/// The checks, in the order of the results.
fn checks(results: &Results) -> Vec<Check<'_>> {
    let mut checks: Vec<Check<'_>> = Vec::new();
    for row in &results.gradients {
        match checks.iter_mut().find(|c| c.0 == row.network && c.1 == row.batch_norm && c.2 == row.lambda) {
            Some(check) => check.3.push(row),
            None => checks.push((row.network.clone(), row.batch_norm, row.lambda, vec![row])),
        }
    }
    checks
}

fn largest(rows: &[&GradientRow], of: impl Fn(&GradientRow) -> f64) -> f64 {
    rows.iter().map(|r| of(r)).fold(0.0, |a, b| if b.is_nan() { b } else { a.max(b) })
}

pub(super) fn section(results: &Results, paper: &Paper) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(2, "3.1 Gradients".into())];
    let checks = checks(results);
    if checks.is_empty() {
        blocks.push(Block::NotRun);
    } else {
        blocks.push(Block::Text(method(results, &checks)));
    }
    blocks.push(Block::text(
        "The paper’s tables list, for each layer, the sums of the numerical gradients, the analytic gradients and the \
         relative errors over the weights W and the biases b. The gradients depend on the images and the initial \
         weights, so our sums differ from the paper’s; only the errors are comparable. The gradient of a bias before \
         batch norm is 0, and its sums contain only rounding errors.",
    ));
    for table in &paper.gradients {
        blocks.push(Block::Heading(3, format!("{} network with batch norm", table.network)));
        blocks.push(sums(table, &checks, |x| significant(x, 4)));
    }
    let all_digits = paper.gradients.iter().map(|table| sums(table, &checks, exact)).collect();
    blocks.push(Block::Details("The same tables at full precision".into(), all_digits));
    if !checks.is_empty() {
        blocks.push(Block::Heading(3, "Largest errors of each network".into()));
        blocks.push(summary(&checks, results.gradient_check.as_ref()));
        blocks.push(Block::Details("All layers, including gamma and beta".into(), vec![layers(&checks)]));
    }
    blocks
}

fn method(results: &Results, checks: &[Check<'_>]) -> Text {
    let rows: Vec<_> = results.gradients.iter().collect();
    let checked: usize = rows.iter().map(|r| r.checked).sum();
    let kinks: usize = rows.iter().map(|r| r.kinks).sum();
    let mut text = Text::from("The gradient from back-propagation, g").sub("a");
    text = text.plain(", is compared with central differences, g").sub("n").plain(", in double precision");
    if let Some(check) = &results.gradient_check {
        text = text.plain(format!(
            " on {} images, with step h = {} and relative error ε = |g",
            count(check.images as u64),
            setting(check.step)
        ));
        text = text.sub("a").plain(" − g").sub("n").plain("| / max(eps, |g").sub("a").plain("| + |g").sub("n");
        text = text.plain(format!("|), eps = {}", setting(check.floor)));
    }
    text.plain(format!(
        ". {} parameters were compared in {} checks; {} excluded at a kink, where a ReLU switches between the two \
         evaluations. The largest relative error is {}, the largest absolute error {}.",
        count(checked as u64),
        count(checks.len() as u64),
        if kinks == 0 { "none were".to_owned() } else { format!("{} more were", count(kinks as u64)) },
        significant(largest(&rows, |r| r.max_relative_error), 3),
        significant(largest(&rows, |r| r.max_absolute_error), 3),
    ))
}

/// A table in the paper's layout: six sums for each layer, the paper's first, then ours for each lambda.
fn sums(paper: &PaperGradients, checks: &[Check<'_>], number: fn(f64) -> String) -> Block {
    let ours: Vec<_> = checks.iter().filter(|c| c.0 == paper.network && c.1).collect();
    let mut columns = vec![(Text::from("Sum"), Kind::Words), (Text::from("Paper"), Kind::Paper)];
    columns.extend(ours.iter().map(|c| (Text::from(format!("Ours, λ = {}", setting(c.2))), Kind::Number)));
    let mut rows = Vec::new();
    for (i, layer) in paper.layers.iter().enumerate() {
        rows.push(Row::Group(format!("Layer {}", i + 1).into()));
        for (name, index, printed, parameter, value) in SUMS {
            let mut cells = vec![Text::from(name).sub(index), number(printed(layer)).into()];
            cells.extend(ours.iter().map(|check| {
                let row = check.3.iter().find(|r| r.layer == i + 1 && r.parameter == parameter);
                Text::from(row.map_or("–".to_owned(), |r| number(value(r))))
            }));
            rows.push(Row::Cells(cells));
        }
    }
    let caption = format!("Sums over the parameters of each layer of the {} network with batch norm.", paper.network);
    Table::block(Text::from(caption), columns, rows)
}

fn summary(checks: &[Check<'_>], how: Option<&GradientCheck>) -> Block {
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    for (network, batch_norm, lambda, layers) in checks {
        if seen.insert(network) {
            rows.push(Row::Group(network.as_str().into()));
        }
        rows.push(Row::cells([
            format!("{}, λ = {}", bn(*batch_norm), setting(*lambda)).into(),
            count(layers.iter().map(|r| r.checked as u64).sum()).into(),
            count(layers.iter().map(|r| r.kinks as u64).sum()).into(),
            significant(largest(layers, |r| r.max_relative_error), 3).into(),
            significant(largest(layers, |r| r.max_absolute_error), 3).into(),
        ]));
    }
    let columns = [
        ("Network", Kind::Words),
        ("Checked", Kind::Number),
        ("Kinks", Kind::Number),
        ("Max. relative error", Kind::Number),
        ("Max. absolute error", Kind::Number),
    ];
    let how = how.map_or(String::new(), |how| {
        format!(" Step h = {}, eps (the floor) = {}, {} images.", setting(how.step), setting(how.floor), how.images)
    });
    let caption =
        "Parameters compared, parameters excluded at a kink of a ReLU, and the largest errors. BN: batch norm.";
    Table::block(format!("{caption}{how}"), columns, rows)
}

fn layers(checks: &[Check<'_>]) -> Block {
    let mut rows = Vec::new();
    for (network, batch_norm, lambda, layers) in checks {
        rows.push(Row::Group(format!("{network}, {}, λ = {}", norm(*batch_norm), setting(*lambda)).into()));
        rows.extend(layers.iter().map(|r| {
            Row::cells([
                format!("{} {}", r.parameter, r.layer).into(),
                count(r.checked as u64).into(),
                count(r.kinks as u64).into(),
                significant(r.sum_numerical, 4).into(),
                significant(r.sum_analytic, 4).into(),
                significant(r.sum_error, 3).into(),
                significant(r.max_relative_error, 3).into(),
                significant(r.max_absolute_error, 3).into(),
            ])
        }));
    }
    let columns = [
        (Text::from("Parameter, layer"), Kind::Words),
        (Text::from("Checked"), Kind::Number),
        (Text::from("Kinks"), Kind::Number),
        (Text::from("Σ\u{a0}g").sub("n"), Kind::Number),
        (Text::from("Σ\u{a0}g").sub("a"), Kind::Number),
        (Text::from("Σ ε"), Kind::Number),
        (Text::from("Max. relative"), Kind::Number),
        (Text::from("Max. absolute"), Kind::Number),
    ];
    Table::block("Sums and largest errors of each layer.", columns, rows)
}
