//! Classification of unlabelled images with a trained network.

use klayer_dataset::{Normalization, Normalizer};
use klayer_linalg::softmax::softmax;
use klayer_linalg::{Par, RowMajor};
use klayer_nn::{Network, Workspace};

use crate::Error;
use crate::evaluate::CHUNK;

/// Classifies images with one network in evaluation mode; allocates its workspace once.
///
/// The probabilities of an image are the same to the bit alone, in a batch and in an [`Evaluator`](crate::Evaluator).
///
/// ```no_run
/// use std::path::Path;
///
/// use klayer_experiments::{Classifier, Par, model};
///
/// let (network, info) = model::load(Path::new("model.klayer"))?;
/// let mut classifier = Classifier::new(&network, &info.normalization, Par::Seq);
/// // Red, green and blue, each row by row.
/// let black = [0; 3072];
/// let probabilities = classifier.probabilities([&black[..]])?;
/// for (class, probability) in info.classes.iter().zip(&probabilities[0]) {
///     println!("{class}: {probability:.3}");
/// }
/// # Ok::<(), klayer_experiments::Error>(())
/// ```
pub struct Classifier<'a> {
    network: &'a Network<f32>,
    normalizer: Normalizer<f32>,
    workspace: Workspace<f32>,
}

impl<'a> Classifier<'a> {
    /// Creates a classifier for `network`, whose images are normalized by `normalization`.
    pub fn new(network: &'a Network<f32>, normalization: &Normalization, par: Par) -> Self {
        Self {
            network,
            normalizer: normalization.normalizer(),
            // Use a fixed size, even if some columns are unused: the summation order of a wide layer may depend on
            // it.
            workspace: Workspace::new(network.architecture(), CHUNK, par),
        }
    }

    /// Computes the probability of each class for each image.
    ///
    /// # Shapes
    /// An image has one pixel for each feature of the normalization.
    ///
    /// # Errors
    /// [`Error::Network`] if the network does not take such images, [`Error::Outputs`] if its outputs are not finite.
    ///
    /// # Panics
    /// If an image has another number of pixels.
    pub fn probabilities<'i>(&mut self, images: impl IntoIterator<Item = &'i [u8]>) -> Result<Vec<Vec<f64>>, Error> {
        let mut probabilities = Vec::new();
        self.chunks(images, |logits, _, n| {
            let classes = logits.nrows();
            let mut p = RowMajor::<f64>::zeros(classes, n);
            for (class, row) in logits.rows().enumerate() {
                for (p, &logit) in p.row_mut(class).iter_mut().zip(row) {
                    *p = f64::from(logit);
                }
            }
            if p.rows().flatten().any(|logit| !logit.is_finite()) {
                return Err(Error::Outputs);
            }
            softmax(&mut p, &mut vec![0.0; n]);
            probabilities.extend((0..n).map(|j| p.rows().map(|row| row[j]).collect::<Vec<_>>()));
            Ok(())
        })?;
        Ok(probabilities)
    }

    /// Finds the units, from 0, of each hidden layer that are dead: their ReLU output is 0 for every image. All units
    /// if there are no images.
    ///
    /// # Errors
    /// [`Error::Network`] if the network does not take such images.
    ///
    /// # Panics
    /// If an image has another number of pixels than the normalization has features.
    pub fn dead_units<'i>(&mut self, images: impl IntoIterator<Item = &'i [u8]>) -> Result<Vec<Vec<usize>>, Error> {
        let mut dead: Vec<Vec<usize>> =
            self.network.architecture().hidden().iter().map(|&units| (0..units).collect()).collect();
        self.chunks(images, |_, workspace, n| {
            for (layer, dead) in dead.iter_mut().enumerate() {
                let outputs = workspace.hidden(layer);
                dead.retain(|&unit| outputs.row(unit)[..n].iter().all(|&h| h == 0.0));
            }
            Ok(())
        })?;
        Ok(dead)
    }

    /// Runs `images` through the network in chunks, and calls `look` with the logits, the workspace and the number of
    /// images.
    fn chunks<'i>(
        &mut self,
        images: impl IntoIterator<Item = &'i [u8]>,
        mut look: impl FnMut(&RowMajor<f32>, &Workspace<f32>, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut images = images.into_iter();
        loop {
            let mut chunk: Vec<_> = images.by_ref().take(CHUNK).collect();
            let n = chunk.len();
            let Some(&first) = chunk.first() else { return Ok(()) };
            chunk.resize(CHUNK, first);
            self.network.infer(self.normalizer.pixels(&chunk), &mut self.workspace)?;
            look(self.workspace.outputs(), &self.workspace, n)?;
        }
    }
}
