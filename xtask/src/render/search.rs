//! Sections 3.3 and 3.4: the searches for lambda.

use super::document::{Block, Figure, Kind, Row, Supplement, Table, Text};
use super::format::{accuracy, capital, exact, plural, points_apart, setting};
use crate::paper::{Paper, PaperSearch, PaperTrial};
use crate::results::{Noise, Results, Search, Trial};
use klayer_chart::{Mark, Panel, Scale, Swatch};

/// Section 3.3.
pub(super) fn coarse(results: &Results, paper: &Paper, supplement: &mut Supplement) -> Vec<Block> {
    section("3.3 Coarse search", "coarse", results.coarse.as_ref(), &paper.coarse, "", results.quick, supplement)
}

/// Section 3.4.
pub(super) fn fine(results: &Results, paper: &Paper, supplement: &mut Supplement) -> Vec<Block> {
    let (top, range) = (&paper.coarse.top, paper.fine.from..=paper.fine.to);
    let remark = if top.iter().all(|trial| !range.contains(&trial.lambda)) {
        format!(" The best {} values of its coarse search are outside this range.", top.len())
    } else {
        String::new()
    };
    section("3.4 Fine search", "fine", results.fine.as_ref(), &paper.fine, &remark, results.quick, supplement)
}

/// The trials, best first; diverged trials come last.
fn ranked(search: &Search) -> Vec<&Trial> {
    let mut trials: Vec<_> = search.trials.iter().collect();
    let key = |t: &Trial| t.validation_accuracy.unwrap_or(f64::NEG_INFINITY);
    trials.sort_by(|a, b| key(b).total_cmp(&key(a)));
    trials
}

fn result(trial: &Trial) -> String {
    trial.validation_accuracy.map_or("diverged".into(), accuracy)
}

fn section(
    title: &str,
    name: &str,
    search: Option<&Search>,
    paper: &PaperSearch,
    remark: &str,
    quick: bool,
    supplement: &mut Supplement,
) -> Vec<Block> {
    let mut text =
        format!("The paper searches λ from {} to {} with {} cycles.", exact(paper.from), exact(paper.to), paper.cycles);
    text += remark;
    if let Some(search) = search {
        text += &format!(
            " We draw {} log-uniformly from {} to {} and train the 3-layer network with batch norm for {} each.",
            plural(search.trials.len(), "trial"),
            setting(search.from),
            setting(search.to),
            plural(search.cycles as usize, "cycle")
        );
    }
    let mut blocks = vec![Block::Heading(2, title.into()), Block::text(text)];
    let trials = search.map(ranked).unwrap_or_default();
    blocks.push(top(name, &trials, paper));
    let Some(search) = search else {
        blocks.push(Block::NotRun);
        return blocks;
    };
    if !quick {
        blocks.extend(comparison(&trials, search, paper));
    }
    blocks.push(Block::Figure(figure(name, search, paper, supplement)));
    if let Some(noise) = &search.noise {
        blocks.push(noise_table(noise));
    }
    blocks.push(Block::Details(format!("All trials of the {name} search"), vec![all(name, &trials)]));
    blocks
}

/// The paper's best three trials beside ours, best first.
fn top(name: &str, trials: &[&Trial], paper: &PaperSearch) -> Block {
    let mut printed: Vec<&PaperTrial> = paper.top.iter().collect();
    printed.sort_by(|a, b| b.accuracy.total_cmp(&a.accuracy));
    let row = |i: usize| {
        let (paper, ours) = (printed.get(i), trials.get(i));
        let cell = |text: Option<String>| Text::from(text.unwrap_or("–".into()));
        Row::cells([
            (i + 1).to_string().into(),
            cell(paper.map(|t| exact(t.lambda))),
            cell(paper.map(|t| exact(t.accuracy))),
            cell(ours.map(|t| setting(t.lambda))),
            cell(ours.map(|t| result(t))),
        ])
    };
    let columns = [
        ("Rank", Kind::Words),
        ("Paper: λ", Kind::Paper),
        ("Paper: accuracy", Kind::Paper),
        ("Ours: λ", Kind::Number),
        ("Ours: accuracy", Kind::Number),
    ];
    let caption = format!("The best {} of the {name} search, by validation accuracy.", printed.len());
    Table::block(caption, columns, (0..printed.len()).map(row).collect())
}

