use klayer_linalg::{ColMajor, Columns, Par, RowMajor, Scalar};
use klayer_nn::batch_norm::{BatchNorm, RUNNING_DECAY, Statistics};
use klayer_nn::model_file::{MODEL, encode};
use klayer_nn::{Activation, Gradients, Network, Objective, Workspace};
use proptest::prelude::*;

use crate::gradients::analytic;
use crate::shapes::{Shape, cases, shapes};

fn train_logits<T: Scalar>(network: &mut Network<T>, x: Columns<'_, T>) -> RowMajor<T> {
    let mut workspace = Workspace::new(network.architecture(), x.ncols(), Par::Seq);
    network.forward_train(x, &mut workspace).unwrap().as_matrix().clone()
}

fn infer_logits<T: Scalar>(network: &Network<T>, x: Columns<'_, T>) -> RowMajor<T> {
    let mut workspace = Workspace::new(network.architecture(), x.ncols(), Par::Seq);
    network.infer(x, &mut workspace).unwrap().as_matrix().clone()
}

/// The images in the order of `from`.
fn pick<T: Scalar>(x: &ColMajor<T>, from: &[usize]) -> ColMajor<T> {
    let mut picked = ColMajor::zeros(x.nrows(), from.len());
    for (j, &from) in from.iter().enumerate() {
        picked.col_mut(j).copy_from_slice(x.col(from));
    }
    picked
}

