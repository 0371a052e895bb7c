//! Momentum and the cosine schedule against `golden.json`, which `make_golden.py` computes with PyTorch.

use std::slice;

use klayer_linalg::{Par, Scalar};
use klayer_nn::Workspace;
use klayer_optim::{Cosine, Error, L2, Momentum, Optimizer, Rule, Schedule, Step};
use serde::Deserialize;

use crate::golden::{Parameters, assert_near, cases};

#[derive(Deserialize)]
struct Golden {
    momentum: Vec<Training>,
    cosine: Vec<Rates>,
}

/// Ten steps from one of the networks of klayer-nn, with the rates of a cosine schedule of ten steps.
#[derive(Deserialize)]
struct Training {
    case: String,
    nesterov: bool,
    mu: f64,
    lambda: f64,
    rate: f64,
    warmup: f64,
    batch: usize,
    losses: Vec<f64>,
    layers: Vec<Parameters>,
}

#[derive(Deserialize)]
struct Rates {
    rate: f64,
    warmup: f64,
    steps: u64,
    rates: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/golden.json")).expect("golden.json is valid")
}

/// Returns the losses of the training and the parameters after it, with the rule that `rule` makes.
fn train<T: Scalar, R: Rule>(golden: &Training, rule: R) -> (Vec<T>, Vec<T>) {
    let case = cases().into_iter().find(|case| case.name == golden.case).unwrap();
    let schedule = Cosine::new(golden.rate, golden.warmup, golden.losses.len() as u64).unwrap();
    let mut network = case.network::<T>();
    let mut optimizer = Optimizer::new(network.architecture(), rule, L2::new(golden.lambda).unwrap(), Par::Seq);
    let mut workspace = Workspace::new(network.architecture(), golden.batch, Par::Seq);
    let mut losses = Vec::new();
    for step in 0..golden.losses.len() {
        let (images, labels) = case.batch::<T>(step * golden.batch % case.images.len(), golden.batch);
        let logits = network.forward_train(images.as_ref(), &mut workspace).unwrap();
        losses.push(T::from_f64(logits.cross_entropy(labels).unwrap()));
        optimizer.descend(&mut network, images.as_ref(), &mut workspace, schedule.rate(step as u64)).unwrap();
    }
    let mut parameters = Vec::new();
    for layer in network.layers() {
        parameters.extend(layer.affine.weight.rows().flatten().chain(&layer.affine.bias));
        parameters.extend(layer.batch_norm.iter().flat_map(|norm| norm.gamma.iter().chain(&norm.beta)));
    }
    (losses, parameters)
}

fn parameters(golden: &Training) -> Vec<f64> {
    let layers = golden.layers.iter();
    layers
        .flat_map(|layer| [layer.weight.concat(), layer.bias.clone(), layer.gamma.clone(), layer.beta.clone()].concat())
        .collect()
}

#[test]
fn ten_steps_with_momentum_agree_with_pytorch() {
    for golden in golden().momentum {
        let momentum = Momentum::new(golden.mu, golden.nesterov).unwrap();
        let what = format!("{}, nesterov {}", golden.case, golden.nesterov);
        let (losses, found) = train::<f64, _>(&golden, momentum);
        assert_near(&losses, &golden.losses, 1e-12, &what);
        assert_near(&found, &parameters(&golden), 1e-11, &what);
        let (losses, found) = train::<f32, _>(&golden, momentum);
        assert_near(&losses, &golden.losses, 1e-2, &what);
        assert_near(&found, &parameters(&golden), 1e-2, &what);
    }
}

/// Momentum with a planted bug.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    None,
    Forgotten,
    PenaltyOutside,
    PenaltyForgotten,
    NesterovWithoutGradient,
    Dampened,
}

#[derive(Clone, Copy)]
struct WrongMomentum(Momentum, Wrong);

impl Rule for WrongMomentum {
    fn update<T: Scalar>(&self, step: Step, p: &mut [T], g: &[T], m: &mut [T]) {
        let Self(rule, wrong) = *self;
        let (mu, rate) = (T::from_f64(rule.mu()), T::from_f64(step.rate));
        for ((p, &g), m) in p.iter_mut().zip(g).zip(m) {
            let penalty = step.l2.gradient(*p);
            let right = |step, p: &mut T, g, m: &mut T| {
                rule.update(step, slice::from_mut(p), &[g], slice::from_mut(m));
            };
            match wrong {
                Wrong::None => right(step, p, g, m),
                Wrong::Forgotten => right(step, p, g, &mut T::from_f64(0.0)),
                Wrong::PenaltyOutside => {
                    right(Step { l2: L2::NONE, ..step }, p, g, m);
                    *p -= rate * penalty;
                }
                Wrong::PenaltyForgotten => right(Step { l2: L2::NONE, ..step }, p, g, m),
                Wrong::NesterovWithoutGradient => {
                    *m = mu * *m + g + penalty;
                    *p -= rate * mu * *m;
                }
                Wrong::Dampened => right(step, p, g * (T::from_f64(1.0) - mu), m),
            }
        }
    }
}

#[test]
fn golden_values_catch_wrong_momenta() {
    use Wrong::{Dampened, Forgotten, NesterovWithoutGradient, None, PenaltyForgotten, PenaltyOutside};
    for golden in golden().momentum.iter().filter(|golden| golden.nesterov) {
        for wrong in [None, Forgotten, PenaltyOutside, PenaltyForgotten, NesterovWithoutGradient, Dampened] {
            let rule = WrongMomentum(Momentum::new(golden.mu, true).unwrap(), wrong);
            let (_, found) = train::<f64, _>(golden, rule);
            let off = found.iter().zip(parameters(golden)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert_eq!(off < 1e-11, wrong == None, "{wrong:?} is off by {off}");
        }
        // The penalty on biases, gamma and beta too.
        #[derive(Clone, Copy)]
        struct Everywhere(Momentum, L2);
        impl Rule for Everywhere {
            fn update<T: Scalar>(&self, step: Step, p: &mut [T], g: &[T], m: &mut [T]) {
                self.0.update(Step { l2: self.1, ..step }, p, g, m);
            }
        }
        let rule = Everywhere(Momentum::new(golden.mu, true).unwrap(), L2::new(golden.lambda).unwrap());
        let (_, found) = train::<f64, _>(golden, rule);
        let off = found.iter().zip(parameters(golden)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off > 1e-6, "{off}");
    }
}

#[test]
fn cosine_rates_agree_with_their_definition() {
    for golden in golden().cosine {
        let schedule = Cosine::new(golden.rate, golden.warmup, golden.steps).unwrap();
        for (step, rate) in golden.rates.iter().enumerate() {
            let found = schedule.rate(step as u64);
            assert!((found - rate).abs() <= 1e-15, "step {step} of {schedule:?}: {found} is not {rate}");
        }
        assert_eq!((schedule.rate(golden.steps), schedule.rate(u64::MAX)), (0.0, 0.0));
        assert_eq!(
            (schedule.largest(), schedule.warmup(), schedule.steps()),
            (golden.rate, golden.warmup, golden.steps)
        );
    }
}

#[test]
fn invalid_momenta_are_rejected() {
    for mu in [-0.1, 1.0, f64::INFINITY] {
        assert_eq!(Momentum::new(mu, true), Err(Error::Momentum { mu }));
    }
    assert!(Momentum::new(f64::NAN, false).is_err());
    assert!(serde_json::from_str::<Momentum>(r#"{"mu":1.5,"nesterov":true}"#).is_err());
}
