//! Escaping of untrusted text. It is in this crate because all crates that read files depend on this one.

use std::fmt::Display;

/// Maximum number of characters shown.
const MOST: usize = 300;

/// Formats untrusted text for an error message or a terminal: at most 300 characters, with unprintable characters
/// escaped.
///
/// ```
/// use klayer_linalg::text::printable;
///
/// assert_eq!(printable("the label \"cat\""), "the label \"cat\"");
/// assert_eq!(printable("\u{1b}[2J\n"), "\\u{1b}[2J\\n");
/// for endless in ["long ", "\u{1b}"] {
///     let shown = printable(endless.repeat(1_000));
///     assert!(shown.ends_with('…') && (290..=300).contains(&shown.chars().count()));
/// }
/// ```
pub fn printable(text: impl Display) -> String {
    let mut shown = String::new();
    let mut room = MOST;
    for c in text.to_string().chars() {
        let escaped = if matches!(c, '"' | '\'' | '\\') { c.to_string() } else { c.escape_debug().to_string() };
        let length = escaped.chars().count();
        if length >= room {
            // Leaves room for the ellipsis.
            return shown + "…";
        }
        room -= length;
        shown += &escaped;
    }
    shown
}
