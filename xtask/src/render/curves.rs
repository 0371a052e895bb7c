//! Sections 3.2 and 3.6: training curves, with batch norm on the left and without on the right.

use super::document::{Block, Figure, Kind, Row, Supplement, Table, Text};
use super::format::{accuracy, capital, count, exact, fixed, loss, setting, slug};
use super::{bn, mean_and_range, norm};
use crate::paper::Paper;
use crate::results::{LossRun, Point, Results, Sensitivity};
use klayer_chart::{Drawing, Mark, Panel, Scale, Swatch, range};

/// A quantity of a point.
type Value = fn(&Point) -> f64;

const LOSSES: [(Value, &str); 2] = [(|p| p.training_loss, "line training"), (|p| p.validation_loss, "line validation")];
const COSTS: [Value; 2] = [|p| p.training_cost, |p| p.validation_cost];

/// The loss of guessing uniformly.
fn chance(paper: &Paper) -> f64 {
    (paper.dataset.classes as f64).ln()
}

fn legend(paper: &Paper) -> Vec<(Swatch, String)> {
    vec![
        (Swatch::Line("training"), "training".into()),
        (Swatch::Line("validation"), "validation".into()),
        (Swatch::Line("rule"), format!("ln {}, the loss of guessing", paper.dataset.classes)),
    ]
}

fn line(curve: &[Point], value: Value, class: &'static str) -> Mark {
    Mark::Line(curve.iter().map(|p| (p.step as f64, value(p))).collect(), class)
}

fn steps<'a>(curves: impl IntoIterator<Item = &'a [Point]>) -> Scale {
    Scale::from_zero(curves.into_iter().flatten().map(|p| p.step as f64))
}

/// The distinct values in order of appearance: "0.05 and 0.005".
fn settings_of(values: impl Iterator<Item = f64>) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in values.map(setting) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(" and ")
}

/// The two panels of a figure, with batch norm first. The title of a panel without curves ends in "not run".
fn pair(
    what: &str,
    axes: (&Scale, &Scale),
    name: &'static str,
    level: Option<f64>,
    curves: impl Fn(bool) -> Vec<Mark>,
) -> Vec<Drawing> {
    let panel = |batch_norm| {
        let mut marks: Vec<_> = level.map(|at| Mark::Rule(at, "rule")).into_iter().collect();
        let lines = curves(batch_norm);
        let missing = if lines.is_empty() { ": not run" } else { "" };
        marks.extend(lines);
        let heading = norm(batch_norm);
        let title = capital(heading) + missing;
        let alt = format!("{what}, {heading}{missing}: training and validation {name} against update steps.");
        Panel { title, alt, x: (axes.0.clone(), "update step"), y: (axes.1.clone(), name), marks }.draw()
    };
    vec![panel(true), panel(false)]
}

/// Section 3.2.
pub(super) fn loss_section(results: &Results, paper: &Paper, supplement: &mut Supplement) -> Vec<Block> {
    let settings = &paper.loss;
    let mut blocks = vec![Block::Heading(2, "3.2 Loss".into())];
    let mut text = Text::from("The paper sets η").sub("min").plain(format!(" = {}, η", exact(settings.eta_min)));
    text = text.sub("max").plain(format!(" = {}, λ = {}, n", exact(settings.eta_max), exact(settings.lambda)));
    text = text.sub("s").plain(format!(
        " = {} and trains for {} cycles, which is {} update steps. Its λ is probably a misprint of {}. \
         The paper prints no numbers for these figures.",
        count(settings.n_s),
        settings.cycles,
        count(2 * settings.n_s * settings.cycles),
        exact(settings.assumed_lambda)
    ));
    if results.loss.is_empty() {
        blocks.extend([Block::Text(text), Block::NotRun]);
        return blocks;
    }
    let last = results.loss.iter().filter_map(|r| r.curve.last()).map(|p| p.step).max().unwrap_or(0);
    let lambdas = settings_of(results.loss.iter().map(|r| r.lambda));
    blocks.push(Block::Text(text.plain(format!(" Our runs use λ = {lambdas} and {} update steps.", count(last)))));
    let mut networks: Vec<&str> = settings.networks.iter().map(String::as_str).collect();
    for run in &results.loss {
        if !networks.contains(&run.network.as_str()) {
            networks.push(&run.network);
        }
    }
    for (i, network) in networks.into_iter().enumerate() {
        let runs: Vec<_> = results.loss.iter().filter(|r| r.network == network).collect();
        blocks.push(Block::Heading(3, format!("3.2.{} {network} network", i + 1)));
        if runs.is_empty() {
            blocks.push(Block::NotRun);
            continue;
        }
        blocks.extend(network_figures(network, &runs, paper, i + 1, results.quick, supplement));
    }
    blocks.push(Block::Heading(3, "After the last update step".into()));
    blocks.push(final_losses(results));
    blocks
}

