//! The kinds of parameters, and their values.

use std::slice;

use klayer_linalg::{RowMajor, Scalar};

/// A kind of parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// W
    Weight,
    /// b
    Bias,
    /// gamma
    Gamma,
    /// beta
    Beta,
}

/// The parameters of one kind in one layer, or something in their shape, such as their gradients.
#[derive(Debug)]
pub struct Part<V> {
    /// The layer, counted from 0.
    pub layer: usize,
    /// The kind.
    pub kind: Parameter,
    /// The values: a [`Tensor`] or a [`TensorMut`].
    pub values: V,
}

/// Values that are read.
#[derive(Debug, Clone, Copy)]
pub enum Tensor<'a, T> {
    /// One row per unit.
    Matrix(&'a RowMajor<T>),
    /// One number per unit.
    Vector(&'a [T]),
}

/// Values that are changed.
#[derive(Debug)]
pub enum TensorMut<'a, T> {
    /// One row per unit.
    Matrix(&'a mut RowMajor<T>),
    /// One number per unit.
    Vector(&'a mut [T]),
}

impl Parameter {
    /// All kinds, in the order in which the iterators visit those of a layer.
    pub const ALL: [Self; 4] = [Self::Weight, Self::Bias, Self::Gamma, Self::Beta];

    /// The symbol of the parameter: "W", "b", "gamma" or "beta".
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Weight => "W",
            Self::Bias => "b",
            Self::Gamma => "gamma",
            Self::Beta => "beta",
        }
    }
}

impl<'a, T: Scalar> Tensor<'a, T> {
    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.nrows() * matrix.ncols(),
            Self::Vector(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Number of units.
    pub fn units(self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.nrows(),
            Self::Vector(values) => values.len(),
        }
    }

    /// The values of unit `i`: a row of a matrix, or one number.
    ///
    /// # Panics
    /// If `i` is out of bounds.
    pub fn unit(self, i: usize) -> &'a [T] {
        match self {
            Self::Matrix(matrix) => matrix.row(i),
            Self::Vector(values) => slice::from_ref(&values[i]),
        }
    }

    /// The values as slices, in order: the rows of a matrix, or the whole vector.
    pub fn rows(self) -> impl Iterator<Item = &'a [T]> {
        let (matrix, vector) = match self {
            Self::Matrix(matrix) => (Some(matrix), None),
            Self::Vector(values) => (None, Some(values)),
        };
        matrix.into_iter().flat_map(RowMajor::rows).chain(vector)
    }

    /// All values, unit by unit.
    pub fn iter(self) -> impl Iterator<Item = &'a T> {
        self.rows().flatten()
    }
}

impl<'a, T: Scalar> TensorMut<'a, T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values, read-only.
    pub fn as_ref(&self) -> Tensor<'_, T> {
        match self {
            Self::Matrix(matrix) => Tensor::Matrix(matrix),
            Self::Vector(values) => Tensor::Vector(values),
        }
    }

    /// The values of unit `i`: a row of a matrix, or one number.
    ///
    /// # Panics
    /// If `i` is out of bounds.
    pub fn unit_mut(&mut self, i: usize) -> &mut [T] {
        match self {
            Self::Matrix(matrix) => matrix.row_mut(i),
            Self::Vector(values) => slice::from_mut(&mut values[i]),
        }
    }

    /// [`TensorMut::unit_mut`] with the lifetime of the parameters.
    pub(crate) fn into_unit_mut(self, i: usize) -> &'a mut [T] {
        match self {
            Self::Matrix(matrix) => matrix.row_mut(i),
            Self::Vector(values) => slice::from_mut(&mut values[i]),
        }
    }

    /// Copies all values, unit by unit.
    ///
    /// # Panics
    /// If the number of values is wrong.
    pub fn copy_from_slice(&mut self, values: &[T]) {
        assert_eq!(values.len(), self.len(), "the numbers of values differ");
        match self {
            Self::Vector(vector) => vector.copy_from_slice(values),
            Self::Matrix(matrix) => {
                let columns = matrix.ncols();
                for (i, row) in values.chunks_exact(columns.max(1)).enumerate() {
                    matrix.row_mut(i).copy_from_slice(row);
                }
            }
        }
    }
}
