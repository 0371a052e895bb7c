//! Formatting of numbers, and escaping for XML.

/// Formats `exponent` in superscript digits.
pub fn superscript(exponent: i32) -> String {
    let raised = |c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit as u32 - '0' as u32).unwrap_or(digit),
    };
    exponent.to_string().chars().map(raised).collect()
}

/// Formats a number with a fixed number of decimals and a true minus sign; zero has no sign.
pub fn fixed(x: f64, decimals: usize) -> String {
    if !x.is_finite() {
        return "not finite".to_owned();
    }
    let digits = format!("{:.decimals$}", x.abs());
    let zero = digits.bytes().all(|b| b == b'0' || b == b'.');
    if x < 0.0 && !zero { format!("−{digits}") } else { digits }
}

/// Formats a number with a given number of significant digits, in scientific notation if it is very small or large.
pub fn significant(x: f64, digits: usize) -> String {
    if !x.is_finite() || x == 0.0 {
        return fixed(x, 0);
    }
    powers(&format!("{:.*e}", digits.max(1) - 1, x), |exponent| {
        fixed(x, usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0))
    })
}

/// Formats a setting such as lambda: four significant digits without trailing zeros.
pub fn setting(x: f64) -> String {
    format!("{x:.3e}").parse().map_or_else(|_| fixed(x, 0), exact)
}

/// Formats a number with the fewest digits that identify it exactly.
pub fn exact(x: f64) -> String {
    if !x.is_finite() {
        return fixed(x, 0);
    }
    powers(&format!("{x:e}"), |_| x.to_string().replace('-', "−"))
}

/// Typesets `1.5e-7` with a power of ten, or calls `plain` if the exponent is near zero.
fn powers(scientific: &str, plain: impl Fn(i32) -> String) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent = exponent.parse().unwrap_or(0);
    if (-3..6).contains(&exponent) {
        return plain(exponent);
    }
    let power = format!("10{}", superscript(exponent));
    match mantissa {
        "1" => power,
        "-1" => format!("−{power}"),
        _ => format!("{}\u{202f}×\u{202f}{power}", mantissa.replace('-', "−")),
    }
}

/// Formats a whole number in groups of three digits.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Escapes text for the content and attributes of HTML and XML. Removes characters that XML forbids.
pub fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_once_with_true_minus_signs() {
        assert_eq!(fixed(-0.00001, 4), "0.0000");
        assert_eq!(fixed(-1.25, 1), "−1.2");
        assert_eq!(significant(0.000_999_96, 4), "0.001000");
        assert_eq!(significant(-3.552_713e-9, 3), "−3.55\u{202f}×\u{202f}10⁻⁹");
        assert_eq!(significant(-0.0, 3), "0");
        assert_eq!(exact(8.016_667_67e-5), "8.01666767\u{202f}×\u{202f}10⁻⁵");
        assert_eq!(exact(1e-5), "10⁻⁵");
        assert_eq!(exact(0.007_232_67), "0.00723267");
        assert_eq!(setting(0.05), "0.05");
        assert_eq!(setting(0.007_232_67), "0.007233");
        assert_eq!(count(1_234_567), "1,234,567");
    }
}
