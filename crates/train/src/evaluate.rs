//! Evaluation of a network on a set of images.

use klayer_dataset::{Features, Normalizer, Subset};
use klayer_linalg::{Par, RowMajor, Scalar};
use klayer_nn::{Architecture, Logits, Network, Workspace};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Number of images evaluated at a time.
pub(crate) const CHUNK: usize = 250;

/// Evaluates networks of one architecture; allocates its workspace once.
pub struct Evaluator<'a, T> {
    normalizer: &'a Normalizer<T>,
    features: Features<T>,
    /// Logits of up to [`CHUNK`] images.
    workspace: Workspace<T>,
    predictions: Vec<u8>,
    par: Par,
}

/// Results of a network on a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy. Infinite or NaN if the network has diverged.
    pub loss: f64,
    /// Accuracy: the fraction of images classified correctly.
    pub accuracy: f64,
    /// Confusion matrix: number of images by true class (row) and predicted class (column).
    pub confusion: Vec<Vec<u64>>,
}

impl Evaluation {
    /// The results on `images` images with this sum of losses.
    pub(crate) fn new(losses: f64, confusion: Vec<Vec<u64>>, images: usize) -> Self {
        let correct: u64 = (0..confusion.len()).map(|class| confusion[class][class]).sum();
        Self { loss: losses / images as f64, accuracy: correct as f64 / images as f64, confusion }
    }
}

impl<'a, T: Scalar> Evaluator<'a, T> {
    /// Creates an evaluator for networks of `architecture` and images normalized by `normalizer`.
    pub fn new(architecture: &Architecture, normalizer: &'a Normalizer<T>, par: Par) -> Self {
        let workspace = Workspace::new(architecture, CHUNK, par.clone());
        Self { normalizer, features: Features::default(), workspace, predictions: vec![0; CHUNK], par }
    }

    /// Computes loss, accuracy and confusion matrix of `network` on all images of `subset`.
    ///
    /// # Errors
    /// [`Error::Network`] if the network has another architecture, or a label is out of range. A loss that is not
    /// finite is a result, not an error.
    pub fn evaluate(&mut self, network: &Network<T>, subset: Subset<'_>) -> Result<Evaluation, Error> {
        let classes = network.architecture().classes();
        let (mut loss, mut confusion) = (0.0, vec![vec![0; classes]; classes]);
        for start in (0..subset.len()).step_by(CHUNK) {
            let chunk = subset.slice(start..subset.len().min(start + CHUNK));
            loss += self.chunk(network, chunk)? * chunk.len() as f64;
            for (&label, &prediction) in chunk.labels().iter().zip(&self.predictions) {
                confusion[usize::from(label)][usize::from(prediction)] += 1;
            }
        }
        Ok(Evaluation::new(loss, confusion, subset.len()))
    }

    /// Computes the logits of `network` for all images of `subset`.
    ///
    /// # Shapes
    /// Images x classes.
    ///
    /// # Errors
    /// [`Error::Network`] if the network has another architecture, or the images do not match its inputs.
    pub fn logits(&mut self, network: &Network<T>, subset: Subset<'_>) -> Result<RowMajor<T>, Error> {
        let classes = network.architecture().classes();
        let mut all = RowMajor::zeros(subset.len(), classes);
        for start in (0..subset.len()).step_by(CHUNK) {
            let chunk = subset.slice(start..subset.len().min(start + CHUNK));
            self.infer(network, chunk, |logits, _| {
                for (class, row) in logits.as_matrix().rows().enumerate() {
                    for (j, &logit) in row.iter().enumerate() {
                        all.row_mut(start + j)[class] = logit;
                    }
                }
            })?;
        }
        Ok(all)
    }

    /// Returns the mean loss of at most [`CHUNK`] images; leaves their predictions in the workspace.
    fn chunk(&mut self, network: &Network<T>, images: Subset<'_>) -> Result<f64, Error> {
        let loss = self.infer(network, images, |logits, predictions| {
            logits.predict(predictions);
            logits.cross_entropy(images.labels())
        })?;
        match loss {
            Ok(loss) => Ok(loss),
            Err(klayer_nn::Error::NonFiniteLoss { loss }) => Ok(loss),
            Err(error) => Err(error.into()),
        }
    }

    /// Applies `look` to the logits of at most [`CHUNK`] images, with a buffer for predictions.
    fn infer<R>(
        &mut self,
        network: &Network<T>,
        images: Subset<'_>,
        look: impl FnOnce(Logits<'_, T>, &mut [u8]) -> R,
    ) -> Result<R, Error> {
        let n = images.len();
        let mut rest;
        let workspace = if n == CHUNK {
            &mut self.workspace
        } else {
            rest = Workspace::new(self.workspace.architecture(), n, self.par.clone());
            &mut rest
        };
        let images: Vec<_> = images.images().collect();
        let images = self.normalizer.batch(&images, &mut self.features, &self.par);
        let logits = network.infer(images, workspace)?;
        Ok(look(logits, &mut self.predictions[..n]))
    }
}
