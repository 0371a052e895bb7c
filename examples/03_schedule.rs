//! Write a learning-rate schedule and a training loop: `cargo run --release --example 03_schedule`.

use klayer_dataset::{Dataset, Normalization, Normalize, Shuffle, Sizes};
use klayer_linalg::Par;
use klayer_linalg::random::stream;
use klayer_nn::{Architecture, Init, Network, Workspace};
use klayer_optim::{L2, Optimizer, Schedule, Sgd};

/// Linear warm-up followed by cosine decay.
struct WarmUpAndCosine {
    largest: f64,
    warm_up: u64,
    steps: u64,
}

impl Schedule for WarmUpAndCosine {
    fn rate(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.largest * (step + 1) as f64 / self.warm_up as f64;
        }
        let part = (step - self.warm_up) as f64 / (self.steps - self.warm_up) as f64;
        0.5 * self.largest * (1.0 + (std::f64::consts::PI * part).cos())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sizes = Sizes { training: 4_000, validation: 500, test: 500 };
    let dataset = Dataset::generate(42, sizes, "an example", &())?;
    let normalization = Normalization::fit(Normalize::Feature, dataset.training())?;
    let normalizer = normalization.normalizer::<f32>();

    let (batch, par) = (100, Par::Seq);
    let architecture = Architecture::new(3072, &[50, 50], 10, true)?;
    let mut network = Network::<f32>::new(&architecture, Init::He, &mut stream(42, "init"))?;
    let mut workspace = Workspace::new(&architecture, batch, par.clone());
    let mut shuffle = Shuffle::new(stream(42, "shuffle"), dataset.training().len(), batch)?;
    let mut optimizer = Optimizer::new(&architecture, Sgd, L2::new(0.005)?, par.clone());
    let schedule = WarmUpAndCosine { largest: 0.1, warm_up: 20, steps: 200 };

    for step in 0..schedule.steps {
        let indices = shuffle.next_batch();
        let labels: Vec<u8> = indices.iter().map(|&i| dataset.training().label(i as usize)).collect();
        let images: Vec<_> = indices.iter().map(|&i| dataset.training().image(i as usize)).collect();
        let x = normalizer.pixels(&images);
        let rate = schedule.rate(step);
        let loss = network.forward_train(x, &mut workspace)?.cross_entropy(&labels)?;
        optimizer.descend(&mut network, x, &mut workspace, rate)?;
        if step % 40 == 0 || step == schedule.steps - 1 {
            println!("step {step:3}: rate {rate:.4}, loss {loss:.3}");
        }
    }
    Ok(())
}
