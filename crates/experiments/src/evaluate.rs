//! A network on images that it does not learn from.

use klayer_dataset::{FEATURES, Normalizer, Subset};
use klayer_linalg::{ColMajor, Par, Scalar};
use klayer_nn::{Architecture, Network, Workspace};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Images evaluated at a time.
const CHUNK: usize = 250;

/// Runs networks of one architecture over images in evaluation mode; its buffers are allocated once.
pub struct Evaluator<'a, T> {
    normalizer: &'a Normalizer<T>,
    workspace: Workspace<T>,
    images: ColMajor<T>,
    predictions: Vec<u8>,
    par: Par,
}

/// How a network does on a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy. Infinite or NaN if the network has diverged.
    pub loss: f64,
    /// Part of the images that are classified correctly.
    pub accuracy: f64,
    /// Images by true class (row) and predicted class (column).
    pub confusion: Vec<Vec<u64>>,
}

impl<'a, T: Scalar> Evaluator<'a, T> {
    /// For networks of `architecture` and images normalized by `normalizer`.
    pub fn new(architecture: &Architecture, normalizer: &'a Normalizer<T>, par: Par) -> Self {
        Self {
            normalizer,
            workspace: Workspace::new(architecture, CHUNK, par.clone()),
            images: ColMajor::zeros(FEATURES, CHUNK),
            predictions: vec![0; CHUNK],
            par,
        }
    }

    /// Loss, accuracy and confusion matrix of `network` on all of `subset`.
    ///
    /// # Errors
    /// [`Error::Network`] if the network is of another architecture or a label is beyond its classes;
    /// a loss that is not finite is part of the result.
    pub fn evaluate(&mut self, network: &Network<T>, subset: Subset<'_>) -> Result<Evaluation, Error> {
        let classes = network.architecture().classes();
        let mut confusion = vec![vec![0; classes]; classes];
        let mut loss = 0.0;
        for start in (0..subset.len()).step_by(CHUNK) {
            let chunk = subset.slice(start..subset.len().min(start + CHUNK));
            loss += self.chunk(network, chunk)? * chunk.len() as f64;
            for (&label, &prediction) in chunk.labels().iter().zip(&self.predictions) {
                confusion[usize::from(label)][usize::from(prediction)] += 1;
            }
        }
        let images = subset.len() as f64;
        let correct: u64 = (0..classes).map(|class| confusion[class][class]).sum();
        Ok(Evaluation { loss: loss / images, accuracy: correct as f64 / images, confusion })
    }

    /// Mean loss of at most [`CHUNK`] images; leaves their predictions.
    fn chunk(&mut self, network: &Network<T>, images: Subset<'_>) -> Result<f64, Error> {
        let n = images.len();
        self.normalizer.gather_range(images, 0..n, &mut self.images, &self.par);
        let mut rest;
        let workspace = if n == CHUNK {
            &mut self.workspace
        } else {
            rest = Workspace::new(network.architecture(), n, self.par.clone());
            &mut rest
        };
        let logits = network.infer(self.images.as_ref().first(n), workspace)?;
        logits.predict(&mut self.predictions[..n]);
        match logits.cross_entropy(images.labels()) {
            Ok(loss) => Ok(loss),
            Err(klayer_nn::Error::NonFiniteLoss { loss }) => Ok(loss),
            Err(error) => Err(error.into()),
        }
    }
}
