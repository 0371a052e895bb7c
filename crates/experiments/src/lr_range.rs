//! The learning-rate range test (Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3).
//!
//! Trains a network while raising the learning rate at every step; the accuracy against the rate shows which range a
//! cyclical schedule should use. Smith's rule: eta_min is the rate at which the accuracy starts to rise, and eta_max
//! the rate at which it slows, becomes ragged or starts to fall. [`suggest`] defines these terms.

use std::sync::{Mutex, PoisonError};

use klayer_dataset::Dimensions;
use klayer_linalg::Par;
use klayer_optim::{L2, Ramp};
use klayer_train::record::Divergence;
use klayer_train::{AugmentConfig, BatchConfig, Data, Event, NetworkConfig, Observer, OptimizerConfig, Plan};
use serde::Serialize;

use crate::Error;

/// Minimum number of points for [`suggest`].
const FEWEST: usize = 8;
/// Fraction of the climb at which the accuracy has started to rise.
const STARTED: f64 = 0.1;
/// Fraction of the climb at which it slows.
const SLOWED: f64 = 0.95;
/// Fraction of the climb by which it falls, or by which a ragged accuracy scatters.
const UNSTEADY: f64 = 0.1;
/// Smallest increase that counts as a climb.
const LEAST_CLIMB: f64 = 0.02;

/// Settings of a range test.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeConfig {
    /// Network.
    pub network: NetworkConfig,
    /// Mini-batches.
    pub batch: BatchConfig,
    /// Random changes of training images.
    pub augment: AugmentConfig,
    /// Optimizer.
    pub optimizer: OptimizerConfig,
    /// L2 penalty weight.
    pub lambda: f64,
    /// Root seed of everything random.
    pub seed: u64,
    /// Learning rates.
    pub ramp: Ramp,
    /// Update steps between points.
    pub every: u64,
}

impl RangeConfig {
    /// Validates the settings that do not depend on the images.
    ///
    /// # Errors
    /// [`Error::Train`].
    pub fn check(&self) -> Result<(), Error> {
        self.network.check()?;
        self.batch.check(self.network.uses_batch_norm())?;
        self.optimizer.check()?;
        if self.every == 0 {
            return Err(Error::setting("the number of update steps between points", 0, "it must be at least 1"));
        }
        L2::new(self.lambda)?;
        Ok(())
    }

    /// Validates the settings for a dataset of these dimensions.
    ///
    /// # Errors
    /// [`Error::Train`].
    pub fn check_for(&self, data: &Dimensions) -> Result<(), Error> {
        self.check()?;
        self.batch.check_images(data.training)?;
        self.augment.augment().check(data.shape).map_err(klayer_train::Error::from)?;
        self.network.architecture(data.shape.features(), data.classes)?;
        Ok(())
    }
}

/// A point of a range test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RangePoint {
    /// Completed update steps.
    pub step: u64,
    /// Learning rate of the last step.
    pub rate: f64,
    /// Mean cross-entropy of the mini-batches since the previous point, each before its update step.
    pub batch_loss: f64,
    /// Cross-entropy on the validation images.
    pub validation_loss: f64,
    /// Validation accuracy.
    pub validation_accuracy: f64,
}

/// The result of a range test.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeTest {
    /// Points in the order of rising rate.
    pub points: Vec<RangePoint>,
    /// Where the test ended early because the loss was no longer finite.
    pub diverged: Option<Divergence>,
}

/// Rates for a cyclical schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestion {
    /// The smallest rate.
    pub eta_min: f64,
    /// The largest rate.
    pub eta_max: f64,
    /// Explanation of the rates in a sentence or two.
    pub reason: String,
}

/// Keeps the points of a range test, and reports all events to its observer.
struct Points<'a> {
    observer: &'a dyn Observer,
    points: Mutex<Vec<RangePoint>>,
}

impl Observer for Points<'_> {
    fn on(&self, event: &Event<'_>) {
        self.observer.on(event);
        if let Event::Evaluated(metrics) = event
            && let Some((loss, accuracy)) = metrics.point.validation_loss.zip(metrics.point.validation_accuracy)
        {
            self.points.lock().unwrap_or_else(PoisonError::into_inner).push(RangePoint {
                step: metrics.point.step,
                rate: metrics.rate,
                batch_loss: metrics.batch_loss,
                validation_loss: loss,
                validation_accuracy: accuracy,
            });
        }
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}