/// Our best accuracy against the paper's, and the differences among our best against the noise.
fn comparison(trials: &[&Trial], search: &Search, paper: &PaperSearch) -> Option<Block> {
    let accuracies: Vec<f64> = trials.iter().filter_map(|t| t.validation_accuracy).collect();
    let (best, printed) = (*accuracies.first()?, paper.best()?);
    let mut text = format!(
        "Our best validation accuracy is {}, the paper’s {}: {}.",
        accuracy(best),
        exact(printed.accuracy),
        points_apart(best, printed.accuracy)
    );
    if let (Some(noise), Some(last)) = (&search.noise, accuracies.get(paper.top.len() - 1)) {
        text += &format!(
            " Our best {} accuracies differ by at most {}, {} the standard deviation over seeds, {}.",
            paper.top.len(),
            accuracy(best - last),
            if best - last <= noise.std { "no more than" } else { "more than" },
            accuracy(noise.std)
        );
    }
    Some(Block::text(text))
}

fn figure(name: &str, search: &Search, paper: &PaperSearch, supplement: &mut Supplement) -> Figure {
    let found: Vec<_> = search.trials.iter().filter_map(|t| Some((t.lambda, t.validation_accuracy?))).collect();
    let printed: Vec<_> = paper.top.iter().map(|t| (t.lambda, t.accuracy)).collect();
    let diverged: Vec<f64> =
        search.trials.iter().filter(|t| t.validation_accuracy.is_none()).map(|t| t.lambda).collect();
    let mut accuracies: Vec<f64> = found.iter().chain(&printed).map(|p| p.1).collect();
    let mut lambdas: Vec<f64> = search.trials.iter().map(|t| t.lambda).chain(printed.iter().map(|p| p.0)).collect();
    lambdas.extend([search.from, search.to]);
    let mut marks = Vec::new();
    let mut legend = vec![(Swatch::Dot("ours"), "our trials".to_owned()), (Swatch::Dot("hollow"), "paper".to_owned())];
    if let Some(noise) = &search.noise {
        let (low, high) = (noise.mean - noise.std, noise.mean + noise.std);
        accuracies.extend([low, high]);
        accuracies.extend(&noise.validation_accuracy);
        lambdas.push(noise.lambda);
        marks.push(Mark::Band(low, high, "noise"));
        marks.push(Mark::Dots(noise.validation_accuracy.iter().map(|&a| (noise.lambda, a)).collect(), "seed"));
        let seeds = plural(noise.validation_accuracy.len(), "seed");
        legend.push((Swatch::Dot("seed"), format!("{seeds} at λ = {}", setting(noise.lambda))));
        legend.push((Swatch::Band("noise"), "their mean ± one standard deviation".to_owned()));
    }
    if !diverged.is_empty() {
        legend.push((Swatch::Cross("missing"), format!("diverged ({})", diverged.len())));
    }
    marks.extend([Mark::Dots(found, "ours"), Mark::Missing(diverged), Mark::Dots(printed, "hollow")]);
    let caption = format!("Validation accuracy of every trial of the {name} search against λ.");
    let panel = Panel {
        title: format!("{} search", capital(name)),
        alt: caption.clone(),
        x: (Scale::log_around(lambdas), "λ (logarithmic axis)"),
        y: (Scale::around(accuracies), "validation accuracy"),
        marks,
    };
    let label = supplement.next();
    Figure { name: name.to_owned(), label, caption: caption.into(), legend, panels: vec![panel.draw()] }
}

fn noise_table(noise: &Noise) -> Block {
    let finished = noise.seeds.iter().zip(noise.validation_accuracy.iter().map(|&a| accuracy(a)));
    let diverged = noise.diverged.iter().map(|seed| (seed, "diverged".to_owned()));
    let mut rows: Vec<Row> = finished
        .chain(diverged)
        .map(|(seed, result)| Row::cells([format!("seed {seed}").into(), result.into()]))
        .collect();
    let spread = format!("{} ± {}", accuracy(noise.mean), accuracy(noise.std));
    rows.push(Row::cells([Text::new().strong("mean ± standard deviation"), Text::new().strong(spread)]));
    let caption = format!(
        "Variation between seeds: λ = {} repeated with {}.",
        setting(noise.lambda),
        plural(noise.seeds.len() + noise.diverged.len(), "other seed")
    );
    Table::block(caption, [("Run", Kind::Words), ("Validation accuracy", Kind::Number)], rows)
}

fn all(name: &str, trials: &[&Trial]) -> Block {
    let row = |(i, t): (usize, &&Trial)| {
        Row::cells([(i + 1).to_string().into(), setting(t.lambda).into(), t.seed.to_string().into(), result(t).into()])
    };
    let columns =
        [("Rank", Kind::Words), ("λ", Kind::Number), ("Seed", Kind::Number), ("Validation accuracy", Kind::Number)];
    let caption = format!("Every trial of the {name} search, best first.");
    Table::block(caption, columns, trials.iter().enumerate().map(row).collect())
}
