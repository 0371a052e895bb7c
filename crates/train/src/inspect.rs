//! What a trained network has learned: the weights of its first layer as pictures, and its mistakes.

use klayer_dataset::{Normalization, Subset};
use klayer_nn::Network;
use serde::{Deserialize, Serialize};

use crate::predict::most_probable;

/// A misclassified image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Index of the image, from 0.
    pub index: usize,
    /// Its class.
    pub class: usize,
    /// The most probable class.
    pub predicted: usize,
    /// Probability of the predicted class.
    pub probability: f64,
}

/// The `most` misclassified images with the highest probability; ties keep the order of the images.
///
/// # Shapes
/// `probabilities`: one vector for each image, with one probability for each class.
pub fn mistakes(images: Subset<'_>, probabilities: &[Vec<f64>], most: usize) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (index, (of_image, &label)) in probabilities.iter().zip(images.labels()).enumerate() {
        let (class, predicted) = (usize::from(label), most_probable(of_image));
        if class != predicted {
            mistakes.push(Mistake { index, class, predicted, probability: of_image[predicted] });
        }
    }
    mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    mistakes.truncate(most);
    mistakes
}

/// The weights of each unit of the first layer as the bytes of an image: 128 is 0, and the largest absolute weight of a
/// unit is 1 or 255. Those of whitened images are first multiplied by the whitening, so that they are weights of pixels.
pub fn weight_pictures(network: &Network<f32>, normalization: &Normalization) -> Vec<Vec<u8>> {
    let picture = |weights: &[f32]| {
        let largest = weights.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
        let scale = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        weights.iter().map(|w| (128.0 + w * scale).round() as u8).collect()
    };
    let first = &network.layers()[0].affine;
    if normalization.whitening().is_some() {
        normalization.fold(&first.weight, &first.bias, 1.0).0.rows().map(picture).collect()
    } else {
        first.weight.rows().map(picture).collect()
    }
}
