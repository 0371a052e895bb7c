//! The axes of a chart: scales, ranges and ticks.

use crate::format::{count, fixed, superscript};

/// Maps values to positions on an axis.
#[derive(Debug, Clone, PartialEq)]
pub enum Scale {
    /// Linear, from the first value to the second.
    Linear(f64, f64),
    /// Logarithmic, from the first value to the second, both above zero.
    Log(f64, f64),
    /// Categories at 0, 1, 2 and so on: the name of each, and a second line below it.
    Places(Vec<(String, String)>),
}

/// A tick of an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The value of the tick.
    pub at: f64,
    /// The label; `None` for a minor tick.
    pub label: Option<String>,
}

/// Returns the smallest and the largest finite value, if any.
pub fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((lo, hi)) => Some((v.min(lo), v.max(hi))),
    })
}

/// Returns a round step that divides `span` into about `parts` parts.
fn round_step(span: f64, parts: f64) -> f64 {
    let magnitude = 10f64.powf((span / parts).log10().floor());
    let ratio = span / parts / magnitude;
    let round = [1.0, 2.0, 5.0].into_iter().find(|&r| ratio <= r * 1.0001).unwrap_or(10.0);
    round * magnitude
}

impl Scale {
    /// Creates an axis that covers all values. It is linear with round ends, or logarithmic if all values are positive
    /// and the largest is more than ten times the smallest.
    pub fn around(values: impl IntoIterator<Item = f64>) -> Self {
        let (lo, hi) = range(values).unwrap_or((0.0, 1.0));
        if lo > 0.0 && hi > 10.0 * lo {
            return Self::Log(lo / 1.1, hi * 1.1);
        }
        let least = (lo.abs().max(hi.abs()) * 1e-3).max(1e-6);
        let (lo, hi) = if hi - lo < least { (lo - least, hi + least) } else { (lo, hi) };
        let step = round_step(hi - lo, 6.0);
        Self::Linear((lo / step - 0.02).floor() * step, (hi / step + 0.02).ceil() * step)
    }

    /// Creates a linear axis from zero to the largest value.
    pub fn from_zero(values: impl IntoIterator<Item = f64>) -> Self {
        Self::Linear(0.0, range(values).map_or(1.0, |(_, hi)| hi.max(1.0)))
    }

    /// Creates a logarithmic axis that covers all values above zero, with a small margin at both ends.
    pub fn log_around(values: impl IntoIterator<Item = f64>) -> Self {
        let (lo, hi) = range(values.into_iter().filter(|&v| v > 0.0)).unwrap_or((0.1, 1.0));
        let room = (hi / lo).powf(0.03).max(1.05);
        Self::Log(lo / room, hi * room)
    }

    /// Returns the position of a value between 0 and 1, or `None` if it is outside the axis.
    pub fn place(&self, value: f64) -> Option<f64> {
        let at = match self {
            Self::Linear(lo, hi) => (value - lo) / (hi - lo),
            Self::Log(lo, hi) => (value.ln() - lo.ln()) / (hi.ln() - lo.ln()),
            Self::Places(names) => (value + 0.5) / names.len() as f64,
        };
        (-1e-6..=1.0 + 1e-6).contains(&at).then_some(at)
    }

    /// Returns the ticks of the axis, in order.
    pub fn ticks(&self) -> Vec<Tick> {
        match self {
            Self::Linear(lo, hi) => linear_ticks(*lo, *hi),
            Self::Log(lo, hi) => log_ticks(*lo, *hi),
            Self::Places(names) => {
                names.iter().enumerate().map(|(i, name)| Tick { at: i as f64, label: Some(name.0.clone()) }).collect()
            }
        }
    }
}

fn linear_ticks(lo: f64, hi: f64) -> Vec<Tick> {
    let steps = [8.0, 5.0, 3.0].map(|parts| round_step(hi - lo, parts));
    let whole = |parts: f64| (parts - parts.round()).abs() < 1e-6;
    let step = steps.into_iter().find(|step| whole(lo / step) && whole(hi / step)).unwrap_or(steps[0]);
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let label = |at: f64| if decimals == 0 && at >= 0.0 { count(at.round() as u64) } else { fixed(at, decimals) };
    let (first, last) = ((lo / step - 1e-6).ceil() as i64, (hi / step + 1e-6).floor() as i64);
    (first..=last).map(|k| k as f64 * step).map(|at| Tick { at, label: Some(label(at)) }).collect()
}

fn log_ticks(lo: f64, hi: f64) -> Vec<Tick> {
    let (first, last) = (lo.log10().floor() as i32, hi.log10().ceil() as i32);
    let decades = hi.log10() - lo.log10();
    let every = ((decades / 6.0).ceil() as i32).max(1);
    let plain = lo > 0.09 && hi < 1e5;
    let label = |digit: i32, exponent: i32| match digit {
        _ if plain => fixed(f64::from(digit) * 10f64.powi(exponent), usize::from(exponent < 0)),
        1 => format!("10{}", superscript(exponent)),
        _ => format!("{digit}·10{}", superscript(exponent)),
    };
    let mut ticks = Vec::new();
    for exponent in first..=last {
        for digit in 1..10 {
            let at = f64::from(digit) * 10f64.powi(exponent);
            let major = digit == 1 && exponent.rem_euclid(every) == 0;
            let between = decades < 2.5 && (digit == 2 || digit == 5);
            let inside = at >= lo * (1.0 - 1e-9) && at <= hi * (1.0 + 1e-9);
            if inside && (every == 1 || major) {
                ticks.push(Tick { at, label: (major || between).then(|| label(digit, exponent)) });
            }
        }
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks().into_iter().filter_map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(labels(&Scale::Linear(0.0, 9000.0)), ["0", "2,000", "4,000", "6,000", "8,000"]);
        assert_eq!(labels(&Scale::around([1.26, 2.46])), ["1.2", "1.4", "1.6", "1.8", "2.0", "2.2", "2.4", "2.6"]);
        assert_eq!(labels(&Scale::Linear(1.0, 2.5)), ["1.0", "1.5", "2.0", "2.5"]);
        assert_eq!(labels(&Scale::Log(1e-5, 1e-1)), ["10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²", "10⁻¹"]);
        assert_eq!(labels(&Scale::Log(1e-3, 1e-2)), ["10⁻³", "2·10⁻³", "5·10⁻³", "10⁻²"]);
        assert_eq!(Scale::Log(1e-3, 1e-2).ticks().len(), 10, "there are minor ticks between the labels");
    }

    #[test]
    fn degenerate_values_still_give_an_axis() {
        for values in [vec![], vec![2.5, 2.5], vec![0.0], vec![f64::NAN, 1.0], vec![1e300, 1e-300]] {
            let scale = Scale::around(values.clone());
            assert!(labels(&scale).len() > 1, "{values:?} {scale:?}");
            assert!(scale.ticks().iter().all(|t| scale.place(t.at).is_some()), "{scale:?}");
        }
    }
}
