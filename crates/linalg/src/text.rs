//! Text that a file may have chosen. It is in this crate because all others, which read files, stand on this one.

use std::fmt::Display;

/// Most characters that are shown.
const MOST: usize = 300;

/// `text` as an error or a terminal can show it: at most 300 characters, and what cannot be printed escaped.
///
/// ```
/// use klayer_linalg::text::printable;
///
/// assert_eq!(printable("the label \"cat\""), "the label \"cat\"");
/// assert_eq!(printable("\u{1b}[2J\n"), "\\u{1b}[2J\\n");
/// assert!(printable("long ".repeat(1_000)).ends_with("long…"));
/// ```
pub fn printable(text: impl Display) -> String {
    let text = text.to_string();
    let mut shown = String::new();
    for (i, c) in text.chars().enumerate() {
        match c {
            _ if i == MOST => return shown.trim_end().to_owned() + "…",
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}
