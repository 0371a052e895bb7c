//! Random search for lambda.

use std::cmp::Ordering;

use klayer_linalg::random::stream;
use klayer_train::record::RunRecord;
use rand::RngExt;

use crate::Error;

/// Maximum number of trials of a search.
pub const MOST_TRIALS: usize = 100_000;

/// Draws `trials` values between `from` and `to`, uniform in their logarithm, from the stream `name` of the root
/// `seed`.
///
/// The first values do not depend on the number of trials.
///
/// # Errors
/// [`klayer_train::Error::Setting`] unless 0 < from <= to < infinity, and for more than [`MOST_TRIALS`].
///
/// ```
/// use klayer_experiments::search::log_uniform;
///
/// let lambdas = log_uniform(42, "coarse search", 1e-5, 1e-1, 20)?;
/// assert!(lambdas.iter().all(|lambda| (1e-5..=1e-1).contains(lambda)));
/// assert_eq!(lambdas[..5], log_uniform(42, "coarse search", 1e-5, 1e-1, 5)?);
/// # Ok::<(), klayer_experiments::Error>(())
/// ```
pub fn log_uniform(seed: u64, name: &str, from: f64, to: f64, trials: usize) -> Result<Vec<f64>, Error> {
    if !(0.0 < from && from <= to && to.is_finite()) {
        let (range, needed) = (format!("{from:e} to {to:e}"), "expected 0 < from <= to < infinity");
        return Err(Error::setting("the range of lambda", range, needed));
    }
    if trials > MOST_TRIALS {
        let needed = format!("it must be at most {MOST_TRIALS}");
        return Err(Error::setting("the number of trials", trials, needed));
    }
    let mut rng = stream(seed, name);
    let (low, high) = (from.ln(), to.ln());
    Ok((0..trials).map(|_| (low + (high - low) * rng.random::<f64>()).exp().clamp(from, to)).collect())
}

/// The run with the highest validation accuracy after its last step: the first on a tie. Diverged runs are ignored.
pub fn best(records: &[RunRecord]) -> Option<&RunRecord> {
    let accuracy = |record: &RunRecord| record.last().and_then(|point| point.validation_accuracy);
    let mut best: Option<&RunRecord> = None;
    for record in records {
        if accuracy(record) > best.and_then(accuracy) {
            best = Some(record);
        }
    }
    best
}

/// The rank of each run by the validation accuracy after its last step: 1 for [`best`], `None` for diverged runs.
pub fn ranks(records: &[RunRecord]) -> Vec<Option<usize>> {
    let accuracy = |i: usize| records[i].last().and_then(|point| point.validation_accuracy);
    let mut order: Vec<_> = (0..records.len()).filter(|&i| accuracy(i).is_some()).collect();
    // The sort is stable: on a tie, the earlier run ranks first.
    order.sort_by(|&a, &b| accuracy(b).partial_cmp(&accuracy(a)).unwrap_or(Ordering::Equal));
    let mut ranks = vec![None; records.len()];
    for (rank, i) in order.into_iter().enumerate() {
        ranks[i] = Some(rank + 1);
    }
    ranks
}
