//! The one place that lists the parameters of a layer. Everything that walks through all parameters (updates, penalty,
//! gradient check, files) uses the iterators [`Network::parameters`] and [`Gradients::parameters`].

use std::slice;

use klayer_linalg::{RowMajor, Scalar};

use crate::{Gradients, Layer, LayerGradients, Network};

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

/// Lists the parameters of a layer, or their gradients.
macro_rules! list {
    ($layer:ident) => {
        impl<T: Scalar> $layer<T> {
            /// All kinds of parameters that the layer has, in the order of [`Parameter::ALL`].
            pub fn parameters(&self) -> impl Iterator<Item = (Parameter, Tensor<'_, T>)> {
                let Self { affine, batch_norm } = self;
                let affine = [
                    (Parameter::Weight, Tensor::Matrix(&affine.weight)),
                    (Parameter::Bias, Tensor::Vector(&affine.bias)),
                ];
                let batch_norm = batch_norm.as_ref().map(|norm| {
                    [(Parameter::Gamma, Tensor::Vector(&norm.gamma)), (Parameter::Beta, Tensor::Vector(&norm.beta))]
                });
                affine.into_iter().chain(batch_norm.into_iter().flatten())
            }

            /// All kinds of parameters, mutable.
            pub fn parameters_mut(&mut self) -> impl Iterator<Item = (Parameter, TensorMut<'_, T>)> {
                let Self { affine, batch_norm } = self;
                let affine = [
                    (Parameter::Weight, TensorMut::Matrix(&mut affine.weight)),
                    (Parameter::Bias, TensorMut::Vector(&mut affine.bias)),
                ];
                let batch_norm = batch_norm.as_mut().map(|norm| {
                    [
                        (Parameter::Gamma, TensorMut::Vector(&mut norm.gamma)),
                        (Parameter::Beta, TensorMut::Vector(&mut norm.beta)),
                    ]
                });
                affine.into_iter().chain(batch_norm.into_iter().flatten())
            }
        }
    };
}

list!(Layer);
list!(LayerGradients);

impl<T: Scalar> Network<T> {
    /// All parameters, layer by layer.
    ///
    /// ```
    /// use klayer_linalg::random::stream;
    /// use klayer_nn::{Architecture, Init, Network};
    ///
    /// let architecture = Architecture::new(4, &[8], 3, true)?;
    /// let network = Network::<f32>::new(&architecture, Init::He, &mut stream(42, "init"))?;
    /// let parts = network.parameters().map(|part| (part.layer, part.kind.symbol(), part.values.len()));
    /// let parts: Vec<_> = parts.collect();
    /// assert_eq!(parts, [(0, "W", 32), (0, "b", 8), (0, "gamma", 8), (0, "beta", 8), (1, "W", 24), (1, "b", 3)]);
    /// # Ok::<(), klayer_nn::Error>(())
    /// ```
    pub fn parameters(&self) -> impl Iterator<Item = Part<Tensor<'_, T>>> {
        parts(self.layers().iter().map(Layer::parameters))
    }

    /// All parameters, mutable.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = Part<TensorMut<'_, T>>> {
        parts(self.layers_mut().iter_mut().map(Layer::parameters_mut))
    }
}

impl<T: Scalar> Gradients<T> {
    /// The gradients of all parameters, in the order of [`Network::parameters`].
    pub fn parameters(&self) -> impl Iterator<Item = Part<Tensor<'_, T>>> {
        parts(self.layers.iter().map(LayerGradients::parameters))
    }

    /// The gradients of all parameters, mutable.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = Part<TensorMut<'_, T>>> {
        parts(self.layers.iter_mut().map(LayerGradients::parameters_mut))
    }
}

/// Adds the index of the layer.
fn parts<V>(layers: impl Iterator<Item = impl Iterator<Item = (Parameter, V)>>) -> impl Iterator<Item = Part<V>> {
    let numbered = |(layer, parts)| Iterator::map(parts, move |(kind, values)| Part { layer, kind, values });
    layers.enumerate().flat_map(numbered)
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
