//! A confusion matrix as a drawing.

use std::fmt::Write as _;

use super::format::xml;
use crate::results::Confusion;
use klayer_chart::{Drawing, area, text};

const LEFT: f64 = 92.0;
const TOP: f64 = 118.0;
const CELL: f64 = 38.0;

/// A class name, shortened to fit next to a cell.
fn short(name: &str) -> String {
    if name.chars().count() <= 12 { name.to_owned() } else { name.chars().take(11).chain(['…']).collect() }
}

/// Draws true classes as rows and predicted classes as columns; the opacity of a cell shows its fraction of the row.
pub(super) fn draw(confusion: &Confusion, alt: String) -> Drawing {
    let classes = confusion.classes.len() as f64;
    let mut svg = String::new();
    text(&mut svg, (2.0, 16.0), "title", "True class by predicted class");
    text(&mut svg, (2.0, 38.0), "name", "test images; stronger color: larger fraction of the true class");
    for (i, name) in confusion.classes.iter().enumerate() {
        let middle = (i as f64 + 0.5) * CELL;
        text(&mut svg, (LEFT - 8.0, TOP + middle + 4.5), "tick end", &short(name));
        let (x, y) = (LEFT + middle + 4.0, TOP - 8.0);
        let name = xml(&short(name));
        let _ = write!(svg, r#"<text class="tick" transform="translate({x:.1} {y:.1}) rotate(-50)">{name}</text>"#);
    }
    let part = |counts: &[u64], count: u64| count as f64 / counts.iter().sum::<u64>().max(1) as f64;
    let parts = confusion.counts.iter().flat_map(|counts| counts.iter().map(move |&n| part(counts, n)));
    let darkest = parts.fold(f64::MIN_POSITIVE, f64::max);
    for (row, counts) in confusion.counts.iter().enumerate() {
        for (column, &count) in counts.iter().enumerate() {
            let (x, y) = (LEFT + column as f64 * CELL, TOP + row as f64 * CELL);
            let shade = part(counts, count) / darkest;
            let _ = write!(svg, r#"<g fill-opacity="{shade:.3}">"#);
            area(&mut svg, (x + 0.5, y + 0.5), (CELL - 1.0, CELL - 1.0), "heat");
            svg.push_str("</g>");
            text(&mut svg, (x + CELL / 2.0, y + CELL / 2.0 + 4.5), "middle", &count.to_string());
        }
    }
    Drawing { width: LEFT + classes * CELL + 34.0, height: TOP + classes * CELL + 4.0, alt, body: svg }
}
