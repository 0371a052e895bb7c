//! Mirrored and shifted images.

use klayer_dataset::{Augment, Augmenter, Dataset, Error, Shape, Sizes, View, ViewBuffer};
use klayer_linalg::Par;
use proptest::prelude::*;

use crate::inputs::{Pictures, cases, golden, number};

const BOTH: Augment = Augment { flip: true, shift: 4 };

fn dataset() -> Dataset {
    Dataset::generate(1, Sizes { training: 40, validation: 1, test: 1 }, "a test", &()).unwrap()
}

fn shown(view: View, shape: Shape, image: &[u8]) -> Vec<u8> {
    let mut out = vec![0; image.len()];
    view.write(shape, image, &mut out);
    out
}

#[test]
fn views_match_numpy() {
    let golden = golden();
    for case in golden["cases"].as_array().unwrap() {
        let shape: Shape = serde_json::from_value(case["shape"].clone()).unwrap();
        let pictures = Pictures::congruential(shape, 2);
        for expected in case["views"].as_array().unwrap() {
            let side = |name: &str| number(&expected[name]) as i32;
            let mirrored = expected["mirrored"].as_bool().unwrap();
            let view = View { mirrored, down: side("down"), right: side("right") };
            let out = shown(view, shape, pictures.images()[1]);
            let weighted: i64 = out.iter().zip(0..).map(|(&p, i)| i64::from(p) * (i % 13 - 6)).sum();
            assert_eq!(weighted, expected["weighted"].as_i64().unwrap(), "{shape}, {view:?}");
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// Also catches an edge that is repeated: the window mirrors at the center of the edge's pixels.
    #[test]
    fn a_view_is_a_window_into_a_mirrored_image(
        channels in 1..4_usize, height in 1..9_usize, width in 1..9_usize, mirrored: bool, seed: u64,
        down in -8..9_i32, right in -8..9_i32,
    ) {
        let shape = Shape { channels, height, width };
        let most = height.min(width) as i32 - 1;
        let view = View { mirrored, down: down.clamp(-most, most), right: right.clamp(-most, most) };
        let pictures = Pictures::random(shape, 1, seed);
        let out = shown(view, shape, &pictures.bytes);
        let inside = |at: i32, count: usize| {
            let last = count as i32 - 1;
            if at < 0 { -at } else if at > last { last - (at - last) } else { at }
        };
        for (i, pixel) in out.into_iter().enumerate() {
            let (c, y, x) = (i / (height * width), i / width % height, i % width);
            let x = if mirrored { width - 1 - x } else { x };
            let (y, x) = (inside(y as i32 + view.down, height), inside(x as i32 + view.right, width));
            prop_assert_eq!(pixel, pictures.bytes[c * height * width + y as usize * width + x as usize]);
        }
    }
}

#[test]
fn all_views_are_distinct_and_ordered() {
    let views = View::all(Shape::CIFAR, true, &[-2, 0, 2]).unwrap();
    assert_eq!(views.len(), 18);
    assert_eq!(views[1], View { mirrored: true, down: -2, right: -2 });
    assert_eq!(views[2], View { mirrored: false, down: -2, right: 0 });
    assert!((1..18).all(|i| !views[..i].contains(&views[i])));
    assert_eq!(View::all(Shape::CIFAR, false, &[-2, 0, 2]).unwrap().len(), 9);
    let small = Shape { channels: 1, height: 9, width: 2 };
    assert!(matches!(View::all(small, true, &[0, -2]), Err(Error::Shift { shift: 2, shape }) if shape == small));
    assert_eq!(View::all(Shape { width: 1, ..small }, true, &[0]).unwrap().len(), 2);
    let error = Augmenter::new(BOTH, Shape { width: 4, ..small }, 1).unwrap_err();
    let expected = "cannot shift images of 1 x 9 x 4 by 4 pixels: must be less than their height and width";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn changes_depend_only_on_seed_step_and_image() {
    let dataset = dataset();
    let training = dataset.training();
    let make = |seed| Augmenter::new(BOTH, Shape::CIFAR, seed).unwrap();
    let indices: Vec<u32> = (0..40).rev().collect();
    let (mut one, mut other) = (make(1), make(2));
    let first: Vec<Vec<u8>> = one.batch(training, &indices, 7, &Par::Seq).iter().map(|x| x.to_vec()).collect();
    for threads in [1, 2, 5] {
        let (par, mut again) = (Par::threads(threads).unwrap(), make(1));
        par.install(|| {
            assert!(first.iter().eq(again.batch(training, &indices, 7, &par).iter()), "{threads} threads");
            assert!(first[3..5].iter().eq(again.batch(training, &indices[3..5], 7, &par).iter()), "in other company");
        });
    }
    assert!(!first.iter().eq(one.batch(training, &indices, 8, &Par::Seq).iter()), "another step");
    assert!(!first.iter().eq(other.batch(training, &indices, 7, &Par::Seq).iter()), "another seed");
    for (out, &index) in first.iter().zip(&indices) {
        let image = training.image(index as usize);
        assert_eq!(*out, shown(one.view(7, index), Shape::CIFAR, image));
    }
}

#[test]
fn choices_are_uniform_and_independent() {
    let augmenter = Augmenter::new(BOTH, Shape::CIFAR, 3).unwrap();
    let (mut down, mut right, mut mirrored, mut product) = ([0; 9], [0; 9], 0, 0);
    for (step, index) in (0..90).flat_map(|step| (0..1000).map(move |index| (step, index))) {
        let view = augmenter.view(step, index);
        down[(view.down + 4) as usize] += 1;
        right[(view.right + 4) as usize] += 1;
        mirrored += i32::from(view.mirrored);
        product += view.down * view.right;
    }
    // Five standard deviations of 90,000 draws.
    assert!(down.iter().chain(&right).all(|&times: &i32| (times - 10_000).abs() < 480), "{down:?}, {right:?}");
    assert!((mirrored - 45_000).abs() < 750, "{mirrored}");
    assert!(product.abs() < 10_000, "{product}");
    let flips = Augmenter::new(Augment { shift: 0, ..BOTH }, Shape::CIFAR, 3).unwrap();
    let shifts = Augmenter::new(Augment { flip: false, ..BOTH }, Shape::CIFAR, 3).unwrap();
    for index in 0..100 {
        let (view, flip, shift) = (augmenter.view(1, index), flips.view(1, index), shifts.view(1, index));
        assert_eq!(flip, View { mirrored: view.mirrored, ..View::default() });
        assert_eq!(shift, View { mirrored: false, ..view });
    }
}

#[test]
fn nothing_is_copied_without_changes_nor_allocated_after_the_first_mini_batch() {
    let dataset = dataset();
    let training = dataset.training();
    let indices: Vec<u32> = (0..30).collect();
    let mut none = Augmenter::new(Augment::default(), Shape::CIFAR, 1).unwrap();
    assert_eq!(none.batch(training, &indices, 0, &Par::Seq)[5].as_ptr(), training.image(5).as_ptr());
    let mut both = Augmenter::new(BOTH, Shape::CIFAR, 1).unwrap();
    let normalizer = klayer_dataset::Normalization::fit(klayer_dataset::Normalize::WHITEN, training).unwrap();
    let (normalizer, mut features) = (normalizer.normalizer::<f32>(), klayer_dataset::Features::default());
    let mut step = |number: u64, indices: &[u32]| {
        assert_eq!(none.batch(training, indices, number, &Par::Seq).len(), indices.len());
        let images = both.batch(training, indices, number, &Par::Seq);
        assert_eq!(normalizer.batch(&images, &mut features, &Par::Seq).ncols(), indices.len());
    };
    step(0, &indices);
    let counted = allocation_counter::measure(|| {
        step(1, &indices);
        step(2, &indices[..7]);
        step(3, &indices);
    });
    assert_eq!(counted.count_total, 0);

    let mut buffer = ViewBuffer::default();
    let view = View { mirrored: true, ..View::default() };
    assert_eq!(buffer.views(Shape::CIFAR, [].into_iter(), |_| view, &Par::Seq).len(), 0);
}
