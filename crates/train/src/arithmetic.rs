//! Everything besides the settings that determines the last bits of a run.

use std::sync::LazyLock;

use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::{ColMajor, Par, RowMajor, kernels_on, vector_bits};
use klayer_nn::model_file::{self, MODEL};
use klayer_nn::{Architecture, Init, Network, Workspace};
use klayer_optim::{L2, Optimizer, Sgd};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;

/// Identifies how this process computes sums. With equal arithmetic, equal settings give equal bits. A run resumed
/// with another arithmetic would match neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arithmetic {
    /// Bits of the processor's widest vectors.
    pub vectors: u32,
    /// Whether products use klayer's kernels; otherwise (`KLAYER_NO_KERNELS`) they use faer alone.
    pub kernels: bool,
    /// SHA-256 of a small network after its first update steps: another build, or another system's mathematical
    /// functions, may round differently on the same processor.
    pub sample: String,
}

/// Numbers of features that fill a block of the kernels and some that do not; one layer is too large for the kernels.
const WIDTHS: (usize, &[usize], usize) = (800, &[300, 260, 20], 10);
const IMAGES: usize = 20;
const STEPS: usize = 2;

impl Arithmetic {
    /// The arithmetic of this process.
    pub fn here() -> Self {
        static SAMPLE: LazyLock<String> = LazyLock::new(|| sample().expect("settings that make a run"));
        Self { vectors: vector_bits(), kernels: kernels_on(), sample: SAMPLE.clone() }
    }

    /// The first difference between a checkpoint's arithmetic and this one.
    pub(crate) fn difference(&self, here: &Self) -> Option<String> {
        let kernels = |on| if on { "on klayer's kernels" } else { "on faer alone" };
        if self.vectors != here.vectors {
            return Some(format!("vectors have {} bits in the checkpoint, but {} here", self.vectors, here.vectors));
        }
        if self.kernels != here.kernels {
            let (there, here) = (kernels(self.kernels), kernels(here.kernels));
            return Some(format!("products were computed {there}, but are computed {here} here (KLAYER_NO_KERNELS)"));
        }
        let differs = self.sample != here.sample;
        differs.then(|| "another build or system rounds the same sums differently".to_owned())
    }
}

/// Trains a small network, and hashes every bit of it and of its losses.
fn sample() -> Result<String, Error> {
    let (features, hidden, classes) = WIDTHS;
    let architecture = Architecture::new(features, hidden, classes, true)?;
    let mut random = stream(42, "arithmetic");
    let mut network = Network::<f32>::new(&architecture, Init::He, &mut random)?;
    let mut rows = RowMajor::zeros(IMAGES, features);
    fill_normal(&mut rows, 1.0, &mut random);
    let mut images = ColMajor::zeros(features, IMAGES);
    for (j, row) in rows.rows().enumerate() {
        images.col_mut(j).copy_from_slice(row);
    }
    let labels: Vec<_> = (0..IMAGES).map(|j| (j % classes) as u8).collect();

    let mut workspace = Workspace::new(&architecture, IMAGES, Par::Seq);
    let mut optimizer = Optimizer::new(&architecture, Sgd, L2::new(0.01)?, Par::Seq);
    let mut losses = Vec::new();
    for _ in 0..STEPS {
        losses.push(network.forward_train(images.as_ref(), &mut workspace)?.cross_entropy(&labels)?);
        optimizer.descend(&mut network, images.as_ref(), &mut workspace, 0.1)?;
    }
    losses.push(network.infer(images.as_ref(), &mut workspace)?.cross_entropy(&labels)?);
    let hash = Sha256::digest(model_file::encode(&MODEL, &network, &[], &losses)?);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}
