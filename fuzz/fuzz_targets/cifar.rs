//! Records of CIFAR-10 and CIFAR-100: parsing preserves the bytes of the file and accepts only valid labels.

#![no_main]

use std::path::Path;

use klayer_dataset::{Error, Part, Shape, Subset, parse_cifar10, parse_cifar100};
use klayer_fuzz::assert_sentence;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("batch.bin");
    check(parse_cifar10(path, bytes), bytes, &[10]);
    check(parse_cifar100(path, bytes), bytes, &[20, 100]);
});

/// `classes` is the number of classes of each label in a record.
fn check(parsed: Result<Part, Error>, bytes: &[u8], classes: &[u8]) {
    let record = classes.len() + Shape::CIFAR.features();
    let right = |record: &[u8]| record.iter().zip(classes).all(|(label, classes)| label < classes);
    let all_right = bytes.len().is_multiple_of(record) && bytes.chunks(record).all(right);
    let part = match parsed {
        Ok(part) => part,
        Err(error) => {
            assert!(!all_right, "{error}");
            let (Error::PartialRecord { offset, .. } | Error::Label { offset, .. }) = error else { panic!("{error}") };
            assert!(offset < bytes.len() as u64, "{error}");
            return assert_sentence(&error);
        }
    };
    assert!(all_right);
    let images = Subset::of(&part);
    assert_eq!(images.len(), bytes.len() / record);
    for (i, record) in bytes.chunks(record).enumerate() {
        let coarse = images.coarse_labels().get(i);
        let labels: Vec<u8> = coarse.copied().into_iter().chain([images.label(i)]).collect();
        assert_eq!(record, [&labels, images.image(i)].concat());
    }
}
