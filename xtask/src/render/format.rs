//! Formats numbers, and escapes text for Markdown and CSV.

pub(super) use klayer_chart::format::{count, exact, fixed, setting, significant, xml};

/// An accuracy, with the paper's four decimals.
pub(super) fn accuracy(x: f64) -> String {
    fixed(x, 4)
}

/// A loss or a cost.
pub(super) fn loss(x: f64) -> String {
    if x.abs() < 1e4 { fixed(x, 3) } else { significant(x, 4) }
}

/// A count with its noun: "1 run", "5 runs".
pub(super) fn plural(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

/// The text with a capital first letter.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Wall-clock time.
pub(super) fn seconds(s: f64) -> String {
    if !s.is_finite() || s < 0.0 {
        return "unknown".to_owned();
    }
    let whole = s.round() as u64;
    match whole {
        _ if s < 59.95 => format!("{} s", fixed(s, 1)),
        ..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// The difference between `ours` and `theirs` in words: "1.20 percentage points higher".
pub(super) fn points_apart(ours: f64, theirs: f64) -> String {
    let points = fixed(100.0 * (ours - theirs).abs(), 2);
    match points.as_str() {
        "0.00" => "the same".to_owned(),
        _ if ours > theirs => format!("{points} percentage points higher"),
        _ => format!("{points} percentage points lower"),
    }
}

/// Escapes text for one line of Markdown or a table cell.
pub(super) fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => safe.push(' '),
            c if c.is_control() => {}
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' => safe.extend(['\\', c]),
            c => safe.push(c),
        }
    }
    safe
}

/// A field of a CSV file (RFC 4180).
pub(super) fn csv(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// A number in a CSV file at full precision, or an empty field if it is not finite.
pub(super) fn csv_number(x: f64) -> String {
    if x.is_finite() { format!("{x:?}") } else { String::new() }
}

/// A safe file name for any text.
pub(super) fn slug(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    text.chars().map(safe).collect::<String>().trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_times_are_formatted_as_words() {
        assert_eq!(points_apart(0.5, 0.5123), "1.23 percentage points lower");
        assert_eq!(seconds(59.7), "59.7 s");
        assert_eq!(seconds(3725.0), "1 h 2 min");
    }
}
