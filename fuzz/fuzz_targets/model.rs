//! Model files: what decodes is encoded to the same bytes, and can be used.

#![no_main]

use klayer_fuzz::assert_sentence;
use klayer_fuzz::model::{HEADER, Notes, sealed};
use klayer_linalg::{ColMajor, Par, Scalar};
use klayer_nn::model_file::{decode, encode};
use klayer_nn::{Error, Workspace};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    both(bytes);
    if let Some(payload) = bytes.get(HEADER..) {
        both(&sealed(payload));
    }
});

fn both(bytes: &[u8]) {
    check::<f32>(bytes);
    check::<f64>(bytes);
}

fn check<T: Scalar>(bytes: &[u8]) {
    let (network, notes) = match decode::<T, Notes>(bytes) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(matches!(error, Error::Model { offset, .. } if offset <= bytes.len()), "{error}");
            return assert_sentence(&error);
        }
    };
    assert!(encode(&network, &notes).expect("it was decoded") == bytes, "the same bytes");

    let images = 2;
    let mut workspace = Workspace::new(network.architecture(), images, Par::Seq);
    let x = ColMajor::zeros(network.architecture().inputs(), images);
    let logits = network.infer(x.as_ref(), &mut workspace).expect("it fits");
    logits.predict(&mut [0; 2]);
}
