//! Normalization of channels, and whitening.

use std::f64::consts::PI;

use klayer_dataset::{Features, Normalization, Normalize, Shape};
use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::{Images, Par, RowMajor, Scalar};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::inputs::{Pictures, cases, golden, number, numbers};

const GRAY: Shape = Shape { channels: 1, height: 28, width: 28 };
const ODD: Shape = Shape { channels: 2, height: 5, width: 7 };

/// The features of all images, one row each.
fn features<T: Scalar>(normalization: &Normalization, pictures: &Pictures, par: &Par) -> Vec<Vec<T>> {
    let (normalizer, images) = (normalization.normalizer::<T>(), pictures.images());
    let mut memory = Features::default();
    match normalizer.batch(&images, &mut memory, par) {
        Images::Columns(columns) => (0..columns.ncols()).map(|j| columns.col(j).to_vec()).collect(),
        Images::Pixels(pixels) => {
            let row = |j| {
                let mut out = vec![T::from_f64(f64::NAN); pixels.nrows()];
                pixels.write_one(j, &mut out);
                out
            };
            (0..pixels.ncols()).map(row).collect()
        }
    }
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}, at {i}: {a} for {b}");
    }
}

/// The steps of whitening, one sum at a time.
fn plain(eps: f64, pictures: &Pictures) -> Vec<Vec<f64>> {
    let Shape { channels, height, width } = pictures.shape;
    let (plane, n) = (height * width, pictures.count as f64);
    let mut x: Vec<Vec<f64>> =
        pictures.images().iter().map(|image| image.iter().map(|&p| f64::from(p)).collect()).collect();
    let moments = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        (mean, squares / (values.len() as f64 - 1.0).max(1.0))
    };
    for channel in 0..channels {
        let range = channel * plane..(channel + 1) * plane;
        let all: Vec<f64> = x.iter().flat_map(|image| image[range.clone()].to_vec()).collect();
        let (mean, variance) = moments(&all);
        for value in x.iter_mut().flat_map(|image| &mut image[range.clone()]) {
            *value = if variance > 0.0 { (*value - mean) / variance.sqrt() } else { 0.0 };
        }
    }
    let cosine = |count: usize, k: usize, i: usize| {
        let norm = (if k == 0 { 1.0 } else { 2.0 } / count as f64).sqrt();
        norm * (PI * ((2 * i + 1) * k) as f64 / (2 * count) as f64).cos()
    };
    for image in &mut x {
        let mut mixed = image.clone();
        if channels == 3 {
            for i in 0..plane {
                let (r, g, b) = (image[i], image[plane + i], image[2 * plane + i]);
                mixed[i] = (r + g + b) / 3_f64.sqrt();
                mixed[plane + i] = (r - b) / 2_f64.sqrt();
                mixed[2 * plane + i] = (g - 0.5 * (r + b)) / 1.5_f64.sqrt();
            }
        }
        for channel in 0..channels {
            for (k, l) in (0..height).flat_map(|k| (0..width).map(move |l| (k, l))) {
                let pixels = (0..height).flat_map(|i| (0..width).map(move |j| (i, j)));
                image[channel * plane + k * width + l] = pixels
                    .map(|(i, j)| cosine(height, k, i) * mixed[channel * plane + i * width + j] * cosine(width, l, j))
                    .sum();
            }
        }
    }
    for feature in 0..channels * plane {
        let (mean, variance) = moments(&x.iter().map(|image| image[feature]).collect::<Vec<_>>());
        assert!(n > 0.0);
        x.iter_mut().for_each(|image| image[feature] = (image[feature] - mean) / (variance + eps * eps).sqrt());
    }
    x
}

