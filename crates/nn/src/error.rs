use klayer_linalg::text::printable;

use crate::Architecture;

/// What can go wrong in this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network without inputs, without classes, or with a layer of no units.
    #[error("a network of widths {widths:?} cannot be built: every layer needs at least one unit")]
    Width {
        /// Inputs, hidden widths and classes.
        widths: Vec<usize>,
    },
    /// More weights than any memory is likely to hold.
    #[error("a network of widths {widths:?} is too large: it can have no more than {most} weights")]
    TooLarge {
        /// Inputs, hidden widths and classes.
        widths: Vec<usize>,
        /// How many weights there can be.
        most: usize,
    },
    /// More classes than a label can name.
    #[error("{classes} classes are more than the {most} that a label of one byte can name")]
    Classes {
        /// How many were asked for.
        classes: usize,
        /// How many there can be.
        most: usize,
    },
    /// A number that must be positive and finite.
    #[error("{name} is {value}, but must be a positive number that f32 can hold")]
    NotPositive {
        /// What it is.
        name: &'static str,
        /// What it was.
        value: f64,
    },
    /// A matrix whose shape does not fit.
    #[error("{what} is {found_rows} x {found_cols}, but {expected_rows} x {expected_cols} is needed")]
    Shape {
        /// Which matrix.
        what: &'static str,
        /// Rows that it has.
        found_rows: usize,
        /// Columns that it has.
        found_cols: usize,
        /// Rows that it should have.
        expected_rows: usize,
        /// Columns that it should have.
        expected_cols: usize,
    },
    /// A workspace or gradients that were made for another architecture.
    #[error("{what}, made for a network of {found}, cannot serve one of {expected}")]
    OtherNetwork {
        /// Workspace or gradients.
        what: &'static str,
        /// What they were made for.
        found: Architecture,
        /// What the network is.
        expected: Architecture,
    },
    /// Batch norm over fewer than two images: the variance would be zero and every output the same.
    #[error("batch norm needs at least two images a mini-batch, and got {images}")]
    BatchTooSmall {
        /// Images in the mini-batch.
        images: usize,
    },
    /// Not as many labels as images.
    #[error("{labels} labels for {images} images")]
    LabelCount {
        /// How many labels.
        labels: usize,
        /// How many images.
        images: usize,
    },
    /// A label beyond the classes.
    #[error("label {label} of image {image} is beyond the {classes} classes")]
    Label {
        /// Position in the mini-batch.
        image: usize,
        /// The label.
        label: u8,
        /// How many classes there are.
        classes: usize,
    },
    /// A cross-entropy that is infinite or not a number: the training has diverged.
    #[error("the loss is {loss}: a weight or an activation has grown beyond all bounds")]
    NonFiniteLoss {
        /// The loss.
        loss: f64,
    },
    /// A backward pass without a loss to start from.
    #[error("a backward pass needs forward_train and cross_entropy before it")]
    NoLoss,
    /// A gradient check that was broken off by whoever asked for it.
    #[error("the gradient check was stopped before its end")]
    Stopped,
    /// A file as another version of klayer writes it, or of the other kind of numbers: it is not damaged.
    #[error("a klayer {what} that cannot be read here: {reason}")]
    Layout {
        /// What it is.
        what: &'static str,
        /// In what it is another one.
        reason: String,
    },
    /// Bytes that are not the file that they should be.
    #[error("not a klayer {what}: {}, at byte {offset}", printable(reason))]
    Format {
        /// What they should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
        /// Where.
        offset: usize,
    },
}
