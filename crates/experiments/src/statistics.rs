//! Mean and standard deviation over seeds.

/// The mean; NaN if `values` is empty.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample standard deviation, with n - 1; 0 for fewer than two values.
///
/// ```
/// use klayer_experiments::statistics::deviation;
///
/// assert_eq!(deviation(&[1.0, 2.0, 3.0]), 1.0);
/// assert_eq!(deviation(&[1.0]), 0.0);
/// ```
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}