fn network_figures(
    network: &str,
    runs: &[&LossRun],
    paper: &Paper,
    number: usize,
    quick: bool,
    supplement: &mut Supplement,
) -> Vec<Block> {
    let mut lambdas: Vec<f64> = runs.iter().map(|r| r.lambda).collect();
    lambdas.sort_by(|a, b| b.total_cmp(a));
    lambdas.dedup();
    lambdas.sort_by_key(|&l| l != paper.loss.lambda);
    let x = steps(runs.iter().map(|r| r.curve.as_slice()));
    let values = |of: &[Value]| -> Vec<f64> {
        runs.iter().flat_map(|r| &r.curve).flat_map(|p| of.iter().map(|f| f(p)).collect::<Vec<_>>()).collect()
    };
    let y = Scale::around(values(&LOSSES.map(|(value, _)| value)).into_iter().chain([chance(paper)]));
    let mut blocks = Vec::new();
    for &lambda in &lambdas {
        let printed = lambda == paper.loss.lambda && number <= paper.loss.networks.len();
        let what = format!("Loss of the {network} network at λ = {}", setting(lambda));
        let panels = pair(&what, (&x, &y), "loss", Some(chance(paper)), |batch_norm| {
            let run = runs.iter().find(|r| r.batch_norm == batch_norm && r.lambda == lambda);
            run.map(|run| LOSSES.map(|(value, class)| line(&run.curve, value, class)).into()).unwrap_or_default()
        });
        let caption = format!("{what}, with batch norm and without.");
        blocks.push(Block::Figure(Figure {
            name: format!("loss-{}-lambda-{}", slug(network), slug(&format!("{lambda:?}"))),
            label: if printed { format!("Figure {number}") } else { supplement.next() },
            caption: caption.into(),
            legend: legend(paper),
            panels,
        }));
        if !quick {
            blocks.extend(comparison(runs, lambda));
        }
    }
    let y = Scale::around(values(&COSTS));
    let names = [("training", "training dashed"), ("validation", "validation dashed")];
    let class = |lambda: f64, i: usize| if lambda == lambdas[0] { names[i].0 } else { names[i].1 };
    let what = format!("Cost of the {network} network");
    let panels = pair(&what, (&x, &y), "cost", None, |batch_norm| {
        let chosen = runs.iter().filter(|r| r.batch_norm == batch_norm);
        chosen.flat_map(|r| [0, 1].map(|i| line(&r.curve, COSTS[i], class(r.lambda, i)))).collect()
    });
    let entry = |&lambda: &f64| names.iter().enumerate().map(move |(i, n)| (class(lambda, i), n.0, lambda));
    let entries = lambdas.iter().flat_map(entry);
    blocks.push(Block::Figure(Figure {
        name: format!("cost-{}", slug(network)),
        label: supplement.next(),
        caption: format!("{what}: the loss and the L2 penalty, λ times the sum of the squared weights.").into(),
        legend: entries.map(|(c, n, l)| (Swatch::Line(c), format!("{n}, λ = {}", setting(l)))).collect(),
        panels,
    }));
    blocks
}

/// A sentence that compares the final validation losses with and without batch norm.
fn comparison(runs: &[&LossRun], lambda: f64) -> Option<Block> {
    let last = |batch_norm| {
        let run = runs.iter().find(|r| r.lambda == lambda && r.batch_norm == batch_norm)?;
        run.validation_accuracy?;
        run.curve.last().map(|p| p.validation_loss)
    };
    let (with, without) = (last(true)?, last(false)?);
    let difference = fixed((with - without).abs(), 3);
    let words = match difference.as_str() {
        "0.000" => "the same to three decimals".to_owned(),
        _ => format!("{difference} {}", if with < without { "lower" } else { "higher" }),
    };
    Some(Block::text(format!(
        "At λ = {} the final validation loss is {} with batch norm and {} without: {words} with batch norm.",
        setting(lambda),
        loss(with),
        loss(without)
    )))
}

fn final_losses(results: &Results) -> Block {
    let mut rows = Vec::new();
    let mut group = String::new();
    for run in &results.loss {
        let heading = format!("{}, λ = {}", run.network, setting(run.lambda));
        if heading != group {
            rows.push(Row::Group(heading.as_str().into()));
            group = heading;
        }
        let last = run.curve.last().filter(|_| run.validation_accuracy.is_some());
        let values: [Value; 4] = [LOSSES[0].0, LOSSES[1].0, COSTS[0], COSTS[1]];
        let mut cells = vec![Text::from(bn(run.batch_norm))];
        cells.extend(values.map(|value| last.map_or("diverged".into(), |p| loss(value(p)).into())));
        cells.push(run.validation_accuracy.map_or("diverged".into(), |a| accuracy(a).into()));
        rows.push(Row::Cells(cells));
    }
    let columns = [
        ("Run", Kind::Words),
        ("Training loss", Kind::Number),
        ("Validation loss", Kind::Number),
        ("Training cost", Kind::Number),
        ("Validation cost", Kind::Number),
        ("Validation accuracy", Kind::Number),
    ];
    Table::block("Losses, costs and accuracies after the last update step. BN: batch norm.", columns, rows)
}

