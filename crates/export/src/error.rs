use klayer_linalg::text::printable;

/// The errors of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Invalid safetensors data.
    #[error("not a safetensors file: {}", printable(reason))]
    Format {
        /// The reason.
        reason: String,
    },
    /// A safetensors file not written by klayer.
    #[error("not exported by klayer: the metadata has no entry \"klayer\"")]
    Foreign,
    /// A layout written by another version of klayer.
    #[error("layout version {found} is not supported, expected {known}")]
    Version {
        /// The version of the file.
        found: u64,
        /// The supported version.
        known: u64,
    },
    /// Metadata that cannot be decoded or encoded.
    #[error("invalid \"klayer\" metadata: {}", printable(reason))]
    Metadata {
        /// The reason.
        reason: String,
    },
    /// A missing tensor.
    #[error("the tensor {name} ({}) is missing", extents(expected))]
    Missing {
        /// The name of the tensor.
        name: String,
        /// The expected shape.
        expected: Vec<usize>,
    },
    /// A tensor that does not belong to the network.
    #[error("unexpected tensor {}", printable(name))]
    Unexpected {
        /// The name of the tensor.
        name: String,
    },
    /// A tensor of the wrong shape.
    #[error("the tensor {name} has shape {}, expected {}", extents(found), extents(expected))]
    Shape {
        /// The name of the tensor.
        name: String,
        /// The shape of the tensor.
        found: Vec<usize>,
        /// The expected shape.
        expected: Vec<usize>,
    },
    /// A tensor of the wrong number type.
    #[error("the tensor {name} ({}) has type {found}, expected {expected}", extents(shape))]
    Type {
        /// The name of the tensor.
        name: String,
        /// The shape of the tensor.
        shape: Vec<usize>,
        /// The number type of the tensor, in the terms of safetensors.
        found: String,
        /// The expected number type.
        expected: &'static str,
    },
    /// An invalid number, such as NaN or a negative variance.
    #[error("the tensor {name} ({}) has {value} at position {position}, expected {needed}", extents(shape))]
    Value {
        /// The name of the tensor.
        name: String,
        /// The shape of the tensor.
        shape: Vec<usize>,
        /// The position of the number, counted row by row from 0.
        position: usize,
        /// The number.
        value: f64,
        /// The condition that it violates.
        needed: &'static str,
    },
    /// The numbers of class names and classes differ.
    #[error("got {named} class names, but the network has {classes} classes")]
    Classes {
        /// The number of class names.
        named: usize,
        /// The number of classes.
        classes: usize,
    },
    /// Batch norm without running statistics.
    #[error("{name} has no running statistics: the network has not been trained")]
    Untrained {
        /// The name of the batch norm layer.
        name: String,
    },
}

/// Formats a shape.
fn extents(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "a scalar".to_owned();
    }
    printable(shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x "))
}
