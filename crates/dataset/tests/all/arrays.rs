//! Datasets from arrays in memory, and their splits.

use klayer_dataset::{Dataset, Dimensions, Error, Normalization, Normalize, Part, Parts, Shape, Split};
use proptest::prelude::*;

const SHAPE: Shape = Shape { channels: 2, height: 1, width: 3 };

/// Images of `SHAPE` with these labels; their pixels tell their index.
fn part(labels: &[u8]) -> Part {
    let pixels = (0..labels.len()).flat_map(|i| [i as u8, (i >> 8) as u8, 1, 2, 3, 4]).collect();
    Part::new(SHAPE, pixels, labels.to_vec()).unwrap()
}

fn parts(training: &[u8], test: &[u8]) -> Parts {
    Parts { training: part(training), validation: Part::empty(SHAPE), test: part(test) }
}

#[test]
fn own_arrays_become_a_dataset_with_names_and_a_checksum() {
    let build = |name: &str, test: &[u8]| Dataset::new(name, ["a", "b"], parts(&[0, 1, 1], test)).unwrap();
    let dataset = build("mine", &[1]);
    assert_eq!((dataset.name(), dataset.class_names().join(" ")), ("mine", "a b".to_owned()));
    assert_eq!(dataset.dimensions(), Dimensions { shape: SHAPE, classes: 2, training: 3 });
    assert_eq!((dataset.split(), dataset.format(), dataset.synthetic()), (Split::None, None, false));
    assert_eq!(Normalization::fit(Normalize::Feature, dataset.training()).unwrap().mean().len(), 6);
    assert_eq!(dataset.sha256(), build("other", &[1]).sha256(), "the name is not content");
    assert_ne!(dataset.sha256(), build("mine", &[0]).sha256());
    let renamed = Dataset::new("mine", ["a", "c"], parts(&[0, 1, 1], &[1])).unwrap();
    assert_ne!(dataset.sha256(), renamed.sha256());
}

#[test]
fn arrays_that_do_not_fit_are_rejected() {
    let names = |count: usize| (0..count).map(|i| format!("class {i}")).collect::<Vec<_>>();
    let wide = Part::empty(Shape { width: 4, ..SHAPE });
    let cases = [
        (names(1), parts(&[0], &[]), "found 1 class, but a dataset must have from 2 to 256"),
        (names(0), parts(&[], &[]), "found 0 classes"),
        (names(257), parts(&[0, 1], &[]), "found 257 classes"),
        (vec!["a".to_owned(); 2], parts(&[0, 1], &[]), "two classes have the name \"a\""),
        (names(2), parts(&[0, 1, 2], &[]), "label 2 of training image 2 is out of range: must be below 2"),
        (names(2), parts(&[0, 1], &[0, 7]), "label 7 of test image 1 is out of range"),
        (names(3), parts(&[0, 2], &[]), "the class \"class 1\" has no training images"),
        (names(2), Parts { test: wide, ..parts(&[0, 1], &[]) }, "the test images are 2 x 1 x 4, but the training"),
    ];
    for (names, parts, expected) in cases {
        match Dataset::new("x", names, parts) {
            Err(Error::Arrays(told)) => assert!(told.contains(expected), "{told}"),
            other => panic!("{other:?}: {expected}"),
        }
    }
    for (shape, pixels, labels) in [(SHAPE, 11, 2), (SHAPE, 12, 1), (Shape { height: 0, ..SHAPE }, 0, 0)] {
        assert!(matches!(Part::new(shape, vec![0; pixels], vec![0; labels]), Err(Error::Arrays(_))));
    }
}

proptest! {
    #[test]
    fn a_drawn_part_is_stratified_and_loses_nothing(
        labels in prop::collection::vec(0_u8..5, 0..300), part_of_all in 0.0..1.2_f64, seed: u64
    ) {
        let (mut kept, before) = (part(&labels), part(&labels));
        let count = |part: &Part, class: u8| klayer_dataset::Subset::of(part).labels().iter().filter(|&&l| l == class).count();
        let classes: Vec<_> = (0..5).map(|class| count(&before, class)).collect();
        let most: usize = classes.iter().map(|n| n.saturating_sub(1)).sum();
        let wanted = (labels.len() as f64 * part_of_all) as usize;
        match kept.draw(wanted, 5, seed) {
            Err(Error::Validation { images, most: found }) => {
                prop_assert!(images == wanted && found == most && wanted > most && kept == before);
            }
            Err(error) => panic!("{error}"),
            Ok(drawn) => {
                prop_assert_eq!(drawn.len(), wanted);
                for class in 0..5 {
                    let (n, share) = (classes[class as usize], count(&drawn, class));
                    prop_assert_eq!(count(&kept, class) + share, n);
                    prop_assert!(n == 0 || share < n);
                }
                let shares: Vec<_> = (0..5).map(|class| count(&drawn, class)).collect();
                if shares.iter().zip(&classes).all(|(share, n)| share + 1 < *n) {
                    // Each class has enough images for its share: its part of the images, rounded up or down.
                    for (share, n) in shares.iter().zip(&classes) {
                        let exact = wanted as f64 * *n as f64 / labels.len() as f64;
                        prop_assert!((*share as f64 - exact).abs() < 1.0, "{} of {}, {}", share, n, exact);
                    }
                }
                let index = |image: &[u8]| usize::from(image[0]) | usize::from(image[1]) << 8;
                let mut all = Vec::new();
                for part in [&kept, &drawn] {
                    let subset = klayer_dataset::Subset::of(part);
                    let indices: Vec<_> = subset.images().map(index).collect();
                    prop_assert!(indices.is_sorted());
                    prop_assert!(indices.iter().zip(subset.labels()).all(|(&i, label)| labels[i] == *label));
                    all.extend(indices);
                }
                all.sort();
                prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
            }
        }
    }
}