#[test]
fn whitening_matches_numpy() {
    let golden = golden();
    let (eps, count) = (number(&golden["eps"]), number(&golden["images"]) as usize);
    let weighted = |values: &[f64]| values.iter().enumerate().map(|(i, x)| x * (i as f64 % 13.0 - 6.0)).sum::<f64>();
    for case in golden["cases"].as_array().unwrap() {
        let shape: Shape = serde_json::from_value(case["shape"].clone()).unwrap();
        let pictures = Pictures::congruential(shape, count);
        let fitted = Normalization::fit_images(Normalize::Whiten { eps }, shape, &pictures.images()).unwrap();
        let plane = shape.height * shape.width;
        let of_channels = |values: &[f64]| values.iter().copied().step_by(plane).collect::<Vec<_>>();
        assert_close(&of_channels(fitted.mean()), &numbers(&case["mean"]), 1e-14, "channel mean");
        assert_close(&of_channels(fitted.deviation()), &numbers(&case["deviation"]), 1e-14, "channel deviation");
        let whitening = fitted.whitening().unwrap();
        let sums = [whitening.mean(), whitening.deviation()].map(weighted);
        let expected = ["coefficient_mean", "coefficient_deviation"].map(|name| number(&case[name]));
        assert_close(&sums, &expected, 1e-10, "coefficients");

        let double = features::<f64>(&fitted, &pictures, &Par::Seq);
        let single = features::<f32>(&fitted, &pictures, &Par::Seq);
        let picked: Vec<usize> = numbers(&case["picked"]).iter().map(|&i| i as usize).collect();
        let of = |values: &[f64]| picked.iter().map(|&i| values[i]).collect::<Vec<_>>();
        assert_close(&of(&double[1]), &numbers(&case["features"]), 1e-12, "features");
        let single: Vec<Vec<f64>> = single.iter().map(|x| x.iter().map(|&x| f64::from(x)).collect()).collect();
        assert_close(&of(&single[1]), &numbers(&case["features"]), 2e-5, "features in f32");
        let sums: Vec<f64> = double.iter().map(|values| weighted(values)).collect();
        assert_close(&sums, &numbers(&case["weighted"]), 1e-10, "all features");
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn whitening_follows_its_definition(
        channels in 1..5_usize, height in 1..12_usize, width in 1..12_usize, count in 1..6_usize, seed: u64,
        eps in 0.01..2.0,
    ) {
        let pictures = Pictures::random(Shape { channels, height, width }, count, seed);
        let fitted = Normalization::fit_images(Normalize::Whiten { eps }, pictures.shape, &pictures.images()).unwrap();
        for (found, expected) in features::<f64>(&fitted, &pictures, &Par::Seq).iter().zip(plain(eps, &pictures)) {
            assert_close(found, &expected, 1e-11, "features");
        }
    }

    #[test]
    fn a_folded_layer_takes_pixels(
        channels in 1..5_usize, height in 1..12_usize, width in 1..12_usize, which in 0..3_usize, seed: u64,
    ) {
        let mut pictures = Pictures::random(Shape { channels, height, width }, 4, seed);
        // A constant feature.
        pictures.bytes.chunks_mut(pictures.shape.features()).for_each(|image| image[0] = 9);
        let normalize = [Normalize::Feature, Normalize::Channel, Normalize::WHITEN][which];
        let fitted = Normalization::fit_images(normalize, pictures.shape, &pictures.images()).unwrap();
        let mut weight = RowMajor::<f64>::zeros(3, pictures.shape.features());
        fill_normal(&mut weight, 1.0, &mut stream(seed, "weights"));
        let other = Pictures::random(pictures.shape, 4, seed ^ 1);
        for white in [255.0, 1.0] {
            let (folded, bias) = fitted.fold(&weight, &[0.5, -1.0, 2.0], white);
            for (image, x) in other.images().iter().zip(features::<f64>(&fitted, &other, &Par::Seq)) {
                for i in 0..3 {
                    let expected = weight.row(i).iter().zip(&x).map(|(w, x)| w * x).sum::<f64>() + [0.5, -1.0, 2.0][i];
                    let pixels = image.iter().map(|&p| f64::from(p) * white / 255.0);
                    let found = folded.row(i).iter().zip(pixels).map(|(w, p)| w * p).sum::<f64>() + bias[i];
                    let size: f64 = weight.row(i).iter().zip(&x).map(|(w, x)| (w * x).abs()).sum();
                    prop_assert!((found - expected).abs() <= 1e-10 * (1.0 + size), "{found} for {expected}");
                }
            }
        }
    }
}

#[test]
fn features_do_not_depend_on_threads_or_company() {
    for shape in [Shape::CIFAR, GRAY, ODD] {
        let pictures = Pictures::random(shape, 23, 5);
        let fitted = Normalization::fit_images(Normalize::WHITEN, shape, &pictures.images()).unwrap();
        let alone = features::<f32>(&fitted, &pictures, &Par::Seq);
        for threads in [2, 3, 8] {
            let par = Par::threads(threads).unwrap();
            assert!(par.install(|| features::<f32>(&fitted, &pictures, &par)) == alone, "{threads} threads");
        }
        let normalizer = fitted.normalizer::<f32>();
        let (images, mut memory) = (pictures.images(), Features::default());
        // Memory of a larger mini-batch, and of other images.
        for range in [0..23, 20..22, 3..3, 7..8] {
            let Images::Columns(columns) = normalizer.batch(&images[range.clone()], &mut memory, &Par::Seq) else {
                panic!("whitened features are numbers");
            };
            assert_eq!(columns.ncols(), range.len());
            (0..range.len()).for_each(|j| assert_eq!(columns.col(j), alone[range.start + j]));
        }
        let mut out = vec![0.0; shape.features()];
        normalizer.normalize(images[9], &mut out);
        assert_eq!(out, alone[9]);
    }
}

#[test]
fn channels_have_mean_0_and_an_unbiased_variance_of_1() {
    let pictures = Pictures::random(ODD, 3, 1);
    let fitted = Normalization::fit_images(Normalize::Channel, ODD, &pictures.images()).unwrap();
    let rows = features::<f64>(&fitted, &pictures, &Par::Seq);
    for channel in 0..2 {
        let values: Vec<f64> = rows.iter().flat_map(|row| row[channel * 35..][..35].to_vec()).collect();
        let (sum, squares) = (values.iter().sum::<f64>(), values.iter().map(|x| x * x).sum::<f64>());
        assert!(sum.abs() < 1e-12 && (squares / 104.0 - 1.0).abs() < 1e-12, "{sum}, {squares}");
    }
}

#[test]
fn constant_channels_and_missing_images_become_zero() {
    let mut pictures = Pictures::random(Shape::CIFAR, 4, 1);
    pictures.bytes.chunks_mut(1024).step_by(3).for_each(|red| red.fill(9));
    let other = Pictures::random(Shape::CIFAR, 1, 2);
    for normalize in [Normalize::Channel, Normalize::WHITEN] {
        let fitted = Normalization::fit_images(normalize, Shape::CIFAR, &pictures.images()).unwrap();
        let mut changed = Pictures { bytes: other.bytes.clone(), ..other };
        let before = features::<f64>(&fitted, &changed, &Par::Seq);
        changed.bytes[..1024].fill(200);
        assert_eq!(features::<f64>(&fitted, &changed, &Par::Seq), before, "the red channel was constant");
        if normalize == Normalize::Channel {
            assert!(before[0][..1024].iter().all(|&x| x == 0.0));
        }
        for images in [&[][..], &[&[7_u8; 3072][..]]] {
            let fitted = Normalization::fit_images(normalize, Shape::CIFAR, images).unwrap();
            let found = features::<f64>(&fitted, &other, &Par::Seq);
            assert!(found[0].iter().all(|&x| x == 0.0), "{normalize}, {} images", images.len());
        }
    }
    let one = Pictures::random(ODD, 1, 3);
    let fitted = Normalization::fit_images(Normalize::WHITEN, ODD, &one.images()).unwrap();
    assert!(features::<f64>(&fitted, &one, &Par::Seq)[0].iter().all(|x| x.abs() < 1e-12));
}

#[test]
fn normalizations_round_trip_and_invalid_ones_are_rejected() {
    let pictures = Pictures::random(ODD, 4, 1);
    for normalize in [Normalize::Feature, Normalize::Channel, Normalize::Whiten { eps: 0.25 }] {
        let fitted = Normalization::fit_images(normalize, ODD, &pictures.images()).unwrap();
        assert_eq!((fitted.normalize(), fitted.features()), (normalize, 70));
        let text = serde_json::to_string(&fitted).unwrap();
        assert_eq!(serde_json::from_str::<Normalization>(&text).unwrap(), fitted);
        let keys: Vec<String> = serde_json::to_value(&fitted).unwrap().as_object().unwrap().keys().cloned().collect();
        let expected = ["deviation", "mean", "shape", "whitening"];
        let own = match normalize {
            Normalize::Feature => &expected[..2],
            Normalize::Channel => &expected[..3],
            Normalize::Whiten { .. } => &expected,
        };
        assert_eq!(keys, own, "a normalization of features has the form it always had");
    }
    let whitened = Normalization::fit_images(Normalize::WHITEN, ODD, &pictures.images()).unwrap();
    let damaged = |change: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(&whitened).unwrap();
        change(&mut value);
        serde_json::from_value::<Normalization>(value).unwrap_err().to_string()
    };
    assert!(damaged(&|value| value["whitening"]["mean"] = json!([1.0])).contains("expected 1 to 1 features"));
    assert!(damaged(&|value| value["whitening"]["deviation"][3] = json!(-1.0)).contains("not negative"));
    assert!(damaged(&|value| value["whitening"]["eps"] = json!(0.0)).contains("EPS 0"));
    assert!(damaged(&|value| value["shape"]["width"] = json!(8)).contains("2 x 5 x 8"));
    assert!(damaged(&|value| value["mean"] = json!([0.5])).contains("expected 2 of each"));
    assert!(damaged(&|value| drop(value.as_object_mut().unwrap().remove("shape"))).contains("without the shape"));
    assert!(damaged(&|value| value["other"] = json!(1)).contains("unknown field"));
}

