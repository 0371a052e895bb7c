//! Use a trained network in a program: `cargo run --release --example 05_use_a_model -- MODEL`.
//!
//! `klayer train --out MODEL` writes MODEL. The file contains everything needed: the network, the normalization of its
//! inputs, and the class names.

use std::env;
use std::path::Path;

use klayer_dataset::{Dataset, Sizes};
use klayer_nn::Workspace;
use klayer_train::{Par, model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = env::args().nth(1).ok_or("missing argument: the path of a model")?;
    let (network, info) = model::load(Path::new(&path))?;
    let normalizer = info.normalization.normalizer::<f32>();

    // Images from any source: 3,072 bytes each, 1,024 red, 1,024 green, 1,024 blue, row by row.
    let sizes = Sizes { training: 1, validation: 0, test: 5 };
    let dataset = Dataset::generate(7, sizes, "an example", &())?;
    let images: Vec<_> = dataset.test().images().collect();

    let mut workspace = Workspace::new(network.architecture(), images.len(), Par::Seq);
    let logits = network.infer(normalizer.pixels(&images), &mut workspace)?;
    let mut classes = vec![0; images.len()];
    logits.predict(&mut classes);
    for (i, &class) in classes.iter().enumerate() {
        println!("image {i}: {}", info.classes[usize::from(class)]);
    }
    Ok(())
}
