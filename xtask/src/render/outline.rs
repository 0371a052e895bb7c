//! The opening, and the settings and environment of the report.

use super::document::{Block, Kind, Row, Table, Text};
use super::format::{count, exact, plural, points_apart, seconds};
use super::{finals, findings};
use crate::paper::Paper;
use crate::results::{Final, Results};

/// The keys of `seconds` and the titles of the sections, in the order of the report.
const SECTIONS: [(&str, &str); 6] = [
    ("gradients", "3.1 Gradients"),
    ("loss", "3.2 Loss"),
    ("coarse", "3.3 Coarse search"),
    ("fine", "3.4 Fine search"),
    ("final", "3.5 Final search"),
    ("sensitivity", "3.6 Sensitivity"),
];

/// What the page shows, its main result, and the summary.
pub(super) fn opening(results: &Results, paper: &Paper) -> Vec<Block> {
    let mut blocks = vec![Block::text(
        "A course report, here called the paper, trained K-layer fully connected networks with batch normalization to \
         classify the images of CIFAR-10. This page repeats its experiments and shows every table and figure of its \
         results, in the paper’s order and with its numbering; the paper’s numbers appear beside ours. Figures 1 to 5 are the \
         paper’s; Figures S1, S2 and so on are additions.",
    )];
    let of_paper = |row: &&Final| row.lambda == paper.final_.lambda && !row.test_accuracy.is_empty();
    if let Some(row) = results.finals.iter().find(of_paper).filter(|_| !results.quick) {
        let of = if results.dataset.synthetic { "the synthetic test images" } else { "the test images" };
        blocks.push(Block::Text(
            Text::from(format!("At the paper’s λ = {} our accuracy on {of} is ", exact(row.lambda)))
                .strong(finals::mean(row))
                .plain(format!(" over {}; the paper printed ", plural(row.test_accuracy.len(), "run")))
                .strong(exact(paper.final_.accuracy))
                .plain(format!(". Our accuracy is {}.", points_apart(row.mean, paper.final_.accuracy))),
        ));
    }
    blocks.extend(findings::summary(results, paper));
    blocks
}

/// Data, settings, machine and times.
pub(super) fn provenance(results: &Results, paper: &Paper, tables: &[String]) -> Vec<Block> {
    let (data, machine, images) = (&results.dataset, &results.environment, &paper.dataset);
    let total = data.training + data.validation + data.test;
    let mut blocks = vec![Block::Heading(2, "Settings and environment".into())];
    blocks.push(Block::text(format!(
        "The paper describes {} images of {}×{} pixels in {} classes, {} of each. We use {}: {} for training, {} for \
         validation and {} for testing.",
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
        fact("Parallel runs", machine.threads.to_string().into()),
        fact("System", machine.system.as_str().into()),
    ];
    blocks.push(Table::block("Data, seed and machine.", [("Item", Kind::Words), ("Value", Kind::Words)], facts));
    let known = SECTIONS.iter().filter_map(|&(key, title)| Some((title, *results.seconds.get(key)?)));
    let others = results.seconds.iter().filter(|(key, _)| SECTIONS.iter().all(|s| s.0 != key.as_str()));
    let times: Vec<_> = known.chain(others.map(|(key, &s)| (key.as_str(), s))).collect();
    if !times.is_empty() {
        let mut rows: Vec<_> = times.iter().map(|&(name, s)| Row::cells([name.into(), seconds(s).into()])).collect();
        let sum = seconds(times.iter().map(|t| t.1).sum());
        rows.push(Row::cells([Text::new().strong("Total"), Text::new().strong(sum)]));
        blocks.push(Table::block("Wall-clock time.", [("Section", Kind::Words), ("Time", Kind::Number)], rows));
    }
    let mut text = Text::from("All numbers at full precision: ").link("results.json");
    for table in tables {
        text = text.plain(", ").link(table);
    }
    blocks.push(Block::Text(text.plain(".")));
    blocks
}
