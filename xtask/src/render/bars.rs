//! Horizontal bars: for each row, the mean of two quantities, and a dot for each run.

use std::fmt::Write as _;

use super::format::fixed;
use klayer_chart::{Drawing, area, text};
use klayer_experiments::statistics::mean;

const NAMES: f64 = 330.0;
const BARS: f64 = 360.0;
const ROW: f64 = 40.0;
const TOP: f64 = 34.0;

/// A row: its name, and the values of both quantities: none if all runs diverged.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) values: [Vec<f64>; 2],
}

/// The CSS classes of both quantities.
pub(super) const CLASSES: [&str; 2] = ["ours", "seed"];

/// Draws values between 0 and 1 as percentages, on an axis from `from` to 100%.
pub(super) fn draw(title: &str, alt: String, from: f64, rows: &[Bar]) -> Drawing {
    let mut svg = String::new();
    text(&mut svg, (2.0, 16.0), "title", title);
    let length = |value: f64| ((value - from) / (1.0 - from)).clamp(0.0, 1.0) * BARS;
    for (i, row) in rows.iter().enumerate() {
        let top = TOP + i as f64 * ROW;
        text(&mut svg, (NAMES - 10.0, top + 20.0), "end", &row.name);
        for (k, (values, class)) in row.values.iter().zip(CLASSES).enumerate() {
            let y = top + 2.0 + 15.0 * k as f64;
            if values.is_empty() {
                text(&mut svg, (NAMES + 8.0, y + 11.0), "tick", "diverged");
                continue;
            }
            let mean = mean(values);
            area(&mut svg, (NAMES, y), (length(mean), 13.0), class);
            for &value in values {
                let x = NAMES + length(value);
                let _ = write!(svg, r#"<circle class="hollow" cx="{x:.1}" cy="{:.1}" r="2.5"/>"#, y + 6.5);
            }
            let end = NAMES + values.iter().map(|&value| length(value)).fold(0.0, f64::max);
            text(&mut svg, (end + 8.0, y + 11.0), "tick", &format!("{}%", fixed(100.0 * mean, 1)));
        }
    }
    Drawing { width: NAMES + BARS + 60.0, height: TOP + rows.len() as f64 * ROW + 4.0, alt, body: svg }
}
