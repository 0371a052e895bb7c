//! Softmax cross-entropy of a mini-batch, and its gradient.
//!
//! For logits s (classes x n) and labels y, the loss is the mean over the images of
//! -log softmax(s)_y = log sum_k exp(s_k) - s_y, and dJ/ds = (softmax(s) - onehot(y)) / n.

use klayer_linalg::softmax::softmax;
use klayer_linalg::{RowMajor, Scalar};

use crate::Error;

/// Per-image results of the cross-entropy, allocated once.
#[derive(Debug, Clone)]
pub(crate) struct Losses<T> {
    /// The cross-entropy of each image.
    pub(crate) losses: Vec<T>,
    label_logits: Vec<T>,
}

impl<T: Scalar> Losses<T> {
    /// Allocates memory for `images` images.
    pub(crate) fn new(images: usize) -> Self {
        let zeros = vec![T::from_f64(0.0); images];
        Self { losses: zeros.clone(), label_logits: zeros }
    }
}

/// Returns the mean cross-entropy, writes that of each image to `scratch`, and replaces `logits` by their gradient.
///
/// The mean is computed in `f64` for every `T`.
///
/// # Shapes
/// `logits` classes x n, `labels` n, `scratch` for n images.
///
/// # Errors
/// [`Error::LabelCount`] and [`Error::Label`] for invalid labels, with `logits` unchanged; [`Error::NonFiniteLoss`].
pub(crate) fn cross_entropy<T: Scalar>(
    logits: &mut RowMajor<T>,
    labels: &[u8],
    scratch: &mut Losses<T>,
) -> Result<f64, Error> {
    let (classes, images) = (logits.nrows(), logits.ncols());
    if labels.len() != images {
        return Err(Error::LabelCount { labels: labels.len(), images });
    }
    if let Some(image) = labels.iter().position(|&label| usize::from(label) >= classes) {
        return Err(Error::Label { image, label: labels[image], classes });
    }
    let Losses { losses, label_logits } = scratch;
    for (j, &label) in labels.iter().enumerate() {
        label_logits[j] = logits.row(usize::from(label))[j];
    }
    softmax(logits, losses);
    let mut sum = 0.0;
    for (loss, &label_logit) in losses.iter_mut().zip(&*label_logits) {
        *loss -= label_logit;
        sum += loss.to_f64();
    }
    let loss = sum / images as f64;

    for (j, &label) in labels.iter().enumerate() {
        logits.row_mut(usize::from(label))[j] -= T::from_f64(1.0);
    }
    let share = T::from_f64(1.0 / images as f64);
    for i in 0..classes {
        for g in logits.row_mut(i) {
            *g *= share;
        }
    }
    if loss.is_finite() { Ok(loss) } else { Err(Error::NonFiniteLoss { loss }) }
}