/// Section 3.6.
pub(super) fn sensitivity_section(results: &Results, paper: &Paper, supplement: &mut Supplement) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(2, "3.6 Sensitivity to initialization".into())];
    let sigmas: Vec<_> = paper.sensitivity.sigmas.iter().map(|&s| exact(s)).collect();
    let mut text = format!(
        "The {} network starts from weights drawn from N(0, σ²), σ = {}, and trains for {} cycles in the paper, with \
         the λ of its fine search, {}.",
        paper.sensitivity.network,
        sigmas.join(", "),
        paper.sensitivity.cycles,
        exact(paper.final_.lambda)
    );
    let rows = &results.sensitivity;
    if rows.is_empty() {
        blocks.extend([Block::text(text), Block::NotRun]);
        return blocks;
    }
    let ours = if rows.iter().all(|r| r.lambda == paper.final_.lambda) {
        "the same λ".to_owned()
    } else {
        format!("λ = {}", settings_of(rows.iter().map(|r| r.lambda)))
    };
    text += &format!(" Our runs use {ours}. Each line is one seed. The paper prints no numbers for these figures.");
    blocks.push(Block::text(text));
    let curves = || rows.iter().flat_map(|r| &r.curves).map(Vec::as_slice);
    let values = curves().flatten().flat_map(|p| [p.training_loss, p.validation_loss]);
    let (x, y) = (steps(curves()), Scale::around(values.chain([chance(paper)])));
    let mut order = paper.sensitivity.sigmas.clone();
    order.extend(rows.iter().map(|r| r.sigma).filter(|s| !paper.sensitivity.sigmas.contains(s)));
    order.dedup();
    for (i, sigma) in order.into_iter().enumerate() {
        let name = format!("sensitivity-sigma-{}", slug(&format!("{sigma:?}")));
        let label = match i {
            i if i < paper.sensitivity.sigmas.len() => format!("Figure {}", paper.loss.networks.len() + i + 1),
            _ => supplement.next(),
        };
        let what = format!("Loss of the {} network from σ = {}", paper.sensitivity.network, setting(sigma));
        let panels = pair(&what, (&x, &y), "loss", Some(chance(paper)), |batch_norm| {
            let chosen = rows.iter().filter(|r| r.sigma == sigma && r.batch_norm == batch_norm);
            let seed = |c: &Vec<Point>| {
                [line(c, LOSSES[0].0, "line training thin"), line(c, LOSSES[1].0, "line validation thin")]
            };
            chosen.flat_map(|r| &r.curves).flat_map(seed).collect()
        });
        let caption = format!("{what}, with batch norm and without.");
        blocks.push(Block::Figure(Figure { name, label, caption: caption.into(), legend: legend(paper), panels }));
    }
    blocks.push(sensitivity_table(rows));
    let sentences = [true, false].into_iter().filter_map(|batch_norm| spread(rows, batch_norm));
    let guessing = format!("The loss of random guessing is ln {} = {}.", paper.dataset.classes, loss(chance(paper)));
    blocks.push(Block::text(sentences.chain([guessing]).collect::<Vec<_>>().join(" ")));
    blocks
}

fn sensitivity_table(rows: &[Sensitivity]) -> Block {
    let row = |r: &Sensitivity| {
        Row::cells([
            format!("σ = {}, {}", setting(r.sigma), bn(r.batch_norm)).into(),
            mean_and_range(&r.final_training_loss, loss).into(),
            mean_and_range(&r.final_validation_loss, loss).into(),
            mean_and_range(&r.final_validation_accuracy, accuracy).into(),
        ])
    };
    let columns = [
        ("Weights", Kind::Words),
        ("Training loss", Kind::Number),
        ("Validation loss", Kind::Number),
        ("Validation accuracy", Kind::Number),
    ];
    let caption = "Means over the seeds after the last update step, with the range in parentheses. BN: batch norm.";
    Table::block(caption, columns, rows.iter().map(row).collect())
}

/// A sentence with the range of the mean final validation loss over sigma.
fn spread(rows: &[Sensitivity], batch_norm: bool) -> Option<String> {
    let means = rows.iter().filter(|r| r.batch_norm == batch_norm).filter_map(|r| {
        let finite: Vec<f64> = r.final_validation_loss.iter().flatten().copied().collect();
        (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64)
    });
    let (lo, hi) = range(means)?;
    let heading = capital(norm(batch_norm));
    let (from, to, apart) = (loss(lo), loss(hi), loss(hi - lo));
    Some(if from == to {
        format!("{heading} the mean validation loss is {from} for all σ.")
    } else {
        format!("{heading} the mean validation loss lies between {from} and {to} over all σ, {apart} apart.")
    })
}
