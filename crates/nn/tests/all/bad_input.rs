use std::ops::ControlFlow;

use klayer_linalg::random::stream;
use klayer_linalg::{ColMajor, Par, Scalar};
use klayer_nn::gradient_check::numerical_gradient;
use klayer_nn::{Activation, Architecture, Error, Gradients, Init, Network, Objective, Workspace};

fn architecture(batch_norm: bool) -> Architecture {
    Architecture::new(4, &[5], 3, batch_norm).unwrap()
}

fn network<T: Scalar>(batch_norm: bool) -> Network<T> {
    Network::new(&architecture(batch_norm), Init::He, &mut stream(1, "init")).unwrap()
}

/// Images of all 1 or all -1, so that weights of either sign can overflow.
fn images<T: Scalar>(count: usize) -> ColMajor<T> {
    let mut images = ColMajor::zeros(4, count);
    for j in 0..count {
        images.col_mut(j).fill(T::from_f64([1.0, -1.0][j % 2]));
    }
    images
}

fn train<T: Scalar>(network: &mut Network<T>, count: usize, labels: &[u8]) -> Result<f64, Error> {
    let mut workspace = Workspace::new(network.architecture(), count, Par::Seq);
    network.forward_train(images(count).as_ref(), &mut workspace)?.cross_entropy(labels)
}

#[test]
fn invalid_architectures_are_rejected() {
    let refused = |inputs, hidden: &[usize], classes| Architecture::new(inputs, hidden, classes, true).unwrap_err();
    assert_eq!(refused(0, &[5], 3), Error::Width { widths: vec![0, 5, 3] });
    assert_eq!(refused(4, &[5, 0], 3), Error::Width { widths: vec![4, 5, 0, 3] });
    assert_eq!(refused(4, &[], 0), Error::Width { widths: vec![4, 0] });
    assert_eq!(refused(4, &[5], 257), Error::Classes { classes: 257, most: 256 });
    assert!(Architecture::new(4, &[], 256, false).is_ok());
    // Counted with the five further parameters of each unit.
    assert_eq!(refused(1, &[1 << 25], 1), Error::TooLarge { widths: vec![1, 1 << 25, 1], most: 1 << 27 });
    assert!(Architecture::new(1 << 26, &[1], 1, true).is_ok());

    for value in [0.0, -1e-8, f64::INFINITY] {
        let error = architecture(true).with_batch_norm_eps(value).unwrap_err();
        assert_eq!(error, Error::NotPositive { name: "the eps of batch norm", value });
    }
    assert!(architecture(true).with_batch_norm_eps(f64::NAN).is_err());
    assert_eq!(architecture(true).with_batch_norm_eps(1e-3).unwrap().batch_norm_eps(), Some(1e-3));
    assert_eq!(architecture(false).with_batch_norm_eps(1e-3).unwrap(), architecture(false));
}

#[test]
fn invalid_activations_are_rejected() {
    let refused = |hidden: &[usize], activations: &[Activation]| {
        Architecture::new(4, hidden, 3, true).unwrap().with_activations(activations).unwrap_err()
    };
    assert_eq!(refused(&[5], &[Activation::Gelu; 2]), Error::Activations { activations: 2, hidden: 1 });
    let error = refused(&[6, 5], &[Activation::Modulus]);
    assert_eq!(error, Error::Units { layer: 1, units: 5, activation: Activation::Modulus, group: 2 });
    let text = "hidden layer 2 has 5 units, but modulus needs a multiple of 2";
    assert_eq!(error.to_string(), text);
    let error = "tanh".parse::<Activation>().unwrap_err().to_string();
    assert!(Activation::ALL.iter().all(|activation| error.contains(activation.name())), "{error}");

    let none = Architecture::new(4, &[], 3, true).unwrap();
    assert_eq!(none.clone().with_activations(&[Activation::Gelu]).unwrap(), none);
    assert_eq!(architecture(true).with_activations(&[]).unwrap(), architecture(true));
}

