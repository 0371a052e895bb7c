//! Search over a setting other than lambda, here the width of the hidden layers:
//! `cargo run --release --example 04_search_for_a_width -- [STORE]`.
//!
//! Each trial is a set of settings, and a store keeps its record. Run it again with the same folder, and it runs only
//! the missing trials; several processes can share a store.

use std::env;

use klayer_dataset::{Dataset, Sizes};
use klayer_experiments::runs::run_all;
use klayer_experiments::search::ranks;
use klayer_store::Store;
use klayer_train::{Data, NetworkConfig, RunConfig, ScheduleConfig, Silent};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sizes = Sizes { training: 4_000, validation: 500, test: 500 };
    let data = Data::new(Dataset::generate(42, sizes, "an example", &())?);
    let base = RunConfig {
        schedule: ScheduleConfig { n_s: 100, cycles: 1, ..ScheduleConfig::default() },
        validate_every: Some(40),
        ..RunConfig::default()
    };
    let widths = [5, 10, 20, 50, 100];
    let network = |width| NetworkConfig { hidden: vec![width; 2].into(), ..NetworkConfig::default() };
    let trials: Vec<_> = widths.iter().map(|&width| RunConfig { network: network(width), ..base.clone() }).collect();

    let store = Store::open(env::args().nth(1).unwrap_or_else(|| "target/widths".to_owned()))?;
    let records = run_all(&trials, &data, &store, 2, &Silent)?;
    println!("width  accuracy  rank");
    for ((width, record), rank) in widths.iter().zip(&records).zip(ranks(&records)) {
        let accuracy =
            record.last().and_then(|point| point.validation_accuracy).map_or(f64::NAN, |accuracy| 100.0 * accuracy);
        println!("{width:>5}  {accuracy:>7.1}%  {:>4}", rank.map_or("-".to_owned(), |rank| rank.to_string()));
    }
    Ok(())
}
