//! `paper.toml`: parsing gives an error, or numbers that are valid settings or are rejected with an error.

#![no_main]
#![allow(dead_code)]

#[path = "../../xtask/src/paper.rs"]
mod paper;
#[path = "../../xtask/src/results.rs"]
mod results;
#[path = "../../xtask/src/study.rs"]
mod study;

use std::fmt::Display;

use klayer_fuzz::assert_sentence;
use libfuzzer_sys::fuzz_target;
use paper::Paper;
use study::Study;

fuzz_target!(|text: &str| {
    match Paper::parse(text) {
        Ok(paper) => {
            let _ = paper.coarse.best();
            for quick in [false, true] {
                let study = Study::new(&paper, 42, quick);
                study.gradients();
                refused(study.settings());
                refused(study.loss());
                refused(study.coarse());
                refused(study.fine());
                refused(study.noise(paper.final_.lambda));
                refused(study.finals(paper.final_.lambda));
                refused(study.sensitivity());
            }
        }
        // Multi-line: it quotes the line and marks the position.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn refused<T, E: Display>(made: Result<T, E>) {
    if let Err(error) = made {
        assert_sentence(&error);
    }
}
