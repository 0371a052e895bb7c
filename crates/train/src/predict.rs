//! Classification of unlabelled images with a trained network.

use klayer_dataset::{Features, Normalization, Normalizer, Shape, Subset, View};
use klayer_linalg::softmax::softmax;
use klayer_linalg::{Par, RowMajor};
use klayer_nn::{Network, Workspace};

use crate::Error;
use crate::evaluate::{CHUNK, Evaluation};

/// Classifies images with one network in evaluation mode; allocates its workspace once.
///
/// The probabilities of an image are the same to the bit alone, in a batch and in an [`Evaluator`](crate::Evaluator).
///
/// ```no_run
/// use std::path::Path;
///
/// use klayer_train::{Classifier, Par, model};
///
/// let (network, info) = model::load(Path::new("model.klayer"))?;
/// let mut classifier = Classifier::new(&network, &info.normalization, Par::Seq);
/// // Red, green and blue, each row by row.
/// let black = [0; 3072];
/// let probabilities = classifier.probabilities([&black[..]])?;
/// for (class, probability) in info.classes.iter().zip(&probabilities[0]) {
///     println!("{class}: {probability:.3}");
/// }
/// # Ok::<(), klayer_train::Error>(())
/// ```
pub struct Classifier<'a> {
    network: &'a Network<f32>,
    normalizer: Normalizer<f32>,
    features: Features<f32>,
    workspace: Workspace<f32>,
    par: Par,
}

impl<'a> Classifier<'a> {
    /// Creates a classifier for `network`, whose images are normalized by `normalization`.
    pub fn new(network: &'a Network<f32>, normalization: &Normalization, par: Par) -> Self {
        Self {
            network,
            normalizer: normalization.normalizer(),
            features: Features::default(),
            par: par.clone(),
            // Use a fixed size, even if some columns are unused: without klayer's kernels, the summation order may depend
            // on it.
            workspace: Workspace::new(network.architecture(), CHUNK, par),
        }
    }

    /// Computes the probability of each class for each image.
    ///
    /// # Shapes
    /// An image has as many pixels as the normalization has features.
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

    /// Computes the probability of each class for each image of `shape`: the mean of the probabilities of its `views`.
    ///
    /// # Errors
    /// Those of [`probabilities`](Self::probabilities).
    ///
    /// # Panics
    /// If an image has another shape, a shift is not smaller than the height and the width, or there are no views.
    pub fn view_probabilities<'i>(
        &mut self,
        images: impl IntoIterator<Item = &'i [u8]>,
        shape: Shape,
        views: &[View],
    ) -> Result<Vec<Vec<f64>>, Error> {
        assert!(!views.is_empty(), "an image has at least one view");
        let (features, together) = (shape.features(), (CHUNK / views.len()).max(1));
        let mut images = images.into_iter();
        let (mut means, mut bytes) = (Vec::new(), Vec::new());
        loop {
            bytes.clear();
            for image in images.by_ref().take(together) {
                for view in views {
                    let start = bytes.len();
                    bytes.resize(start + features, 0);
                    view.write(shape, image, &mut bytes[start..]);
                }
            }
            if bytes.is_empty() {
                return Ok(means);
            }
            for of_image in self.probabilities(bytes.chunks_exact(features))?.chunks_exact(views.len()) {
                let sum = |class: usize| of_image.iter().map(|probabilities| probabilities[class]).sum::<f64>();
                means.push((0..of_image[0].len()).map(|class| sum(class) / views.len() as f64).collect());
            }
        }
    }

    /// Computes loss, accuracy and confusion matrix of the mean probabilities over `views` of the images of `subset`.
    ///
    /// # Errors
    /// Those of [`probabilities`](Self::probabilities).
    ///
    /// # Panics
    /// As [`view_probabilities`](Self::view_probabilities), and if a label is out of range.
    pub fn evaluate_views(&mut self, subset: Subset<'_>, views: &[View]) -> Result<Evaluation, Error> {
        let probabilities = self.view_probabilities(subset.images(), subset.shape(), views)?;
        Ok(evaluate_probabilities(subset, &probabilities, self.network.architecture().classes()))
    }

    /// Finds the outputs, from 0, of each hidden layer that are dead: ReLU gives 0 for every image. All outputs
    /// if there are no images.
    ///
    /// # Errors
    /// [`Error::Network`] if the network does not take such images.
    ///
    /// # Panics
    /// If an image has another number of pixels.
    pub fn dead_units<'i>(&mut self, images: impl IntoIterator<Item = &'i [u8]>) -> Result<Vec<Vec<usize>>, Error> {
        let mut dead: Vec<Vec<usize>> =
            self.network.architecture().outputs().map(|outputs| (0..outputs).collect()).collect();
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
            let images = self.normalizer.batch(&chunk, &mut self.features, &self.par);
            self.network.infer(images, &mut self.workspace)?;
            look(self.workspace.outputs(), &self.workspace, n)?;
        }
    }
}

/// Computes loss, accuracy and confusion matrix of `probabilities`, a vector for each image of `subset`.
///
/// # Panics
/// If a label or a probability vector does not match the number of `classes`.
pub fn evaluate_probabilities(subset: Subset<'_>, probabilities: &[Vec<f64>], classes: usize) -> Evaluation {
    let (mut loss, mut confusion) = (0.0, vec![vec![0; classes]; classes]);
    for (&label, of_image) in subset.labels().iter().zip(probabilities) {
        let label = usize::from(label);
        loss -= of_image[label].ln();
        confusion[label][most_probable(of_image)] += 1;
    }
    Evaluation::new(loss, confusion, subset.len())
}

/// The class with the highest probability; of equal ones, the first.
pub fn most_probable(probabilities: &[f64]) -> usize {
    (1..probabilities.len())
        .fold(0, |best, class| if probabilities[class] > probabilities[best] { class } else { best })
}
