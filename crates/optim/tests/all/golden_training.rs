use klayer_linalg::{Par, Scalar};
use klayer_nn::Gradients;
use klayer_optim::{Cyclical, L2, Optimizer, Schedule, Sgd};

use crate::golden::{assert_logits, assert_near, assert_running, cases};

/// Compares ten training steps with cyclical rates and L2, and inference after them, with NumPy.
fn check_training<T: Scalar>(tolerance: f64) {
    for case in cases() {
        let golden = &case.training;
        let schedule = Cyclical::new(golden.eta_min, golden.eta_max, golden.n_s).unwrap();
        let mut network = case.network::<T>();
        let l2 = L2::new(golden.lambda).unwrap();
        let mut optimizer = Optimizer::new(network.architecture(), Sgd, l2, Par::Seq);
        let mut workspace = case.workspace(&network, golden.batch);
        let mut gradients = Gradients::zeros(network.architecture());
        let (mut losses, mut costs) = (Vec::new(), Vec::new());
        for step in 0..golden.losses.len() {
            let (images, labels) = case.batch::<T>(step * golden.batch % case.images.len(), golden.batch);
            workspace.set_step(step as u64);
            let logits = network.forward_train(images.as_ref(), &mut workspace).unwrap();
            let loss = logits.cross_entropy(labels).unwrap();
            losses.push(loss);
            costs.push(loss + l2.penalty(&network));
            network.backward(images.as_ref(), &mut workspace, &mut gradients).unwrap();
            optimizer.step(&mut network, &gradients, schedule.rate(step as u64));
        }
        assert_near(&losses, &golden.losses, tolerance, &format!("{}, losses", case.name));
        assert_near(&costs, &golden.costs, tolerance, &format!("{}, costs", case.name));

        for (layer, golden) in network.layers().iter().zip(&golden.layers) {
            let weight: Vec<T> = layer.affine.weight.rows().flatten().copied().collect();
            assert_near(&weight, &golden.weight.concat(), tolerance, &format!("{}, W", case.name));
            assert_near(&layer.affine.bias, &golden.bias, tolerance, &format!("{}, b", case.name));
            let norm = layer.batch_norm.clone();
            let (gamma, beta) = norm.map_or((Vec::new(), Vec::new()), |norm| (norm.gamma, norm.beta));
            assert_near(&gamma, &golden.gamma, tolerance, &format!("{}, gamma", case.name));
            assert_near(&beta, &golden.beta, tolerance, &format!("{}, beta", case.name));
        }
        assert_running(&network, &golden.running, tolerance, &format!("{}, running statistics", case.name));
        let (images, _) = case.batch::<T>(0, case.images.len());
        let mut workspace = case.workspace(&network, case.images.len());
        let logits = network.infer(images.as_ref(), &mut workspace).unwrap();
        assert_logits(logits.as_matrix(), &golden.infer_logits, tolerance, &format!("{}, logits", case.name));
    }
}

#[test]
fn ten_training_steps_in_f64_agree_with_numpy() {
    check_training::<f64>(1e-12);
}

#[test]
fn ten_training_steps_in_f32_agree_with_numpy_within_rounding() {
    check_training::<f32>(1e-3);
}
