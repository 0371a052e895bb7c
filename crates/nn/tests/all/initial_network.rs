use klayer_linalg::Scalar;
use klayer_linalg::random::stream;
use klayer_nn::{Architecture, Init, Network};

fn network<T: Scalar>(init: Init, batch_norm: bool) -> Network<T> {
    let architecture = Architecture::new(400, &[300, 200], 10, batch_norm).unwrap();
    Network::new(&architecture, init, &mut stream(42, "init")).unwrap()
}

fn weights<T: Scalar>(network: &Network<T>) -> Vec<T> {
    network.layers().iter().flat_map(|layer| layer.affine.weight.rows()).flatten().copied().collect()
}

#[test]
fn new_networks_have_the_requested_weight_deviations() {
    for (init, deviations) in [
        (Init::He, [400.0, 300.0, 200.0].map(|inputs: f64| (2.0 / inputs).sqrt())),
        (Init::Normal { sigma: 0.01 }, [0.01; 3]),
        (Init::HeLecun, [2.0 / 400.0, 2.0 / 300.0, 1.0 / 200.0].map(f64::sqrt)),
    ] {
        for (layer, expected) in network::<f64>(init, true).layers().iter().zip(deviations) {
            let weights: Vec<f64> = layer.affine.weight.rows().flatten().copied().collect();
            let found = (weights.iter().map(|w| w * w).sum::<f64>() / weights.len() as f64).sqrt();
            // Five standard errors.
            let tolerance = 5.0 / (2.0 * weights.len() as f64).sqrt();
            assert!((found / expected - 1.0).abs() < tolerance, "{init:?}: {found} is not {expected}");
            assert!(layer.affine.bias.iter().all(|&b| b == 0.0));
            if let Some(norm) = &layer.batch_norm {
                assert!(norm.gamma.iter().all(|&gamma| gamma == 1.0) && norm.beta.iter().all(|&beta| beta == 0.0));
                assert!(norm.running.is_none());
            }
        }
    }
}

/// Runs that are compared must differ only in the compared setting.
#[test]
fn initial_weights_do_not_depend_on_batch_norm_or_precision() {
    let double = weights(&network::<f64>(Init::He, true));
    assert!(weights(&network::<f64>(Init::He, false)) == double);
    assert!(weights(&network::<f32>(Init::He, true)).iter().zip(&double).all(|(&a, &b)| a == b as f32));
}