/// Asserts that the logits of image `j` in `found` equal those of image `from[j]` in `all`.
#[track_caller]
fn assert_logits(found: &RowMajor<f64>, all: &RowMajor<f64>, from: &[usize], tolerance: f64) {
    for (found, all) in found.rows().zip(all.rows()) {
        for (found, &from) in found.iter().zip(from) {
            assert!((found - all[from]).abs() <= tolerance * all[from].abs().max(1.0), "{found} is not {}", all[from]);
        }
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn a_normalized_batch_has_mean_0_and_variance_1(units in 1..9_usize, n in 2..70_usize, seed in any::<u64>(), scale in 0.1..50.0) {
        let mut s = RowMajor::<f64>::zeros(units, n);
        klayer_linalg::random::fill_normal(&mut s, scale, &mut klayer_linalg::random::stream(seed, "s"));
        let (mut out, mut batch) = (RowMajor::zeros(units, n), Statistics::zeros(units));
        let eps = 1e-8;
        BatchNorm::new(units, eps).forward_train(&mut s, &mut out, &mut batch, &Par::Seq);
        for (i, row) in out.rows().enumerate() {
            let mean = row.iter().sum::<f64>() / n as f64;
            let variance = row.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n as f64;
            prop_assert!(mean.abs() < 1e-12, "mean {mean}");
            let v = batch.variance[i];
            prop_assert!((variance - v / (v + eps)).abs() < 1e-12, "variance {variance}");
        }
    }

    #[test]
    fn permuting_a_batch_permutes_its_logits(shape in shapes(), shift in 1..6_usize) {
        let (mut network, (x, _)) = (shape.network::<f64>(), shape.batch());
        let order: Vec<usize> = (0..shape.images).rev().map(|j| (j + shift) % shape.images).collect();
        let permuted = pick(&x, &order);
        let trained = train_logits(&mut network.clone(), permuted.as_ref());
        assert_logits(&trained, &train_logits(&mut network, x.as_ref()), &order, 1e-9);
        assert_logits(&infer_logits(&network, permuted.as_ref()), &infer_logits(&network, x.as_ref()), &order, 1e-12);
    }

    #[test]
    fn inference_treats_images_independently_and_changes_nothing(shape in shapes()) {
        let (mut network, (x, _)) = (shape.network::<f64>(), shape.batch());
        train_logits(&mut network, x.as_ref());
        let before = encode(&MODEL, &network, &[], &()).unwrap();
        let all = infer_logits(&network, x.as_ref());
        for j in 0..shape.images {
            assert_logits(&infer_logits(&network, pick(&x, &[j]).as_ref()), &all, &[j], 1e-12);
        }
        prop_assert!(encode(&MODEL, &network, &[], &()).unwrap() == before);
    }

    /// Shifting all logits of an image, or the inputs of batch norm, does not change the loss.
    #[test]
    fn gradients_along_invariant_shifts_are_zero(shape in shapes()) {
        let gradients = analytic(&shape, &shape.network());
        let last = gradients.layers.last().unwrap();
        prop_assert!(last.affine.bias.iter().sum::<f64>().abs() < 1e-14);
        for j in 0..last.affine.weight.ncols() {
            // dJ/dW = G X^T, and each column of G sums to 0.
            prop_assert!(last.affine.weight.rows().map(|row| row[j]).sum::<f64>().abs() < 1e-12);
        }
        for (layer, norm) in gradients.layers.iter().filter_map(|layer| Some((layer, layer.batch_norm.as_ref()?))) {
            let scale = norm.beta.iter().fold(1.0_f64, |most, g| most.max(g.abs()));
            prop_assert!(layer.affine.bias.iter().all(|g| g.abs() < 1e-10 * scale), "{:?}", layer.affine.bias);
        }
    }

    #[test]
    fn running_statistics_are_an_exponential_moving_average(shape in shapes()) {
        let shape = Shape { batch_norm: true, hidden: vec![3], activations: vec![], ..shape };
        let (mut network, (first, _)) = (shape.network::<f64>(), shape.batch());
        let (second, _) = Shape { seed: !shape.seed, ..shape.clone() }.batch::<f64>();
        let mut alone = network.clone();
        let running = |network: &Network<f64>| network.layers()[0].batch_norm.clone().unwrap().running.unwrap();
        train_logits(&mut network, first.as_ref());
        let before = running(&network);
        train_logits(&mut network, second.as_ref());
        train_logits(&mut alone, second.as_ref());
        let (after, batch) = (running(&network), running(&alone));
        for i in 0..3 {
            let moved = |before: f64, batch: f64| RUNNING_DECAY * before + (1.0 - RUNNING_DECAY) * batch;
            prop_assert!((after.mean[i] - moved(before.mean[i], batch.mean[i])).abs() < 1e-12);
            prop_assert!((after.variance[i] - moved(before.variance[i], batch.variance[i])).abs() < 1e-12);
        }
    }
}

#[test]
fn dropout_acts_in_training_alone_and_follows_the_step() {
    let objective = Objective::default().with_dropout(0.5, 1).unwrap();
    let shape = Shape { hidden: vec![40], batch_norm: false, activations: vec![Activation::Gelu], ..Shape::default() };
    let (mut network, (x, _)) = (shape.network::<f64>(), shape.batch());
    let plain = train_logits(&mut network, x.as_ref());
    let mut workspace = Shape { objective, ..shape }.workspace();
    let infer = network.infer(x.as_ref(), &mut workspace).unwrap();
    assert!(infer.as_matrix().rows().eq(plain.rows()), "without batch norm, inference equals training without dropout");
    let mut dropped = |step| {
        workspace.set_step(step);
        network.forward_train(x.as_ref(), &mut workspace).unwrap();
        workspace.hidden(0).rows().map(|row| row.iter().map(|&h| h == 0.0).collect()).collect::<Vec<Vec<_>>>()
    };
    let first = dropped(0);
    assert!(first != dropped(1) && first == dropped(0));
    // Without smoothing, the objective is the plain loss; with it, the plain losses are the same.
    let shape = Shape { activations: vec![Activation::Modulus], hidden: vec![6], ..Shape::default() };
    let losses = |objective| {
        let (shape, (x, labels)) = (Shape { objective, ..shape.clone() }, shape.batch::<f64>());
        let mut workspace = shape.workspace();
        shape.network().forward_train(x.as_ref(), &mut workspace).unwrap().cross_entropy(&labels).unwrap();
        (workspace.image_losses().to_vec(), workspace.image_objectives().to_vec())
    };
    let (plain, objectives) = losses(Objective::default());
    assert_eq!(plain, objectives);
    let (losses, objectives) = losses(Objective::default().with_smoothing(0.2).unwrap());
    assert!(losses == plain && objectives != plain);
}

#[test]
fn repeated_backward_passes_give_the_same_bits() {
    let objective = Objective::default().with_dropout(0.2, 1).unwrap().with_smoothing(0.1).unwrap();
    let shape = Shape { hidden: vec![5, 4, 6], activations: Activation::ALL.to_vec(), objective, ..Shape::default() };
    let (mut network, (x, labels)) = (shape.network::<f64>(), shape.batch());
    let mut workspace = shape.workspace();
    let [mut once, mut twice] = [(); 2].map(|()| Gradients::zeros(network.architecture()));
    network.forward_train(x.as_ref(), &mut workspace).unwrap().cross_entropy(&labels).unwrap();
    network.backward(x.as_ref(), &mut workspace, &mut once).unwrap();
    network.backward(x.as_ref(), &mut workspace, &mut twice).unwrap();
    for (once, twice) in once.layers.iter().zip(&twice.layers) {
        assert!(once.affine.weight.rows().eq(twice.affine.weight.rows()) && once.affine.bias == twice.affine.bias);
    }
}

/// The gradient check tests few features; this also tests the kernels for many.
#[test]
fn layers_with_many_features_have_correct_gradients() {
    let shape = Shape { inputs: 424, hidden: vec![387], classes: 3, images: 6, ..Shape::default() };
    let (network, (x, labels)) = (shape.network::<f64>(), shape.batch::<f64>());
    let gradients = analytic(&shape, &network);
    // The derivative of J along its gradient is the squared norm of the gradient.
    let h = 1e-6;
    let mut norm = 0.0;
    let [ahead, behind] = [h, -h].map(|h| {
        let (mut moved, mut workspace) = (network.clone(), Workspace::new(network.architecture(), 6, Par::Seq));
        norm = 0.0;
        for (layer, gradient) in moved.layers_mut().iter_mut().zip(&gradients.layers) {
            for i in 0..gradient.affine.bias.len() {
                for (w, g) in layer.affine.weight.row_mut(i).iter_mut().zip(gradient.affine.weight.row(i)) {
                    *w += h * g;
                    norm += g * g;
                }
            }
        }
        moved.forward_train(x.as_ref(), &mut workspace).unwrap().cross_entropy(&labels).unwrap()
    });
    let slope = (ahead - behind) / (2.0 * h);
    assert!((slope / norm - 1.0).abs() < 1e-5, "{slope} is not {norm}");
}