#[test]
fn invalid_rates_of_dropout_and_smoothing_are_rejected() {
    for value in [-0.1, 1.0, f64::INFINITY, f64::NAN] {
        for refused in [Objective::default().with_dropout(value, 1), Objective::default().with_smoothing(value)] {
            assert!(matches!(refused, Err(Error::Fraction { .. })), "{refused:?}");
        }
    }
    assert_eq!(Objective::default().with_dropout(0.0, 1).unwrap(), Objective::default());
}

#[test]
fn architectures_of_relu_alone_omit_the_activations() {
    let text = |architecture: &Architecture| (serde_json::to_string(architecture).unwrap(), architecture.to_string());
    let relu = text(&architecture(true));
    assert_eq!(relu.0, r#"{"widths":[4,5,3],"batch_norm_eps":1e-8}"#);
    assert_eq!(relu.1, "4-5-3 with batch norm (eps 1e-8)");
    assert_eq!(text(&architecture(true).with_activations(&[Activation::Relu]).unwrap()), relu);

    let deep = Architecture::new(4, &[6, 5, 5], 3, false).unwrap();
    let mixed = deep.clone().with_activations(&[Activation::Modulus, Activation::Gelu]).unwrap();
    let (json, display) = text(&mixed);
    assert!(json.ends_with(r#","activations":["modulus","gelu","gelu"]}"#), "{json}");
    assert_eq!(serde_json::from_str::<Architecture>(&json).unwrap(), mixed);
    assert_eq!(display, "4-6-5-5-3 without batch norm, activation modulus,gelu,gelu");
    let gelu = deep.with_activations(&[Activation::Gelu]).unwrap();
    assert_eq!(gelu.to_string(), "4-6-5-5-3 without batch norm, activation gelu");
    let odd = json.replace("[4,6,", "[4,7,");
    assert!(odd != json && serde_json::from_str::<Architecture>(&odd).is_err());
}

#[test]
fn invalid_architectures_in_files_are_rejected() {
    let json = serde_json::to_string(&architecture(true)).unwrap();
    assert_eq!(serde_json::from_str::<Architecture>(&json).unwrap(), architecture(true));
    for (from, to) in [("[4,5,3]", "[4,0,3]"), ("[4,5,3]", "[4]"), ("[4,5,3]", "[]"), ("3]", "300]"), ("1e-8", "-1.0")]
    {
        let broken = json.replace(from, to);
        assert!(broken != json && serde_json::from_str::<Architecture>(&broken).is_err(), "{broken}");
    }
}

#[test]
fn invalid_weight_deviations_are_rejected() {
    for sigma in [0.0, -0.1, f64::INFINITY, f64::NAN] {
        let error =
            Network::<f32>::new(&architecture(true), Init::Normal { sigma }, &mut stream(1, "init")).unwrap_err();
        let Error::NotPositive { name, value } = error else { panic!("{error}") };
        assert_eq!(name, "the standard deviation of the initial weights");
        assert!(value == sigma || value.is_nan() && sigma.is_nan());
    }
}

#[test]
fn only_batch_norm_needs_at_least_two_images() {
    for count in [0, 1] {
        assert_eq!(
            train(&mut network::<f32>(true), count, &[0; 1][..count]),
            Err(Error::BatchTooSmall { images: count })
        );
    }
    assert!(train(&mut network::<f32>(false), 1, &[0]).unwrap().is_finite());
    let mut workspace = Workspace::new(&architecture(true), 1, Par::Seq);
    assert!(network::<f32>(true).infer(images(1).as_ref(), &mut workspace).is_ok());
    // The mean over no images is NaN.
    assert!(matches!(train(&mut network::<f32>(false), 0, &[]), Err(Error::NonFiniteLoss { loss }) if loss.is_nan()));
}

#[test]
fn a_batch_of_the_wrong_shape_changes_nothing() {
    let mut network = network::<f64>(true);
    let mut workspace = Workspace::new(network.architecture(), 3, Par::Seq);
    let mut gradients = Gradients::zeros(network.architecture());
    for (rows, cols) in [(3, 3), (5, 3), (4, 2), (4, 4), (0, 0)] {
        let x = ColMajor::zeros(rows, cols);
        let expected = Error::Shape {
            what: "the mini-batch",
            found_rows: rows,
            found_cols: cols,
            expected_rows: 4,
            expected_cols: 3,
        };
        assert_eq!(network.forward_train(x.as_ref(), &mut workspace).unwrap_err(), expected);
        assert_eq!(network.infer(x.as_ref(), &mut workspace).unwrap_err(), expected);
        assert_eq!(network.backward(x.as_ref(), &mut workspace, &mut gradients).unwrap_err(), expected);
    }
    assert!(network.layers()[0].batch_norm.as_ref().unwrap().running.is_none());
}

#[test]
fn invalid_labels_are_rejected() {
    let mut network = network::<f64>(true);
    assert_eq!(train(&mut network, 3, &[0, 1]), Err(Error::LabelCount { labels: 2, images: 3 }));
    assert_eq!(train(&mut network, 3, &[0; 4]), Err(Error::LabelCount { labels: 4, images: 3 }));
    assert_eq!(train(&mut network, 3, &[2, 0, 3]), Err(Error::Label { image: 2, label: 3, classes: 3 }));
    assert_eq!(train(&mut network, 3, &[255, 0, 3]), Err(Error::Label { image: 0, label: 255, classes: 3 }));
}

/// In every layer, with and without batch norm, for every activation, also if dropout drops the output.
#[test]
fn non_finite_weights_give_a_non_finite_loss() {
    fn check<T: Scalar>() {
        let cases = [(true, 0), (false, 0), (true, 1), (false, 1)];
        for ((batch_norm, layer), activation) in cases.iter().flat_map(|&case| Activation::ALL.map(|a| (case, a))) {
            let architecture = Architecture::new(4, &[6], 3, batch_norm).unwrap();
            let architecture = architecture.with_activations(&[activation]).unwrap();
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let mut network = Network::<T>::new(&architecture, Init::He, &mut stream(1, "init")).unwrap();
                network.layers_mut()[layer].affine.weight.row_mut(1)[2] = T::from_f64(value);
                let mut workspace = Workspace::new(&architecture, 4, Par::Seq);
                workspace.set_objective(Objective::default().with_dropout(0.9, 1).unwrap());
                let logits = network.forward_train(images(4).as_ref(), &mut workspace).unwrap();
                let loss = logits.cross_entropy(&[0, 1, 2, 1]);
                let what = format!("{value} in layer {layer} of {}, {architecture}: {loss:?}", T::NAME);
                assert!(matches!(loss, Err(Error::NonFiniteLoss { loss }) if !loss.is_finite()), "{what}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

/// The loss of a network in f32 whose weights are multiplied by `size`.
fn loss_of_weights_times(size: f32, batch_norm: bool) -> Result<f64, Error> {
    let mut network = network::<f32>(batch_norm);
    for layer in network.layers_mut() {
        for i in 0..layer.affine.weight.nrows() {
            layer.affine.weight.row_mut(i).iter_mut().for_each(|w| *w *= size);
        }
    }
    train(&mut network, 4, &[0, 1, 2, 1])
}

#[test]
fn overflowing_activations_give_a_non_finite_loss() {
    for batch_norm in [true, false] {
        let loss = loss_of_weights_times(1e38, batch_norm);
        assert!(matches!(loss, Err(Error::NonFiniteLoss { .. })), "batch norm {batch_norm}: {loss:?}");
    }
}

/// The activations are finite, but their variance is not: divided by infinity, they would all become 0.
#[test]
fn an_overflowing_variance_gives_a_non_finite_loss() {
    let loss = loss_of_weights_times(1e25, true);
    assert!(matches!(loss, Err(Error::NonFiniteLoss { .. })), "{loss:?}");
}

#[test]
fn workspaces_and_gradients_of_another_network_are_rejected() {
    let other = Architecture::new(4, &[6], 3, true).unwrap();
    let (mut network, x) = (network::<f64>(true), images(3));
    let of = |width| Box::new(Architecture::new(4, &[width], 3, true).unwrap());
    let error = |what| Error::OtherNetwork { what, found: of(6), expected: of(5) };
    let mut workspace = Workspace::new(&other, 3, Par::Seq);
    let mut gradients = Gradients::zeros(&architecture(true));
    assert_eq!(network.forward_train(x.as_ref(), &mut workspace).unwrap_err(), error("the workspace"));
    assert_eq!(network.infer(x.as_ref(), &mut workspace).unwrap_err(), error("the workspace"));
    assert_eq!(network.backward(x.as_ref(), &mut workspace, &mut gradients).unwrap_err(), error("the workspace"));

    let mut workspace = Workspace::new(&architecture(true), 3, Par::Seq);
    let logits = network.forward_train(x.as_ref(), &mut workspace).unwrap();
    logits.cross_entropy(&[0, 1, 2]).unwrap();
    let mut gradients = Gradients::zeros(&other);
    assert_eq!(network.backward(x.as_ref(), &mut workspace, &mut gradients).unwrap_err(), error("the gradients"));

    let numerical =
        numerical_gradient(&network, x.as_ref(), &[0, 1, 2], Objective::default(), 1e-5, |_| ControlFlow::Continue(()))
            .unwrap();
    let refused = numerical.compare(&network, &gradients, |_| 0.0, 1e-4).unwrap_err();
    assert!(matches!(refused, Error::OtherNetwork { what: "the numerical gradient", .. }), "{refused}");
}

/// If only batch norm differs, the message must say so.
#[test]
fn the_error_names_a_batch_norm_mismatch() {
    let mut network = network::<f64>(true);
    for other in [architecture(false), architecture(true).with_batch_norm_eps(1e-3).unwrap()] {
        let mut workspace = Workspace::new(&other, 3, Par::Seq);
        let error = network.forward_train(images(3).as_ref(), &mut workspace).unwrap_err();
        assert!(error.to_string().contains("batch norm"), "{error}");
    }
}

#[test]
fn backward_needs_a_loss() {
    let (mut network, x) = (network::<f64>(true), images(3));
    let mut workspace = Workspace::new(network.architecture(), 3, Par::Seq);
    let mut gradients = Gradients::zeros(network.architecture());
    let mut refused = |network: &Network<f64>, workspace: &mut Workspace<f64>| {
        assert_eq!(network.backward(images(3).as_ref(), workspace, &mut gradients), Err(Error::NoLoss));
    };
    refused(&network, &mut workspace);
    network.forward_train(x.as_ref(), &mut workspace).unwrap();
    refused(&network, &mut workspace);
    network.infer(x.as_ref(), &mut workspace).unwrap().cross_entropy(&[0, 1, 2]).unwrap();
    refused(&network, &mut workspace);
    network.forward_train(x.as_ref(), &mut workspace).unwrap().cross_entropy(&[0, 1, 9]).unwrap_err();
    refused(&network, &mut workspace);
    let mut diverged = network.clone();
    diverged.layers_mut()[1].affine.bias[0] = f64::NAN;
    diverged.forward_train(x.as_ref(), &mut workspace).unwrap().cross_entropy(&[0, 1, 2]).unwrap_err();
    refused(&diverged, &mut workspace);
    network.forward_train(x.as_ref(), &mut workspace).unwrap().cross_entropy(&[0, 1, 2]).unwrap();
    network.backward(x.as_ref(), &mut workspace, &mut gradients).unwrap();
}

#[test]
fn invalid_difference_steps_are_rejected() {
    for value in [0.0, -1e-5, f64::INFINITY] {
        let refused =
            numerical_gradient(&network(true), images(3).as_ref(), &[0, 1, 2], Objective::default(), value, |_| {
                ControlFlow::Continue(())
            });
        assert_eq!(refused.unwrap_err(), Error::NotPositive { name: "the step of the differences", value });
    }
}
