use std::collections::HashSet;

use klayer_linalg::random::stream;
use rand::RngExt;

use crate::normal;

/// Changing these numbers invalidates every recorded result.
#[test]
fn random_streams_never_change() {
    let first = |name| stream(42, name).random::<[u64; 3]>();
    assert_eq!(first("init"), [393356744230714235, 3083758432990779089, 3226165369496167008]);
    assert_eq!(first("shuffle"), [1607225771930389004, 1957354505758287914, 16941354116197909481]);
    let weights = normal::<f64>(2, 2, 42);
    assert_eq!(weights.row(0), [-0.806684268456899, 0.007269495952542876]);
    assert_eq!(weights.row(1), [0.9562180143854215, 0.8652223562681419]);
}

#[test]
fn every_seed_and_name_has_its_own_stream() {
    let names = ["", "init", "tini", "shuffle", "search", "synthetic"];
    let seeds = [0, 1, 42, 1 << 32, u64::MAX];
    let first = names.iter().flat_map(|name| seeds.map(|seed| stream(seed, name).random::<u64>()));
    assert_eq!(first.collect::<HashSet<_>>().len(), names.len() * seeds.len());
}

#[test]
fn normal_draws_have_the_requested_moments() {
    let mut matrix = klayer_linalg::RowMajor::<f64>::zeros(200, 500);
    klayer_linalg::random::fill_normal(&mut matrix, 0.1, &mut stream(7, "test"));
    let values: Vec<f64> = matrix.rows().flatten().map(|value| value / 0.1).collect();
    let moment = |power| values.iter().map(|value| value.powi(power)).sum::<f64>() / values.len() as f64;
    // Five standard errors for 100,000 draws.
    assert!(moment(1).abs() < 5.0 * 0.0032, "mean {}", moment(1));
    assert!((moment(2) - 1.0).abs() < 5.0 * 0.0045, "variance {}", moment(2));
    assert!((moment(4) - 3.0).abs() < 5.0 * 0.031, "fourth moment {}", moment(4));
}

#[test]
fn f32_draws_are_rounded_f64_draws() {
    let (single, double) = (normal::<f32>(20, 30, 3), normal::<f64>(20, 30, 3));
    assert!(single.rows().flatten().copied().eq(double.rows().flatten().map(|&value| value as f32)));
}
