use klayer_linalg::text::printable;

use crate::{Activation, Architecture};

/// The errors of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network without inputs, without classes, or with a layer of no units.
    #[error("invalid widths {widths:?}: every layer needs at least one unit")]
    Width {
        /// Inputs, hidden widths and classes.
        widths: Vec<usize>,
    },
    /// Too many parameters.
    #[error("a network with widths {widths:?} is too large: at most {most} parameters are supported")]
    TooLarge {
        /// Inputs, hidden widths and classes.
        widths: Vec<usize>,
        /// The largest supported number of parameters.
        most: usize,
    },
    /// More classes than a label can represent.
    #[error("{classes} classes requested, but one-byte labels support at most {most}")]
    Classes {
        /// The number of classes requested.
        classes: usize,
        /// The largest supported number of classes.
        most: usize,
    },
    /// An unknown activation.
    #[error("unknown activation {}, expected one of {}", printable(name), Activation::names())]
    Activation {
        /// The name.
        name: String,
    },
    /// More activations than hidden layers.
    #[error("{activations} activations for {hidden} hidden layers: expected one, or one for each layer")]
    Activations {
        /// The number of activations.
        activations: usize,
        /// The number of hidden layers.
        hidden: usize,
    },
    /// A layer whose units cannot be divided into the groups that its activation needs.
    #[error("hidden layer {} has {units} units, but {activation} needs a multiple of {group}", layer + 1)]
    Units {
        /// The hidden layer, counted from 0.
        layer: usize,
        /// Its number of units.
        units: usize,
        /// Its activation.
        activation: Activation,
        /// The number of units that make one output.
        group: usize,
    },
    /// A number that must be at least 0 and less than 1.
    #[error("{name} is {value}, but must be at least 0 and less than 1")]
    Fraction {
        /// The name of the number.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A number that must be positive and finite.
    #[error("{name} is {value}, but must be a positive, finite f32")]
    NotPositive {
        /// The name of the number.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A matrix of the wrong shape.
    #[error("{what} has shape {found_rows} x {found_cols}, expected {expected_rows} x {expected_cols}")]
    Shape {
        /// Which matrix.
        what: &'static str,
        /// Its number of rows.
        found_rows: usize,
        /// Its number of columns.
        found_cols: usize,
        /// The expected number of rows.
        expected_rows: usize,
        /// The expected number of columns.
        expected_cols: usize,
    },
    /// A workspace or gradients created for another architecture.
    #[error("{what}, created for the network {found}, cannot be used with the network {expected}")]
    OtherNetwork {
        /// The workspace or the gradients.
        what: &'static str,
        /// The architecture that they were created for.
        found: Box<Architecture>,
        /// The architecture of the network.
        expected: Box<Architecture>,
    },
    /// Batch norm over fewer than two images: the variance would be 0, and every output the same.
    #[error("batch norm needs at least two images per mini-batch, got {images}")]
    BatchTooSmall {
        /// The number of images in the mini-batch.
        images: usize,
    },
    /// The numbers of labels and images differ.
    #[error("{labels} labels for {images} images")]
    LabelCount {
        /// The number of labels.
        labels: usize,
        /// The number of images.
        images: usize,
    },
    /// A label that is not less than the number of classes.
    #[error("label {label} of image {image} is out of range for {classes} classes")]
    Label {
        /// The position of the image in the mini-batch.
        image: usize,
        /// The label.
        label: u8,
        /// The number of classes.
        classes: usize,
    },
    /// An infinite or NaN cross-entropy: the training has diverged.
    #[error("the loss is {loss}: weights or activations have overflowed")]
    NonFiniteLoss {
        /// The loss.
        loss: f64,
    },
    /// A backward pass without a loss to start from.
    #[error("call forward_train and cross_entropy before a backward pass")]
    NoLoss,
    /// A gradient check stopped by its progress callback.
    #[error("the gradient check was stopped")]
    Stopped,
    /// An undamaged file in the layout of another version of klayer, or with another number type.
    #[error("cannot read this klayer {what}: {reason}")]
    Layout {
        /// The kind of file.
        what: &'static str,
        /// The difference.
        reason: String,
    },
    /// A file of another format, or a damaged one.
    #[error("not a klayer {what}: {}, at byte {offset}", printable(reason))]
    Format {
        /// The expected kind of file.
        what: &'static str,
        /// The reason.
        reason: String,
        /// The position of the error, in bytes.
        offset: usize,
    },
}
