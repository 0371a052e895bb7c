//! The claims of the paper, computed from the results.

use crate::paper::Paper;
use crate::results::{Final, Finding, LossRun, Results, Search, Sensitivity};

/// Largest relative error of a gradient that is right.
const GRADIENT_TOLERANCE: f64 = 1e-6;
/// Accuracies within one percentage point of each other are the same.
const ONE_POINT: f64 = 0.01;
/// Final losses closer than this hardly depend on what differs.
const HARDLY: f64 = 0.1;
/// Losses closer than this to ln(classes) are those of a network that has learned nothing.
const NOTHING_LEARNED: f64 = 0.05;
/// Initial deviations that the paper's claim of a constant loss is about.
const SMALL_SIGMA: f64 = 0.01;

/// A row for each claim, in the order of the paper.
pub(crate) fn findings(results: &Results, paper: &Paper) -> Vec<Finding> {
    let mut rows = vec![gradients(results)];
    for lambda in [paper.loss.lambda, paper.loss.assumed_lambda] {
        rows.extend(paper.loss.networks.iter().map(|network| batch_norm(results, network, lambda, paper)));
    }
    rows.push(range(results, paper));
    rows.push(fine_beats_coarse(results));
    rows.push(final_accuracy(results, paper));
    rows.push(insensitive(results));
    rows.push(constant_loss(results, paper));
    rows
}

/// A finding of `value`, which holds if `holds` says so; without a value it was not run, or a run diverged.
fn finding(
    id: impl Into<String>,
    claim: impl Into<String>,
    measure: impl Into<String>,
    value: Option<f64>,
    holds: impl Fn(f64) -> bool,
) -> Finding {
    Finding { id: id.into(), claim: claim.into(), measure: measure.into(), value, holds: value.map(holds) }
}

fn gradients(results: &Results) -> Finding {
    let errors = results.gradients.iter().map(|row| row.max_relative_error);
    finding(
        "gradients-right",
        "The analytic gradients are right (3.1).",
        format!("largest relative error of all parameters of all networks; holds below {GRADIENT_TOLERANCE:e}"),
        largest(errors),
        |error| error < GRADIENT_TOLERANCE,
    )
}

fn batch_norm(results: &Results, network: &str, lambda: f64, paper: &Paper) -> Finding {
    let last = |batch_norm| {
        let same = |run: &&LossRun| run.network == network && run.lambda == lambda && run.batch_norm == batch_norm;
        let run = results.loss.iter().find(same)?;
        run.validation_accuracy.and(run.curve.last()).map(|point| point.validation_loss)
    };
    let figure = if network == "3-layer" { "Figure 1" } else { "Figure 2" };
    let (suffix, which) =
        if lambda == paper.loss.lambda { ("", "printed") } else { ("-assumed-lambda", "probably meant") };
    finding(
        format!("batch-norm-{network}{suffix}"),
        format!(
            "The {network} network ends at a lower loss with batch normalization ({figure}), lambda = {lambda} as {which}."
        ),
        "validation loss after the last step, with batch norm minus without, one run each; holds below 0",
        last(true).zip(last(false)).map(|(with, without)| with - without),
        |difference| difference < 0.0,
    )
}

fn best(search: &Option<Search>) -> Option<(f64, f64)> {
    let trials = search.iter().flat_map(|search| &search.trials);
    let accuracies = trials.filter_map(|trial| Some((trial.lambda, trial.validation_accuracy?)));
    accuracies.reduce(|best, trial| if trial.1 > best.1 { trial } else { best })
}

fn range(results: &Results, paper: &Paper) -> Finding {
    let (from, to) = (paper.fine.from, paper.fine.to);
    finding(
        "coarse-leads-to-fine",
        "The coarse search leads to the range of the fine search (3.4).",
        format!("lambda of the best trial of the coarse search; holds between {from:e} and {to:e}"),
        best(&results.coarse).map(|(lambda, _)| lambda),
        |lambda| (from..=to).contains(&lambda),
    )
}

fn fine_beats_coarse(results: &Results) -> Finding {
    let accuracies = best(&results.fine).zip(best(&results.coarse));
    finding(
        "fine-beats-coarse",
        "The fine search finds a better lambda than the coarse search (3.4).",
        "best validation accuracy of the fine search (one cycle longer) minus that of the coarse one; holds above 0",
        accuracies.map(|((_, fine), (_, coarse))| fine - coarse),
        |difference| difference > 0.0,
    )
}

fn final_accuracy(results: &Results, paper: &Paper) -> Finding {
    let (lambda, accuracy) = (paper.final_.lambda, paper.final_.accuracy);
    let of_paper = |row: &&Final| row.lambda == lambda && row.diverged.is_empty() && !row.seeds.is_empty();
    finding(
        "final-accuracy",
        format!("The final test accuracy is {accuracy} (3.5)."),
        format!(
            "mean test accuracy over the seeds with the paper's lambda, minus {accuracy}; holds within {ONE_POINT}"
        ),
        results.finals.iter().find(of_paper).map(|row| row.mean - accuracy),
        |difference| difference.abs() <= ONE_POINT,
    )
}

/// The mean over the seeds of the final validation loss; none if a run diverged.
fn mean_loss(row: &Sensitivity) -> Option<f64> {
    let losses: Option<Vec<f64>> = row.final_validation_loss.iter().copied().collect();
    losses.filter(|losses| !losses.is_empty()).map(|losses| losses.iter().sum::<f64>() / losses.len() as f64)
}

fn insensitive(results: &Results) -> Finding {
    let rows = results.sensitivity.iter().filter(|row| row.batch_norm);
    let losses: Option<Vec<f64>> = rows.map(mean_loss).collect();
    let spread = losses.and_then(|losses| {
        let smallest = losses.iter().copied().reduce(f64::min)?;
        losses.iter().copied().reduce(f64::max).map(|largest| largest - smallest)
    });
    finding(
        "batch-norm-insensitive",
        "With batch normalization the final loss hardly depends on sigma (3.6).",
        format!("largest minus smallest mean validation loss over the sigmas, with batch norm; holds below {HARDLY}"),
        spread,
        |spread| spread < HARDLY,
    )
}

fn constant_loss(results: &Results, paper: &Paper) -> Finding {
    let chance = (paper.dataset.classes as f64).ln();
    let small = |row: &&Sensitivity| !row.batch_norm && row.sigma <= SMALL_SIGMA;
    let distances = results.sensitivity.iter().filter(small).flat_map(|row| &row.final_validation_loss);
    let distances: Option<Vec<f64>> = distances.map(|loss| loss.map(|loss| (loss - chance).abs())).collect();
    finding(
        "constant-loss-without",
        format!(
            "Without batch normalization the loss stays near ln {} at the small sigmas (3.6).",
            paper.dataset.classes
        ),
        format!(
            "largest distance of a final validation loss from ln {} = {chance:.4}, without batch norm, over sigma <= {SMALL_SIGMA}; holds below {NOTHING_LEARNED}",
            paper.dataset.classes
        ),
        distances.and_then(|distances| largest(distances.into_iter())),
        |distance| distance < NOTHING_LEARNED,
    )
}

/// The largest value, NaN if there is one, and none of nothing.
fn largest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(|largest, value| if largest.is_nan() || largest >= value { largest } else { value })
}
