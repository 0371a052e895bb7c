use klayer_optim::{Constant, Cosine, Cyclical, Error, Schedule};
use proptest::prelude::*;

/// The schedule of the paper: 1e-5 to 1e-1 in 2250 steps, and back.
#[test]
fn rates_match_those_of_the_paper() {
    let schedule = Cyclical::new(1e-5, 1e-1, 2250).unwrap();
    let golden =
        [(0, 1e-5), (1, 5.444e-5), (1125, 0.050_005), (2250, 1e-1), (3375, 0.050_005), (4499, 5.444e-5), (4500, 1e-5)];
    for (step, rate) in golden {
        for cycle in 0..3 {
            let found = schedule.rate(step + 4500 * cycle);
            assert!((found / rate - 1.0).abs() < 1e-12, "step {step} of cycle {cycle}: {found} is not {rate}");
        }
    }
    assert_eq!((schedule.cycle(), schedule.n_s()), (4500, 2250));
    assert_eq!((schedule.eta_min(), schedule.eta_max()), (1e-5, 1e-1));
}

fn schedules() -> impl Strategy<Value = Cyclical> {
    (0.0..1.0_f64, 0.0..1.0_f64, 1..10_000_u64).prop_map(|(a, b, n_s)| Cyclical::new(a.min(b), a.max(b), n_s).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rates_stay_within_and_reach_their_bounds(schedule in schedules(), step in any::<u64>()) {
        let (lowest, highest) = (schedule.eta_min(), schedule.eta_max());
        prop_assert!((lowest..=highest).contains(&schedule.rate(step)), "{}", schedule.rate(step));
        prop_assert_eq!(schedule.rate(0), lowest);
        prop_assert_eq!(schedule.rate(schedule.n_s()), highest);
        prop_assert_eq!(schedule.rate(schedule.cycle()), lowest);
    }

    #[test]
    fn rates_are_periodic_and_symmetric(schedule in schedules(), step in 0..1_000_000_u64) {
        let (cycle, n_s) = (schedule.cycle(), schedule.n_s());
        prop_assert_eq!(schedule.rate(step), schedule.rate(step + cycle));
        let up = step % (n_s + 1);
        prop_assert_eq!(schedule.rate(up), schedule.rate(cycle - up));
        prop_assert!(up == n_s || schedule.rate(up) <= schedule.rate(up + 1));
    }

    #[test]
    fn schedules_round_trip_through_json(schedule in schedules()) {
        let json = serde_json::to_string(&schedule).unwrap();
        prop_assert_eq!(serde_json::from_str::<Cyclical>(&json).unwrap(), schedule);
    }
}

#[test]
fn invalid_cycles_are_rejected() {
    for (eta_min, eta_max) in [(0.2, 0.1), (-0.1, 0.1), (0.1, f64::INFINITY), (-2.0, -1.0)] {
        assert_eq!(Cyclical::new(eta_min, eta_max, 10), Err(Error::Rates { eta_min, eta_max }));
    }
    for (eta_min, eta_max) in [(f64::NAN, 0.1), (0.1, f64::NAN)] {
        assert!(matches!(Cyclical::new(eta_min, eta_max, 10), Err(Error::Rates { .. })));
    }
    assert_eq!(Cyclical::new(0.1, 0.2, 0), Err(Error::NoSteps));
    assert_eq!(Cyclical::new(0.1, 0.1, u64::MAX).unwrap().rate(u64::MAX - 1), 0.1);
}

#[test]
fn invalid_schedules_in_files_are_rejected() {
    let json =
        |eta_min: f64, eta_max: f64, n_s: i64| format!(r#"{{"eta_min":{eta_min},"eta_max":{eta_max},"n_s":{n_s}}}"#);
    assert!(serde_json::from_str::<Cyclical>(&json(0.1, 0.2, 5)).is_ok());
    for broken in [json(0.2, 0.1, 5), json(-0.1, 0.1, 5), json(0.1, 0.2, 0), json(0.1, 0.2, -5), "{}".to_owned()] {
        assert!(serde_json::from_str::<Cyclical>(&broken).is_err(), "{broken}");
    }
}

#[test]
fn invalid_cosines_and_constants_are_rejected() {
    for rate in [-0.1, f64::INFINITY] {
        assert_eq!(Constant::new(rate), Err(Error::Rate { rate }));
        assert_eq!(Cosine::new(rate, 0.1, 10), Err(Error::Rate { rate }));
    }
    for warmup in [-0.1, 1.0, f64::INFINITY] {
        assert_eq!(Cosine::new(0.1, warmup, 10), Err(Error::Warmup { warmup }));
    }
    assert!(Constant::new(f64::NAN).is_err() && Cosine::new(0.1, f64::NAN, 10).is_err());
    assert_eq!(Cosine::new(0.1, 0.1, 0), Err(Error::NoCosineSteps));
}
