//! The cost of momentum: steps with and without, in turns, so that a load on the machine slows both.
//!
//! Prints the 10th percentile of the time of a step for two networks, on one and two threads.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use klayer_linalg::random::stream;
use klayer_linalg::{Par, Pixels};
use klayer_nn::{Architecture, Init, Network, Workspace};
use klayer_optim::{L2, Method, Momentum, Optimizer};

const INPUTS: usize = 3072;

fn main() {
    for (hidden, batch, pairs) in [(&[50, 50][..], 100, 300), (&[1024, 512, 256][..], 500, 25)] {
        for threads in [1, 2] {
            measure(hidden, batch, pairs, threads);
        }
    }
}

fn measure(hidden: &[usize], batch: usize, pairs: usize, threads: usize) {
    let architecture = Architecture::new(INPUTS, hidden, 10, true).expect("a valid architecture");
    let par = Par::threads(threads).expect("few threads");
    let bytes: Vec<u8> = (0..batch * INPUTS).map(|i| (i * i / 7 % 256) as u8).collect();
    let images: Vec<&[u8]> = bytes.chunks_exact(INPUTS).collect();
    let (mean, scale, labels) = ([128.0; INPUTS], [0.02; INPUTS], vec![3; batch]);
    let x = Pixels::new(&images, &mean, &scale);
    let mut workspace = Workspace::new(&architecture, batch, par.clone());
    let network = Network::<f32>::new(&architecture, Init::He, &mut stream(42, "init")).expect("a network");
    let l2 = L2::new(5e-4).expect("a lambda");
    let nesterov = Method::Momentum(Momentum::new(0.9, true).expect("a momentum"));
    let mut trainings =
        [Method::Sgd, nesterov].map(|method| (network.clone(), Optimizer::new(&architecture, method, l2, par.clone())));
    let mut seconds = [const { Vec::new() }; 2];
    par.install(|| {
        for _ in 0..pairs {
            for ((network, optimizer), seconds) in trainings.iter_mut().zip(&mut seconds) {
                // The first step fetches the parameters into the cache again.
                for timed in [false, true] {
                    let start = Instant::now();
                    let loss =
                        network.forward_train(x, &mut workspace).and_then(|logits| logits.cross_entropy(&labels));
                    loss.and_then(|_| optimizer.descend(network, x, &mut workspace, 1e-6)).expect("shapes agree");
                    if timed {
                        seconds.push(start.elapsed().as_secs_f64());
                    }
                }
            }
        }
    });
    let [plain, momentum] = seconds.map(low);
    println!(
        "{hidden:?}, batch {batch}, {threads} threads: {:.3} ms plain, {:.3} ms with momentum, ratio {:.3}",
        1e3 * plain,
        1e3 * momentum,
        momentum / plain
    );
}

/// The 10th percentile, which other processes disturb less than the median.
fn low(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 10]
}
