//! Checkpoints: whatever decodes round-trips, can be used, and draws valid mini-batches.

#![no_main]

use klayer_fuzz::model::{check, sealed};
use klayer_train::checkpoint::{CHECKPOINT, State};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for bytes in [Some(bytes.to_vec()), sealed(&CHECKPOINT, bytes)].iter().flatten() {
        let Some((_, mut state)) = check::<f32, State>(&CHECKPOINT, bytes) else { continue };
        let (images, batch) = (state.shuffle.images(), state.shuffle.batch());
        for _ in 0..3 {
            let indices = state.shuffle.next_batch();
            assert_eq!(indices.len(), batch);
            assert!(indices.iter().all(|&image| (image as usize) < images));
        }
    }
});
