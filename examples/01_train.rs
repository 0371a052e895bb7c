//! Train a 3-layer network with batch norm on generated images: `cargo run --release --example 01_train`.

use klayer_dataset::{Dataset, Sizes};
use klayer_train::{Data, Par, RunConfig, ScheduleConfig, Silent, train};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sizes = Sizes { training: 4_000, validation: 500, test: 500 };
    let data = Data::new(Dataset::generate(42, sizes, "an example", &())?);
    let config = RunConfig {
        schedule: ScheduleConfig { n_s: 100, cycles: 1, ..ScheduleConfig::default() },
        validate_every: Some(40),
        ..RunConfig::default()
    };
    let trained = train::<f32>(&config, &data, &Par::threads(2)?, &Silent)?;
    for point in &trained.curve {
        if let Some((loss, accuracy)) = point.validation_loss.zip(point.validation_accuracy) {
            println!("step {:3}: validation loss {loss:.3}, accuracy {:.1}%", point.step, 100.0 * accuracy);
        }
    }
    Ok(())
}
