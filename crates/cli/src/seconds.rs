use std::time::Duration;

/// Parses a duration in seconds, possibly with a fraction, as options take it.
///
/// ```
/// use klayer_cli::parse_seconds;
/// use std::time::Duration;
///
/// assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
/// assert!(["0", "-1", "inf", "soon"].iter().all(|text| parse_seconds(text).is_err()));
/// ```
///
/// # Errors
/// A message if `text` is not a finite number greater than 0.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or_else(|| "expected a number of seconds greater than 0".to_owned())
}
