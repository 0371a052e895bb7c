//! Model files: whatever decodes round-trips and can be used.

#![no_main]

use klayer_fuzz::model::{Notes, check, sealed};
use klayer_nn::model_file::MODEL;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for bytes in [Some(bytes.to_vec()), sealed(&MODEL, bytes)].iter().flatten() {
        check::<f32, Notes>(&MODEL, bytes);
        check::<f64, Notes>(&MODEL, bytes);
    }
});