#[test]
fn settings_are_read_and_written_as_text() {
    for text in ["feature", "channel", "whiten=0.3", "whiten=1e-6", "whiten=2"] {
        let normalize: Normalize = text.parse().unwrap();
        assert_eq!(normalize.to_string().parse(), Ok(normalize));
        assert_eq!(serde_json::from_value::<Normalize>(json!(text)).unwrap(), normalize);
    }
    assert_eq!("whiten".parse::<Normalize>().unwrap(), Normalize::WHITEN);
    for text in ["", "Whiten", "whiten=", "whiten=0", "whiten=-1", "whiten=nan", "whiten=inf", "whiten=x", "pixels"] {
        assert!(text.parse::<Normalize>().is_err(), "{text}");
        assert!(serde_json::from_value::<Normalize>(json!(text)).is_err(), "{text}");
    }
    let images = [&[0_u8; 70][..], &[0; 69]];
    let error = Normalization::fit_images(Normalize::Channel, ODD, &images).unwrap_err();
    assert_eq!(error.to_string(), "an image has 69 pixels: expected 70 (2 x 5 x 7)");
    assert!(Normalization::fit_images(Normalize::Whiten { eps: f64::NAN }, ODD, &images[..1]).is_err());
    assert!(Normalization::fit_images(Normalize::Feature, Shape { width: 0, ..ODD }, &[]).is_err());
}