/// Trains a network while raising the learning rate. The result does not depend on `par`.
///
/// # Errors
/// [`Error::Train`] for invalid settings, [`Error::Cancelled`] if the observer cancels. A loss that is no longer finite
/// ends the test early and is a result, not an error.
pub fn range_test(config: &RangeConfig, data: &Data, par: &Par, observer: &dyn Observer) -> Result<RangeTest, Error> {
    config.check_for(&data.dataset.dimensions())?;
    if data.dataset.validation().is_empty() {
        return Err(Error::setting("the number of validation images", 0, "a range test needs at least 1"));
    }
    let plan = Plan {
        network: &config.network,
        lambda: config.lambda,
        batch: &config.batch,
        augment: &config.augment,
        optimizer: &config.optimizer,
        seed: config.seed,
        schedule: Box::new(config.ramp),
        steps: config.ramp.steps(),
        validate_every: config.every,
        training_sample: None,
        test: false,
    };
    let points = Points { observer, points: Mutex::default() };
    let diverged = plan.train::<f32>(data, par, &points)?.diverged;
    Ok(RangeTest { points: points.points.into_inner().unwrap_or_else(PoisonError::into_inner), diverged })
}

/// Suggests rates from the accuracy against the rate; `chance` is the accuracy of guessing.
///
/// The accuracy is smoothed by a centered mean over a twentieth of the points. Its climb is the range from `chance` to
/// its highest smoothed value.
/// - It *starts to rise* after a tenth of its climb; eta_min is the rate of the point before.
/// - It *slows* after 95% of its climb. It *falls* where it is a tenth of its climb below an earlier value, and *is
///   ragged* where it scatters about its smoothed value by as much. eta_max is the rate at the first of these.
///
/// If eta_max is among the last tenth of the points, the reason says that the accuracy still rises there. If both
/// rates are equal, eta_min is a quarter of eta_max, which is Smith's rule of thumb.
///
/// # Errors
/// A message for fewer than eight points, and for an accuracy that does not rise.
///
/// ```
/// use klayer_experiments::lr_range::suggest;
///
/// // The network learns nothing below 0.02; the accuracy rises up to 0.06 and stays there.
/// let accuracy = |rate: f64| 0.1 + (rate - 0.02).clamp(0.0, 0.04) * 10.0;
/// let points: Vec<_> = (1..=100).map(|i| 0.001 * f64::from(i)).map(|rate| (rate, accuracy(rate))).collect();
/// let found = suggest(&points, 0.1).expect("it rises");
/// assert!((found.eta_min - 0.02).abs() < 0.005 && (found.eta_max - 0.06).abs() < 0.005);
/// ```
pub fn suggest(points: &[(f64, f64)], chance: f64) -> Result<Suggestion, String> {
    let n = points.len();
    if n < FEWEST {
        return Err(format!("too few points: expected at least {FEWEST}, found {n}"));
    }
    let half = (n / 40).max(1);
    let accuracy = |i: usize| points[i].1;
    let smooth: Vec<f64> = (0..n).map(|i| mean(around(i, half, n).map(accuracy))).collect();
    let scatter: Vec<f64> =
        (0..n).map(|i| mean(around(i, 2 * half, n).map(|j| (accuracy(j) - smooth[j]).powi(2))).sqrt()).collect();
    let top = smooth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let climb = top - chance;
    if climb.is_nan() || climb < LEAST_CLIMB {
        let percent = |x: f64| format!("{:.1}%", 100.0 * x);
        return Err(format!(
            "the accuracy never rises: its maximum is {}, guessing gives {}",
            percent(top),
            percent(chance)
        ));
    }
    let reaches = |part: f64| smooth.iter().position(|&s| s >= chance + part * climb).expect("the top is there");
    let (started, slowed) = (reaches(STARTED), reaches(SLOWED));
    let mut highest = started;
    let mut end = (slowed, "slows, after 95% of its climb");
    for i in started..slowed {
        if smooth[i] >= smooth[highest] {
            highest = i;
        }
        if smooth[highest] - smooth[i] > UNSTEADY * climb {
            end = (highest, "starts to fall");
            break;
        }
        if scatter[i] > UNSTEADY * climb {
            end = (i, "becomes ragged");
            break;
        }
    }
    let (end, word) = end;
    let rate = |i: usize| points[i].0;
    let eta_max = rate(end);
    let mut reason = match started {
        0 => "The accuracy already rises at the first point".to_owned(),
        _ => format!("The accuracy starts to rise above a rate of {}", rounded(rate(started - 1))),
    };
    let mut eta_min = rate(started.saturating_sub(1));
    reason += &format!("; at {} it {word}.", rounded(eta_max));
    if eta_min >= eta_max {
        eta_min = eta_max / 4.0;
        reason += " eta_min is a quarter of eta_max, as a rule of thumb.";
    }
    if end + n / 10 + 1 >= n {
        reason += " This is near the largest rate, and the accuracy still rises there: test up to a larger rate.";
    }
    Ok(Suggestion { eta_min, eta_max, reason })
}

