use klayer_linalg::text::printable;

/// What can go wrong in this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes that are no safetensors file.
    #[error("not a safetensors file: {}", printable(reason))]
    Format {
        /// What is wrong.
        reason: String,
    },
    /// A safetensors file of something else.
    #[error("not exported by klayer: the file's metadata has no entry \"klayer\"")]
    Foreign,
    /// A layout that another version of klayer has written.
    #[error("the file's layout is of version {found}, and only {known} is known")]
    Version {
        /// The file's version.
        found: u64,
        /// The version that can be read.
        known: u64,
    },
    /// Metadata that cannot be read, or that a file could not carry.
    #[error("the metadata \"klayer\" of the file: {}", printable(reason))]
    Metadata {
        /// What is wrong.
        reason: String,
    },
    /// A tensor that is not there.
    #[error("the tensor {name} ({}) is missing", extents(expected))]
    Missing {
        /// Its name.
        name: String,
        /// The shape that it should have.
        expected: Vec<usize>,
    },
    /// A tensor that the network has no place for.
    #[error("there is a tensor {} that the network has no place for", printable(name))]
    Unexpected {
        /// Its name.
        name: String,
    },
    /// A tensor of another shape.
    #[error("the tensor {name} is {}, but {} is needed", extents(found), extents(expected))]
    Shape {
        /// Its name.
        name: String,
        /// The shape that it has.
        found: Vec<usize>,
        /// The shape that it should have.
        expected: Vec<usize>,
    },
    /// A tensor of another kind of number.
    #[error("the tensor {name} ({}) holds {found} numbers, but {expected} are needed", extents(shape))]
    Type {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The numbers that it holds, in the format's own terms.
        found: String,
        /// The numbers that it should hold.
        expected: &'static str,
    },
    /// A number that no trained network has.
    #[error("the tensor {name} ({}) holds {value} at position {position}, but {needed} is needed", extents(shape))]
    Value {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Which number, counted row by row from 0.
        position: usize,
        /// The number.
        value: f64,
        /// What it should be.
        needed: &'static str,
    },
    /// Not as many names as classes.
    #[error("{named} classes are named, but the network has {classes}")]
    Classes {
        /// How many names there are.
        named: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// Batch norm that has seen no mini-batch.
    #[error("{name} has no running statistics: the network has not been trained")]
    Untrained {
        /// Which batch norm.
        name: String,
    },
}

/// A shape for people.
fn extents(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "a single number".to_owned();
    }
    printable(shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x "))
}
