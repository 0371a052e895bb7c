use std::ops::ControlFlow;

use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::{ColMajor, Par, RowMajor};
use klayer_nn::gradient_check::numerical_gradient;
use klayer_nn::{Architecture, Gradients, Init, Network, Objective, Workspace};
use klayer_optim::{Error, L2, Optimizer, Sgd};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// A network, a mini-batch of 9 images, and the gradients of its loss.
fn passed(hidden: &[usize], batch_norm: bool, seed: u64) -> (Network<f64>, ColMajor<f64>, [u8; 9], Gradients<f64>) {
    let architecture = Architecture::new(5, hidden, 3, batch_norm).unwrap();
    let mut network = Network::new(&architecture, Init::He, &mut stream(seed, "init")).unwrap();
    let (mut rows, mut x) = (RowMajor::zeros(9, 5), ColMajor::zeros(5, 9));
    fill_normal(&mut rows, 1.0, &mut stream(seed, "images"));
    rows.rows().enumerate().for_each(|(j, image)| x.col_mut(j).copy_from_slice(image));
    let labels = std::array::from_fn(|j| (j % 3) as u8);
    let mut workspace = Workspace::new(&architecture, 9, Par::Seq);
    let mut gradients = Gradients::zeros(&architecture);
    network.forward_train(x.as_ref(), &mut workspace).unwrap().cross_entropy(&labels).unwrap();
    network.backward(x.as_ref(), &mut workspace, &mut gradients).unwrap();
    (network, x, labels, gradients)
}

proptest! {
    // A fixed seed, because a tolerance may fail once in a million draws.
    #![proptest_config(ProptestConfig {
        cases: 100,
        rng_seed: RngSeed::Fixed(42),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn cost_gradients_agree_with_finite_differences(
        hidden in vec(3..8_usize, 0..4),
        batch_norm in any::<bool>(),
        lambda in prop_oneof![Just(0.0), 1e-5..1e-1],
        seed in any::<u64>(),
    ) {
        let (network, x, labels, mut gradients) = passed(&hidden, batch_norm, seed);
        let l2 = L2::new(lambda).unwrap();
        l2.add_gradient(&network, &mut gradients);
        let numerical =
            numerical_gradient(&network, x.as_ref(), &labels, Objective::default(), 1e-5, |_| ControlFlow::Continue(())).unwrap();
        for row in numerical.compare(&network, &gradients, |w| l2.term(w), 1e-4).unwrap() {
            prop_assert!(row.max_relative_error < 1e-6, "{row:?}");
        }
    }

    #[test]
    fn a_step_follows_the_negative_cost_gradient(batch_norm in any::<bool>(), lambda in 0.0..0.1, rate in 0.0..0.5, seed in any::<u64>()) {
        let (network, _, _, loss_gradients) = passed(&[4], batch_norm, seed);
        let l2 = L2::new(lambda).unwrap();
        let mut stepped = network.clone();
        Optimizer::new(network.architecture(), Sgd, l2, Par::Seq).step(&mut stepped, &loss_gradients, rate);
        let mut gradients = loss_gradients;
        l2.add_gradient(&network, &mut gradients);
        for ((from, to), gradient) in network.layers().iter().zip(stepped.layers()).zip(&gradients.layers) {
            let down = |from: &[f64], to: &[f64], g: &[f64]| {
                from.iter().zip(to).zip(g).all(|((from, to), g)| (from - rate * g - to).abs() < 1e-14)
            };
            for i in 0..from.affine.bias.len() {
                prop_assert!(down(from.affine.weight.row(i), to.affine.weight.row(i), gradient.affine.weight.row(i)));
            }
            prop_assert!(down(&from.affine.bias, &to.affine.bias, &gradient.affine.bias));
            let (from, to) = (from.batch_norm.as_ref(), to.batch_norm.as_ref());
            for ((from, to), gradient) in from.into_iter().zip(to).zip(&gradient.batch_norm) {
                prop_assert!(down(&from.gamma, &to.gamma, &gradient.gamma));
                prop_assert!(down(&from.beta, &to.beta, &gradient.beta));
            }
        }
    }

    #[test]
    fn the_penalty_sums_the_terms_of_all_weights(hidden in vec(1..7_usize, 0..4), lambda in 0.0..0.1) {
        let (network, ..) = passed(&hidden, true, 1);
        let l2 = L2::new(lambda).unwrap();
        let sum: f64 = network.layers().iter().flat_map(|layer| layer.affine.weight.rows()).flatten().map(|&w| l2.term(w)).sum();
        prop_assert!((l2.penalty(&network) - sum).abs() < 1e-12);
    }
}

#[test]
fn invalid_lambdas_are_rejected() {
    for lambda in [-1e-9, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(L2::new(lambda), Err(Error::Lambda { lambda }));
    }
    assert!(matches!(L2::new(f64::NAN), Err(Error::Lambda { .. })));
    assert_eq!(serde_json::from_str::<L2>("0.005").unwrap(), L2::new(0.005).unwrap());
    assert_eq!(serde_json::to_string(&L2::new(0.005).unwrap()).unwrap(), "0.005");
    assert!(serde_json::from_str::<L2>("-0.005").is_err());
}

#[test]
#[should_panic = "gradients of another network"]
fn a_step_with_gradients_of_another_network_panics() {
    let (mut network, ..) = passed(&[4], true, 1);
    let (_, _, _, gradients) = passed(&[4], false, 1);
    Optimizer::new(network.architecture(), Sgd, L2::NONE, Par::Seq).step(&mut network, &gradients, 0.1);
}