/// The indices at most `half` from `i`, symmetric around it, so that a mean over them follows a slope up to the ends.
fn around(i: usize, half: usize, n: usize) -> std::ops::RangeInclusive<usize> {
    let half = half.min(i).min(n - 1 - i);
    i - half..=i + half
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

/// Rounds a rate to three significant digits.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.2e}").parse().unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 points of an accuracy up to the rate 0.4, with deterministic noise.
    fn curve(accuracy: impl Fn(f64) -> f64, noise: f64) -> Vec<(f64, f64)> {
        let rate = |i: u32| 0.002 * f64::from(i);
        (1..=200).map(|i| (rate(i), accuracy(rate(i)) + noise * f64::from(i).powi(3).sin())).collect()
    }

    /// Flat up to 0.05, rising to 0.5 at `peak`.
    fn climb(rate: f64, peak: f64) -> f64 {
        0.1 + 0.4 * ((rate - 0.05) / (peak - 0.05)).clamp(0.0, 1.0)
    }

    #[track_caller]
    fn assert_suggests(points: &[(f64, f64)], eta_min: f64, eta_max: f64, words: &str) {
        let found = suggest(points, 0.1).expect("a suggestion");
        assert!((found.eta_min - eta_min).abs() < 0.02, "{found:?}");
        assert!((found.eta_max - eta_max).abs() < 0.02, "{found:?}");
        assert!(found.reason.contains(words), "{found:?}");
    }

    #[test]
    fn suggested_rates_match_curves_with_known_answers() {
        assert_suggests(&curve(|rate| climb(rate, 0.2), 0.005), 0.06, 0.19, "slows");
        assert_suggests(&curve(|rate| climb(rate, 0.4), 0.005), 0.08, 0.385, "slows");
        assert_suggests(&curve(|rate| climb(rate, 0.2) - 0.5 * (rate - 0.2).max(0.0), 0.005), 0.06, 0.19, "slows");
        let dip = |rate| climb(rate, 0.3) - if (0.2..0.25).contains(&rate) { 0.15 } else { 0.0 };
        assert_suggests(&curve(dip, 0.005), 0.07, 0.2, "starts to fall");
        let ragged = |rate: f64| climb(rate, 0.3) + if rate > 0.15 { 0.1 * (9e3 * rate).sin() } else { 0.0 };
        assert_suggests(&curve(ragged, 0.0), 0.07, 0.15, "ragged");
    }

    #[test]
    fn edge_cases_of_curves_are_explained() {
        let found = suggest(&curve(|_| 0.4, 0.0), 0.1).expect("a suggestion");
        assert_eq!((found.eta_min, found.eta_max), (0.0005, 0.002));
        assert!(found.reason.contains("quarter"), "{found:?}");
        let found = suggest(&curve(|rate| climb(rate, 1.0), 0.0), 0.1).expect("a suggestion");
        assert!(found.eta_max > 0.37 && found.reason.contains("a larger rate"), "{found:?}");
        let cut = curve(|rate| climb(rate, 0.4), 0.0)[..12].to_vec();
        assert!(suggest(&cut, 0.1).expect_err("nothing rises").contains("never rises"));
        let short = curve(|rate| climb(rate, 0.2), 0.0);
        assert!(suggest(&short[..7], 0.1).expect_err("7 points").contains("too few"));
        assert!(suggest(&[(0.1, f64::NAN); 20], 0.1).is_err());
    }
}
