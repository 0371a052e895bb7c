//! The summary and the findings: each claim of the paper with its figure and its verdict.
//!
//! The quick form has no verdicts: its runs are too short to support or refute a claim.

use super::document::{Block, Kind, Row, Table, Text};
use super::format::{accuracy, exact, loss, plural, setting};
use crate::findings::{self as claims, best, last_validation_losses};
use crate::paper::Paper;
use crate::results::{Finding, Results};

/// The opening summary: how many claims hold, and a row for each claim.
pub(super) fn summary(results: &Results, paper: &Paper) -> Vec<Block> {
    let heading = Block::Heading(2, "Summary".into());
    if results.quick {
        return vec![
            heading,
            Block::text(
                "The pipeline ran. This is the quick form: its figures are not the study’s results, and it draws no \
                 conclusions from them.",
            ),
        ];
    }
    if results.findings.is_empty() {
        return Vec::new();
    }
    let row = |f: &Finding| Row::Verdict(vec![f.claim.as_str().into(), measured(f, results, paper).into()], f.holds);
    let columns = [("The paper’s claim", Kind::Words), ("Measured", Kind::Words), ("Verdict", Kind::Words)];
    let caption = "Summary of the paper’s claims; see Findings for how each is measured.";
    vec![
        heading,
        Block::text(tally(&results.findings)),
        Table::block(caption, columns, results.findings.iter().map(row).collect()),
    ]
}

/// Every finding with its measure.
pub(super) fn section(results: &Results) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(2, "Findings".into())];
    if results.quick {
        blocks.push(Block::text("The quick form does not evaluate the paper’s claims."));
        return blocks;
    }
    if results.findings.is_empty() {
        blocks.push(Block::NotRun);
        return blocks;
    }
    let row = |f: &Finding| {
        let claim = Text::new().strong(&f.claim).line().muted(&f.measure);
        Row::Verdict(vec![claim, value(f).into()], f.holds)
    };
    let columns = [("Claim and measure", Kind::Words), ("Value", Kind::Number), ("Verdict", Kind::Words)];
    let caption = "Each claim of the paper, how it is measured, and whether it holds; computed from the runs.";
    blocks.push(Table::block(caption, columns, results.findings.iter().map(row).collect()));
    blocks
}

fn value(finding: &Finding) -> String {
    finding.value.map_or("–".into(), setting)
}

/// What the figure of a finding is, and the figure or limit to compare it with.
fn measured(finding: &Finding, results: &Results, paper: &Paper) -> String {
    let Some(figure) = finding.value else { return "–".into() };
    let figure = setting(figure);
    let limit = |limit: f64| format!("limit {}", setting(limit));
    match finding.id.as_str() {
        claims::GRADIENTS => format!("largest relative error {figure}; {}", limit(claims::GRADIENT_TOLERANCE)),
        claims::RANGE => {
            let (from, to) = (exact(paper.fine.from), exact(paper.fine.to));
            format!("λ of the best coarse trial {figure}; range of the paper’s fine search {from} to {to}")
        }
        claims::FINE => {
            let both = best(&results.fine).zip(best(&results.coarse)).map_or(String::new(), |(fine, coarse)| {
                format!("; fine search {}, coarse search {}", accuracy(fine.1), accuracy(coarse.1))
            });
            format!("difference in best validation accuracy {figure}{both}")
        }
        claims::FINAL => {
            let row = results.finals.iter().find(|row| row.lambda == paper.final_.lambda);
            let mean = row.map_or(String::new(), |row| format!("mean test accuracy {}; ", accuracy(row.mean)));
            format!("{mean}paper {}; difference {figure}; {}", exact(paper.final_.accuracy), limit(claims::ONE_POINT))
        }
        claims::INSENSITIVE => {
            format!("largest difference in mean final validation loss across σ: {figure}; {}", limit(claims::HARDLY))
        }
        claims::CONSTANT => format!(
            "largest distance of a final validation loss from ln {}: {figure}; {}",
            paper.dataset.classes,
            limit(claims::NOTHING_LEARNED)
        ),
        id => match last_validation_losses(id, results, paper) {
            Some((with, without)) => format!(
                "difference in final validation loss {figure}; with batch norm {}, without {}",
                loss(with),
                loss(without)
            ),
            None => format!("{figure}: {}", finding.measure),
        },
    }
}

/// How many checks of the claims hold.
fn tally(findings: &[Finding]) -> String {
    let of = |holds| findings.iter().filter(|f| f.holds == holds).count();
    let hold = |n: usize| if n == 1 { "holds" } else { "hold" };
    let (yes, no, open) = (of(Some(true)), of(Some(false)), of(None));
    if yes == findings.len() && yes > 1 {
        return format!("All {yes} checks of the paper’s claims hold.");
    }
    let mut text = format!("Of {} of the paper’s claims, {yes} {}", plural(findings.len(), "check"), hold(yes));
    if no > 0 {
        text += &format!(" and {no} {} not", if no == 1 { "does" } else { "do" });
    }
    if open > 0 {
        text += &format!("; {open} could not be computed from the sections that were run");
    }
    text + "."
}
