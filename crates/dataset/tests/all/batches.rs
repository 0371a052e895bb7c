//! Normalization, mini-batches and generated images.

use std::cell::Cell;
use std::path::Path;

use klayer_dataset::{
    Dataset, Error, Normalization, Normalize, Normalizer, Part, Progress, Shuffle, Sizes, Subset, parse_cifar10,
};
use klayer_linalg::random::stream;
use klayer_linalg::{ColMajor, Par};

const SMALL: Sizes = Sizes { training: 300, validation: 20, test: 30 };

fn small(seed: u64) -> Dataset {
    Dataset::generate(seed, SMALL, "a test", &()).unwrap()
}

/// Images with these values of feature 0; all other features are 7.
fn images(values: &[u8]) -> Part {
    let record = |&value: &u8| [0, value].into_iter().chain([7; 3072 - 1]);
    parse_cifar10(Path::new("x"), &values.iter().flat_map(record).collect::<Vec<u8>>()).unwrap()
}

#[test]
fn deviation_divides_by_n_and_constant_features_become_zero() {
    let part = images(&[0, 0, 51, 102]);
    let normalization = Normalization::fit(Normalize::Feature, Subset::of(&part)).unwrap();
    assert!((normalization.mean()[0] - 0.15).abs() < 1e-15);
    assert!((normalization.deviation()[0] - 0.0275_f64.sqrt()).abs() < 1e-15);
    assert_eq!(normalization.deviation()[1], 0.0);

    let normalizer: Normalizer<f64> = normalization.normalizer();
    let mut out = vec![f64::NAN; 3072];
    normalizer.normalize(&[51; 3072], &mut out);
    assert!((out[0] - 0.05 / 0.0275_f64.sqrt()).abs() < 1e-14);
    assert!(out[1..].iter().all(|&x| x == 0.0), "even of an image in which the feature differs");
}

#[test]
fn sums_stay_exact_beyond_32_bits() {
    // 255^2 times 66,100 does not fit into 32 bits.
    let part = images(&[255; 66_100]);
    let normalization = Normalization::fit(Normalize::Feature, Subset::of(&part)).unwrap();
    assert_eq!((normalization.mean()[0], normalization.deviation()[0]), (1.0, 0.0));
}

#[test]
fn normalized_training_images_have_mean_0_and_variance_1() {
    let dataset = small(1);
    let training = dataset.training();
    let mut batch = ColMajor::<f64>::zeros(3072, training.len());
    let images: Vec<_> = training.images().collect();
    Normalization::fit(Normalize::Feature, training).unwrap().normalizer().pixels(&images).write(&mut batch, &Par::Seq);
    let n = training.len() as f64;
    for feature in 0..3072 {
        let row: Vec<f64> = (0..training.len()).map(|j| batch.col(j)[feature]).collect();
        let mean = row.iter().sum::<f64>() / n;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12, "feature {feature}: {mean}, {variance}");
    }
}

#[test]
fn images_are_written_one_per_column() {
    let dataset = small(1);
    let training = dataset.training();
    let normalizer: Normalizer<f32> = Normalization::fit(Normalize::Feature, training).unwrap().normalizer();
    let mut batch = ColMajor::zeros(3072, 4);
    batch.col_mut(3).fill(5.0);
    let images = [299, 0, 299].map(|i| training.image(i));
    normalizer.pixels(&images).write(&mut batch, &Par::Seq);
    let mut ranged = ColMajor::zeros(3072, 4);
    let images: Vec<_> = training.slice(298..300).images().collect();
    normalizer.pixels(&images).write(&mut ranged, &Par::Seq);
    let mut single = vec![0.0; 3072];
    normalizer.normalize(training.image(0), &mut single);
    assert_eq!(batch.col(0), ranged.col(1));
    assert_eq!(batch.col(0), batch.col(2));
    assert_eq!(batch.col(1), single);
    assert!(batch.col(3).iter().all(|&x| x == 5.0));
}

#[test]
fn a_normalization_round_trips_and_invalid_ones_are_rejected() {
    let normalization = Normalization::fit(Normalize::Feature, small(1).training()).unwrap();
    let text = serde_json::to_string(&normalization).unwrap();
    assert_eq!(serde_json::from_str::<Normalization>(&text).unwrap(), normalization);
    for (from, to) in [("\"mean\":[", "\"mean\":[0.5,"), ("\"deviation\":[", "\"deviation\":[-0.5,")] {
        let error = serde_json::from_str::<Normalization>(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains("3073"), "{error}");
    }
    let negative = serde_json::to_value(&normalization).map(|mut value| {
        value["deviation"][5] = (-0.25).into();
        value
    });
    assert!(serde_json::from_value::<Normalization>(negative.unwrap()).is_err());
}

