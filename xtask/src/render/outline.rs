//! What stands around the sections: the opening, the findings, and how it was made.

use super::document::{Block, Kind, Row, Table, Text};
use super::finals;
use super::format::{count, exact, plural, points_apart, seconds, setting};
use crate::paper::Paper;
use crate::results::{Finding, Results};

/// The sections in the order of the report, as `seconds` names them.
const SECTIONS: [(&str, &str); 6] = [
    ("gradients", "3.1 Gradients"),
    ("loss", "3.2 Loss"),
    ("coarse", "3.3 Coarse search"),
    ("fine", "3.4 Fine search"),
    ("final", "3.5 Final search"),
    ("sensitivity", "3.6 Sensitivity"),
];

/// What the page is, its main result, and the findings in short.
pub(super) fn opening(results: &Results, paper: &Paper) -> Vec<Block> {
    let mut blocks = vec![Block::text(
        "A paper trained K-layer fully connected networks with batch normalization to classify the images of CIFAR-10. \
         This page runs its experiments again and shows every table and figure of its results, in its order and under \
         its numbers, with what the paper printed beside what we found. Figures 1 to 5 are the paper’s; those with an S \
         are added.",
    )];
    if let Some(row) = results.finals.iter().find(|r| r.lambda == paper.final_.lambda && !r.test_accuracy.is_empty()) {
        let of = if results.dataset.synthetic { "the synthetic test images" } else { "the test images" };
        blocks.push(Block::Text(
            Text::from(format!("At the paper’s λ = {} our accuracy on {of} is ", exact(row.lambda)))
                .strong(finals::mean(row))
                .plain(format!(" over {}; the paper printed ", plural(row.test_accuracy.len(), "run")))
                .strong(exact(paper.final_.accuracy))
                .plain(format!(". Ours is {}.", points_apart(row.mean, paper.final_.accuracy))),
        ));
    }
    if !results.findings.is_empty() {
        let rows =
            results.findings.iter().map(|f| Row::Verdict(vec![f.claim.as_str().into(), value(f).into()], f.holds));
        let columns = [("The paper’s claim", Kind::Words), ("Measured", Kind::Number), ("Verdict", Kind::Words)];
        blocks.push(Block::Heading(2, "Summary".into()));
        blocks.push(Block::text(tally(&results.findings)));
        blocks.push(Table::block(
            "The paper’s claims in short; what is measured stands under Findings.",
            columns,
            rows.collect(),
        ));
    }
    blocks
}

fn value(finding: &Finding) -> String {
    finding.value.map_or("–".into(), setting)
}

/// How many claims hold.
fn tally(findings: &[Finding]) -> String {
    let of = |holds| findings.iter().filter(|f| f.holds == holds).count();
    let hold = |n: usize| if n == 1 { "holds" } else { "hold" };
    let (yes, no, open) = (of(Some(true)), of(Some(false)), of(None));
    let mut text = format!("Of {} of the paper, {yes} {}", plural(findings.len(), "claim"), hold(yes));
    if no > 0 {
        text += &format!(" and {no} {} not", if no == 1 { "does" } else { "do" });
    }
    if open > 0 {
        text += &format!("; {open} could not be computed from the sections that were run");
    }
    text + "."
}

/// Every finding with its measure.
pub(super) fn findings(results: &Results) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(2, "Findings".into())];
    if results.findings.is_empty() {
        blocks.push(Block::NotRun);
        return blocks;
    }
    let row = |f: &Finding| {
        let claim = Text::new().strong(&f.claim).line().muted(&f.measure);
        Row::Verdict(vec![claim, value(f).into()], f.holds)
    };
    let columns = [("Claim and measure", Kind::Words), ("Value", Kind::Number), ("Verdict", Kind::Words)];
    let caption = "Each claim of the paper, what is measured, and whether it holds; computed from the runs.";
    blocks.push(Table::block(caption, columns, results.findings.iter().map(row).collect()));
    blocks
}

/// Data, seed, machine and time.
pub(super) fn provenance(results: &Results, paper: &Paper, tables: &[String]) -> Vec<Block> {
    let (data, machine, images) = (&results.dataset, &results.environment, &paper.dataset);
    let total = data.training + data.validation + data.test;
    let mut blocks = vec![Block::Heading(2, "How it was made".into())];
    blocks.push(Block::text(format!(
        "The paper describes {} images of {}×{} pixels in {} classes, {} of each. Ours are {}: {} to train on, {} to \
         choose by and {} for the final figures.",
        count(images.images as u64),
        images.width,
        images.height,
        images.classes,
        count(images.images_per_class as u64),
        count(total as u64),
        count(data.training as u64),
        count(data.validation as u64),
        count(data.test as u64),
    )));
    let fact = |name: &str, text: Text| Row::cells([name.into(), text]);
    let facts = vec![
        fact("Data set", data.name.as_str().into()),
        fact("SHA-256", Text::new().code(&data.sha256)),
        fact("Root seed", results.seed.to_string().into()),
        fact("Form", if results.quick { super::QUICK } else { "full" }.into()),
        fact("Mini-batch", plural(results.settings.batch, "image").into()),
        fact(
            "Learning rate",
            format!(
                "{} to {} and back, n_s = {} update steps each way",
                exact(results.settings.eta_min),
                exact(results.settings.eta_max),
                count(results.settings.n_s)
            )
            .into(),
        ),
        fact("klayer", machine.version.as_str().into()),
        fact("Processor", machine.processor.as_str().into()),
        fact("Cores", machine.cores.to_string().into()),
        fact("Runs at a time", machine.threads.to_string().into()),
        fact("System", machine.system.as_str().into()),
    ];
    blocks.push(Table::block("Data, seed and machine.", [("Item", Kind::Words), ("Value", Kind::Words)], facts));
    let known = SECTIONS.iter().filter_map(|&(key, title)| Some((title, *results.seconds.get(key)?)));
    let others = results.seconds.iter().filter(|(key, _)| SECTIONS.iter().all(|s| s.0 != key.as_str()));
    let times: Vec<_> = known.chain(others.map(|(key, &s)| (key.as_str(), s))).collect();
    if !times.is_empty() {
        let mut rows: Vec<_> = times.iter().map(|&(name, s)| Row::cells([name.into(), seconds(s).into()])).collect();
        let sum = seconds(times.iter().map(|t| t.1).sum());
        rows.push(Row::cells([Text::new().strong("Together"), Text::new().strong(sum)]));
        blocks.push(Table::block("Wall-clock time.", [("Section", Kind::Words), ("Time", Kind::Number)], rows));
    }
    let mut text = Text::from("All numbers, with every digit: ").link("results.json");
    for table in tables {
        text = text.plain(", ").link(table);
    }
    blocks.push(Block::Text(text.plain(".")));
    blocks
}
