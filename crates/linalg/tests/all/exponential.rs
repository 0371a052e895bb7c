use klayer_linalg::Scalar;

/// Asserts that `found` is within 0.51 units in the last place of `expected`.
fn check(x: f32, found: f32, expected: f64) {
    let unit = f64::from(f32::EPSILON) * 2.0_f64.powi(expected.abs().log2().floor() as i32);
    let error = (f64::from(found) - expected).abs() / unit;
    assert!(error < 0.51, "{found} is {error} ulp from {expected} at {x}");
}

#[test]
fn exp_and_ln_are_correct_to_half_an_ulp() {
    for i in -87_000..88_000 {
        let x = i as f32 / 1000.0 + 1e-4;
        check(x, x.exponential(), f64::from(x).exp());
        let x = x.exp();
        check(x, x.logarithm(), f64::from(x).ln());
    }
}

#[test]
fn exp_and_ln_have_limits() {
    let exp = |x: f32| x.exponential();
    assert_eq!([exp(0.0), exp(-0.0), exp(-1e30), exp(f32::NEG_INFINITY)], [1.0, 1.0, 0.0, 0.0]);
    assert_eq!([exp(89.0), exp(1e30), exp(f32::INFINITY)], [f32::INFINITY; 3]);
    // Subnormal.
    assert_eq!([exp(-100.0), exp(-103.5), exp(-105.0)], [3.7835e-44, 1.4e-45, 0.0]);
    assert!(exp(f32::NAN).is_nan() && f32::NAN.logarithm().is_nan() && (-1.0_f32).logarithm().is_nan());
    assert_eq!([1.0_f32.logarithm(), 0.0_f32.logarithm()], [0.0, f32::NEG_INFINITY]);
}