#[test]
fn every_epoch_visits_each_image_once_in_a_new_order() {
    let mut shuffle = Shuffle::new(stream(1, "shuffle"), 1000, 50).unwrap();
    assert_eq!(shuffle.batches_per_epoch(), 20);
    let mut epoch = || -> Vec<u32> { (0..20).flat_map(|_| shuffle.next_batch().to_vec()).collect() };
    let (first, second) = (epoch(), epoch());
    assert_ne!(first, second);
    for mut order in [first, second] {
        assert!(!order.is_sorted());
        order.sort();
        assert_eq!(order, (0..1000).collect::<Vec<u32>>());
    }
}

#[test]
fn an_incomplete_batch_is_dropped_and_no_image_repeats_in_an_epoch() {
    let mut shuffle = Shuffle::new(stream(1, "shuffle"), 10, 4).unwrap();
    let mut drawn = [0; 10];
    for _ in 0..500 {
        let mut epoch: Vec<u32> = (0..2).flat_map(|_| shuffle.next_batch().to_vec()).collect();
        epoch.iter().for_each(|&i| drawn[i as usize] += 1);
        epoch.sort();
        epoch.dedup();
        assert_eq!(epoch.len(), 8);
    }
    assert!(drawn.iter().all(|&times| times > 300), "each image has its turn: {drawn:?}");
}

#[test]
fn equal_seeds_give_equal_orders_also_after_deserialization() {
    let shuffle = |seed| Shuffle::new(stream(seed, "shuffle"), 100, 30).unwrap();
    let (mut one, mut same, mut other) = (shuffle(1), shuffle(1), shuffle(2));
    let draw = |shuffle: &mut Shuffle| -> Vec<u32> { (0..7).flat_map(|_| shuffle.next_batch().to_vec()).collect() };
    let first = draw(&mut one);
    let written = serde_json::to_string(&one).unwrap();
    let rest = draw(&mut one);
    assert_eq!(first, draw(&mut same));
    assert_ne!(first, draw(&mut other));
    assert_eq!(rest, draw(&mut serde_json::from_str(&written).unwrap()));
    for (from, to) in
        [("\"drawn\":30", "\"drawn\":101"), ("\"batch\":30", "\"batch\":0"), ("\"order\":[", "\"order\":[1,")]
    {
        assert!(written.contains(from), "{written}");
        assert!(serde_json::from_str::<Shuffle>(&written.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn invalid_batch_sizes_are_rejected() {
    for (len, batch) in [(10, 0), (10, 11), (0, 1), (0, 0), (1 << 32, 1)] {
        let error = Shuffle::new(stream(1, "shuffle"), len, batch).unwrap_err();
        assert!(matches!(error, Error::Batch { batch: b, len: l } if (b, l) == (batch, len)));
    }
}

#[test]
fn the_stand_in_depends_only_on_its_seed() {
    let (one, same, other) = (small(1), small(1), small(2));
    assert_eq!(one.sha256(), same.sha256());
    assert_ne!(one.sha256(), other.sha256());
    // The same on every machine: results on the stand-in are compared by this checksum.
    assert_eq!(one.sha256(), "ce9826d065126dceccbec5f54f7584064a047e0388b211cd0904a350beeac248");
    for (part, same) in [(one.training(), same.training()), (one.test(), same.test())] {
        assert!(part.images().eq(same.images()) && part.labels() == same.labels());
    }
    assert_ne!(one.training().image(0), one.test().image(0));

    let larger = Dataset::generate(1, Sizes { training: 340, ..SMALL }, "a test", &()).unwrap();
    assert!(larger.training().first(300).images().eq(one.training().images()), "a larger set begins like a smaller");
    assert_eq!(one.training().labels().iter().max(), Some(&9));
}

#[test]
fn generated_images_have_contrast_without_saturation() {
    let dataset = small(3);
    let normalization = Normalization::fit(Normalize::Feature, dataset.training()).unwrap();
    let saturated = dataset.training().images().flatten().filter(|&&pixel| pixel == 0 || pixel == 255).count();
    assert!(saturated < 300 * 3072 / 20, "{saturated}");
    assert!(normalization.mean().iter().all(|mean| (0.4..0.6).contains(mean)));
    assert!(normalization.deviation().iter().all(|deviation| (0.1..0.3).contains(deviation)));
}

/// Cancels after some images.
struct Impatient(Cell<usize>);

impl Progress for Impatient {
    fn generating(&self, images: usize, total: usize) {
        assert_eq!(total, 350);
        self.0.set(images);
    }

    fn cancelled(&self) -> bool {
        self.0.get() == 10
    }
}

#[test]
fn generation_can_be_cancelled() {
    let impatient = Impatient(Cell::new(0));
    assert!(matches!(Dataset::generate(1, SMALL, "a test", &impatient), Err(Error::Cancelled)));
    assert_eq!(impatient.0.get(), 10);
}
