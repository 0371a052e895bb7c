use klayer_linalg::Scalar;
use klayer_nn::Gradients;

use crate::golden::{assert_logits, assert_near, assert_running, cases};

/// Compares all results of a forward and backward pass, and of inference after it, with NumPy.
fn check_pass<T: Scalar>(tolerance: f64) {
    for case in cases() {
        let mut network = case.network::<T>();
        let mut workspace = case.workspace(&network, case.pass.images);
        let mut gradients = Gradients::zeros(network.architecture());
        let (images, labels) = case.batch::<T>(0, case.pass.images);

        let logits = network.forward_train(images.as_ref(), &mut workspace).unwrap();
        assert_logits(logits.as_matrix(), &case.pass.logits, tolerance, &case.name);
        let loss = logits.cross_entropy(labels).unwrap();
        assert_near(&[loss], &[case.pass.loss], tolerance, &case.name);
        let objectives = workspace.image_objectives().iter().map(|objective| objective.to_f64());
        let objective = objectives.sum::<f64>() / case.pass.images as f64;
        assert_near(&[objective], &[case.pass.objective], tolerance, &case.name);

        network.backward(images.as_ref(), &mut workspace, &mut gradients).unwrap();
        for (l, (found, golden)) in gradients.layers.iter().zip(&case.pass.gradients).enumerate() {
            let what = |parameter| format!("{}, gradient of {parameter} in layer {l}", case.name);
            let weight: Vec<T> = found.affine.weight.rows().flatten().copied().collect();
            assert_near(&weight, &golden.weight.concat(), tolerance, &what("W"));
            assert_near(&found.affine.bias, &golden.bias, tolerance, &what("b"));
            let (gamma, beta) = found.batch_norm.clone().map_or((Vec::new(), Vec::new()), |g| (g.gamma, g.beta));
            assert_near(&gamma, &golden.gamma, tolerance, &what("gamma"));
            assert_near(&beta, &golden.beta, tolerance, &what("beta"));
        }

        assert_running(&network, &case.pass.running, tolerance, &case.name);
        let (images, _) = case.batch::<T>(0, case.images.len());
        let mut workspace = case.workspace(&network, case.images.len());
        let logits = network.infer(images.as_ref(), &mut workspace).unwrap();
        assert_logits(logits.as_matrix(), &case.pass.infer_logits, tolerance, &case.name);
    }
}

#[test]
fn a_pass_in_f64_agrees_with_numpy() {
    check_pass::<f64>(1e-12);
}

#[test]
fn a_pass_in_f32_agrees_with_numpy_within_rounding() {
    check_pass::<f32>(1e-4);
}
