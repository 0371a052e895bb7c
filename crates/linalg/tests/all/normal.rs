use klayer_linalg::{RowMajor, Scalar, vectorize};

/// Golden values, which `make_normal.py` computes with 50 digits: x, Phi(x) and phi(x).
fn golden() -> Vec<[f64; 3]> {
    let line = |line: &str| {
        let mut numbers = line.split(',').map(|number| number.parse().unwrap());
        std::array::from_fn(|_| numbers.next().unwrap())
    };
    include_str!("../golden/normal.csv").lines().map(line).collect()
}

/// Asserts that the values are correct within `ulps` units in the last place of `T`, whose epsilon is `unit`.
fn check<T: Scalar>(least: f64, unit: f64, ulps: f64) {
    for [x, below, density] in golden() {
        let (found, found_density) = T::from_f64(x).normal_distribution();
        for (found, golden) in [(found, below), (found_density, density)] {
            let error = (found.to_f64() - golden).abs();
            let tolerance = if x.abs() <= least { ulps * unit * golden } else { 1e-37 };
            assert!(error <= tolerance, "{found} is not {golden} at {x} in {}", T::NAME);
        }
    }
}

#[test]
fn the_normal_distribution_is_correct_to_a_few_ulp() {
    check::<f64>(37.5, f64::EPSILON, 17.0);
    check::<f32>(13.2, f64::from(f32::EPSILON), 10.0);
}

#[test]
fn the_normal_distribution_has_limits() {
    fn check<T: Scalar>() {
        let at = |x: f64| {
            let (below, density) = T::from_f64(x).normal_distribution();
            (below.to_f64(), density.to_f64())
        };
        for (x, below) in [(f64::INFINITY, 1.0), (1e30, 1.0), (40.0, 1.0), (-40.0, 0.0), (-1e30, 0.0)] {
            assert_eq!((at(x), at(-x)), ((below, 0.0), (1.0 - below, 0.0)), "{x} in {}", T::NAME);
        }
        assert!(at(f64::NAN).0.is_nan() && at(f64::NAN).1.is_nan());
        assert_eq!(at(0.0).0, at(-0.0).0);
    }
    check::<f32>();
    check::<f64>();
}

/// Arithmetic is the same in vectors of any width and in scalar code.
#[test]
fn the_normal_distribution_is_the_same_in_vectors() {
    fn check<T: Scalar>() {
        let x: Vec<T> = (0..1000).map(|i| T::from_f64(-40.0 + 0.0801 * f64::from(i))).collect();
        let (mut below, x) = (RowMajor::<T>::zeros(1, x.len()), x);
        vectorize(
            #[inline(always)]
            || below.row_mut(0).iter_mut().zip(&x).for_each(|(below, x)| *below = x.normal_distribution().0),
        );
        assert!(below.row(0).iter().zip(&x).all(|(&below, x)| below == x.normal_distribution().0), "{}", T::NAME);
    }
    check::<f32>();
    check::<f64>();
}
