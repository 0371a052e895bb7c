//! The claims of the paper, computed from the results.

use crate::paper::Paper;
use crate::results::{Final, Finding, LossRun, Results, Search, Sensitivity};

/// The gradients are correct if no relative error reaches this.
pub(crate) const GRADIENT_TOLERANCE: f64 = 1e-6;
/// Accuracies within one percentage point of each other count as equal.
pub(crate) const ONE_POINT: f64 = 0.01;
/// Final losses that differ by less than this hardly depend on sigma.
pub(crate) const HARDLY: f64 = 0.1;
/// A network with a loss closer than this to ln(classes) has learned nothing.
pub(crate) const NOTHING_LEARNED: f64 = 0.05;
/// The paper claims a constant loss for initial standard deviations up to this.
const SMALL_SIGMA: f64 = 0.01;

/// Ids of findings.
pub(crate) const GRADIENTS: &str = "gradients-right";
pub(crate) const RANGE: &str = "coarse-leads-to-fine";
pub(crate) const FINE: &str = "fine-beats-coarse";
pub(crate) const FINAL: &str = "final-accuracy";
pub(crate) const INSENSITIVE: &str = "batch-norm-insensitive";
pub(crate) const CONSTANT: &str = "constant-loss-without";

/// A row for each claim, in the order of the paper. The quick form has no verdicts.
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
    if results.quick {
        rows.iter_mut().for_each(|row| row.holds = None);
    }
    rows
}

/// A finding with its verdict; `value` is `None` if its runs are missing or one diverged.
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
        GRADIENTS,
        "The analytic gradients are correct (3.1).",
        format!("largest relative error of all parameters of all networks; holds below {GRADIENT_TOLERANCE:e}"),
        largest(errors),
        |error| error < GRADIENT_TOLERANCE,
    )
}

fn batch_norm_id(network: &str, lambda: f64, paper: &Paper) -> String {
    let suffix = if lambda == paper.loss.lambda { "" } else { "-assumed-lambda" };
    format!("batch-norm-{network}{suffix}")
}

/// The final validation losses of a network with and without batch norm.
fn losses(results: &Results, network: &str, lambda: f64) -> Option<(f64, f64)> {
    let last = |batch_norm| {
        let same = |run: &&LossRun| run.network == network && run.lambda == lambda && run.batch_norm == batch_norm;
        let run = results.loss.iter().find(same)?;
        run.validation_accuracy.and(run.curve.last()).map(|point| point.validation_loss)
    };
    last(true).zip(last(false))
}

/// The losses, with and without batch norm, that the finding `id` compares; `None` for any other finding.
pub(crate) fn last_validation_losses(id: &str, results: &Results, paper: &Paper) -> Option<(f64, f64)> {
    let lambdas = [paper.loss.lambda, paper.loss.assumed_lambda];
    let mut cases = paper.loss.networks.iter().flat_map(|network| lambdas.map(|lambda| (network, lambda)));
    let (network, lambda) = cases.find(|(network, lambda)| batch_norm_id(network, *lambda, paper) == id)?;
    losses(results, network, lambda)
}

fn batch_norm(results: &Results, network: &str, lambda: f64, paper: &Paper) -> Finding {
    let figure = if network == "3-layer" { "Figure 1" } else { "Figure 2" };
    let which = if lambda == paper.loss.lambda { "printed" } else { "probably intended" };
    finding(
        batch_norm_id(network, lambda, paper),
        format!(
            "The {network} network ends at a lower loss with batch normalization ({figure}; lambda = {lambda}, as {which})."
        ),
        "validation loss after the last step, with batch norm minus without, one run each; holds below 0",
        losses(results, network, lambda).map(|(with, without)| with - without),
        |difference| difference < 0.0,
    )
}

/// Lambda and validation accuracy of the best trial.
pub(crate) fn best(search: &Option<Search>) -> Option<(f64, f64)> {
    let trials = search.iter().flat_map(|search| &search.trials);
    let accuracies = trials.filter_map(|trial| Some((trial.lambda, trial.validation_accuracy?)));
    accuracies.reduce(|best, trial| if trial.1 > best.1 { trial } else { best })
}

fn range(results: &Results, paper: &Paper) -> Finding {
    let (from, to) = (paper.fine.from, paper.fine.to);
    finding(
        RANGE,
        "The coarse search leads to the range of the fine search (3.4).",
        format!("lambda of the best trial of the coarse search; holds between {from:e} and {to:e}"),
        best(&results.coarse).map(|(lambda, _)| lambda),
        |lambda| (from..=to).contains(&lambda),
    )
}

fn fine_beats_coarse(results: &Results) -> Finding {
    let accuracies = best(&results.fine).zip(best(&results.coarse));
    finding(
        FINE,
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
        FINAL,
        format!("The final test accuracy is {accuracy} (3.5)."),
        format!(
            "mean test accuracy over the seeds with the paper's lambda, minus {accuracy}; holds within {ONE_POINT}"
        ),
        results.finals.iter().find(of_paper).map(|row| row.mean - accuracy),
        |difference| difference.abs() <= ONE_POINT,
    )
}

/// The final validation loss, averaged over the seeds; `None` if a run diverged.
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
        INSENSITIVE,
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
        CONSTANT,
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

/// The largest value: NaN if any value is NaN, `None` without values.
fn largest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(|largest, value| if largest.is_nan() || largest >= value { largest } else { value })
}
