//! Softmax cross-entropy of a mini-batch, and its gradient.
//!
//! For logits s (classes x n) and labels y, the loss is the mean over the images of
//! -log softmax(s)_y = log sum_k exp(s_k) - s_y, and dJ/ds = (softmax(s) - onehot(y)) / n.
//!
//! Label smoothing by a (Szegedy et al., 2016) replaces onehot(y) by the targets (1 - a) onehot(y) + a / classes. The
//! objective of an image is then log sum_k exp(s_k) - (1 - a) s_y - a mean_k s_k.

use klayer_linalg::softmax::softmax;
use klayer_linalg::{RowMajor, Scalar};

use crate::Error;

/// Per-image results of the cross-entropy, allocated once.
#[derive(Debug, Clone)]
pub(crate) struct Losses<T> {
    /// The cross-entropy of each image.
    pub(crate) losses: Vec<T>,
    /// The objective of each image, with label smoothing; otherwise unspecified.
    pub(crate) smoothed: Vec<T>,
    label_logits: Vec<T>,
}

impl<T: Scalar> Losses<T> {
    /// Allocates memory for `images` images.
    pub(crate) fn new(images: usize) -> Self {
        let zeros = vec![T::from_f64(0.0); images];
        Self { losses: zeros.clone(), smoothed: zeros.clone(), label_logits: zeros }
    }
}

/// Returns the mean cross-entropy, writes that of each image to `scratch`, and replaces `logits` by the gradient of the
/// objective with label smoothing `smoothing`.
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
    smoothing: f64,
    scratch: &mut Losses<T>,
) -> Result<f64, Error> {
    let (classes, images) = (logits.nrows(), logits.ncols());
    if labels.len() != images {
        return Err(Error::LabelCount { labels: labels.len(), images });
    }
    if let Some(image) = labels.iter().position(|&label| usize::from(label) >= classes) {
        return Err(Error::Label { image, label: labels[image], classes });
    }
    let Losses { losses, smoothed, label_logits } = scratch;
    for (j, &label) in labels.iter().enumerate() {
        label_logits[j] = logits.row(usize::from(label))[j];
    }
    // a / classes and 1 - a.
    let (uniform, label_share) = (T::from_f64(smoothing / classes as f64), T::from_f64(1.0 - smoothing));
    if smoothing > 0.0 {
        smoothed.fill(T::from_f64(0.0));
        for logits in logits.rows() {
            for (sum, &logit) in smoothed.iter_mut().zip(logits) {
                *sum += logit;
            }
        }
        for (sum, &label_logit) in smoothed.iter_mut().zip(&*label_logits) {
            *sum = label_share * label_logit + uniform * *sum;
        }
    }
    softmax(logits, losses);
    if smoothing > 0.0 {
        for (smoothed, &log_sum_exp) in smoothed.iter_mut().zip(&*losses) {
            *smoothed = log_sum_exp - *smoothed;
        }
        for i in 0..classes {
            for p in logits.row_mut(i) {
                *p -= uniform;
            }
        }
    }
    let mut sum = 0.0;
    for (loss, &label_logit) in losses.iter_mut().zip(&*label_logits) {
        *loss -= label_logit;
        sum += loss.to_f64();
    }
    let loss = sum / images as f64;

    for (j, &label) in labels.iter().enumerate() {
        logits.row_mut(usize::from(label))[j] -= label_share;
    }
    let share = T::from_f64(1.0 / images as f64);
    for i in 0..classes {
        for g in logits.row_mut(i) {
            *g *= share;
        }
    }
    if loss.is_finite() { Ok(loss) } else { Err(Error::NonFiniteLoss { loss }) }
}
