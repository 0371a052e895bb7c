//! Owned matrices whose columns, or whose rows, lie together in memory.
//!
//! The layout is in the type because the algorithms depend on it: an image is a contiguous column of a
//! [`ColMajor`]; a unit's weights, and a unit's values over a batch, are contiguous rows of a [`RowMajor`].

use crate::{Mat, MatMut, MatRef, Scalar};

/// Bytes of a page of addresses that share a set of the first-level cache.
const CACHE_PAGE: usize = 4096;
/// Bytes by which neighbours are moved apart when their distance is a whole number of such pages.
const CACHE_LINE: usize = 64;

/// A matrix whose columns are contiguous: a mini-batch, one column per image.
#[derive(Clone, Debug)]
pub struct ColMajor<T> {
    mat: Mat<T>,
}

/// A matrix whose rows are contiguous: weights (a row per unit) or activations (a row per unit, over the batch).
#[derive(Clone, Debug)]
pub struct RowMajor<T> {
    transposed: ColMajor<T>,
}

impl<T: Scalar> ColMajor<T> {
    /// A `rows x cols` matrix of zeros.
    ///
    /// Columns whose distance in memory would be a multiple of a page are spaced a little further apart: at the
    /// same offset they would otherwise all compete for the same few lines of the first-level cache.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        let bytes = rows * size_of::<T>();
        let padding = if rows > 0 && bytes.is_multiple_of(CACHE_PAGE) { CACHE_LINE / size_of::<T>() } else { 0 };
        let mut mat = Mat::with_capacity(rows + padding, cols);
        mat.resize_with(rows, cols, |_, _| T::from_f64(0.0));
        Self { mat }
    }

    /// Rows of the matrix.
    pub fn nrows(&self) -> usize {
        self.mat.nrows()
    }

    /// Columns of the matrix.
    pub fn ncols(&self) -> usize {
        self.mat.ncols()
    }

    /// Column `j`, contiguous.
    ///
    /// # Panics
    /// If `j` is not a column.
    pub fn col(&self, j: usize) -> &[T] {
        self.mat.col_as_slice(j)
    }

    /// Column `j`, to be written.
    ///
    /// # Panics
    /// If `j` is not a column.
    pub fn col_mut(&mut self, j: usize) -> &mut [T] {
        self.mat.col_as_slice_mut(j)
    }

    /// The whole matrix, to be read.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        self.mat.as_ref()
    }

    /// The whole matrix, to be written.
    pub fn as_mut(&mut self) -> MatMut<'_, T> {
        self.mat.as_mut()
    }
}

impl<T: Scalar> RowMajor<T> {
    /// A `rows x cols` matrix of zeros, its rows spaced as the columns of [`ColMajor::zeros`].
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { transposed: ColMajor::zeros(cols, rows) }
    }

    /// The `rows x cols` matrix whose rows are the chunks of `values`.
    ///
    /// # Panics
    /// If `values` does not hold `rows * cols` numbers.
    pub fn from_rows(rows: usize, cols: usize, values: &[T]) -> Self {
        assert_eq!(values.len(), rows * cols, "{rows} x {cols} values are needed");
        let mut matrix = Self::zeros(rows, cols);
        for (i, row) in values.chunks_exact(cols.max(1)).enumerate() {
            matrix.row_mut(i).copy_from_slice(row);
        }
        matrix
    }

    /// Rows of the matrix.
    pub fn nrows(&self) -> usize {
        self.transposed.ncols()
    }

    /// Columns of the matrix.
    pub fn ncols(&self) -> usize {
        self.transposed.nrows()
    }

    /// Row `i`, contiguous.
    ///
    /// # Panics
    /// If `i` is not a row.
    pub fn row(&self, i: usize) -> &[T] {
        self.transposed.col(i)
    }

    /// Row `i`, to be written.
    ///
    /// # Panics
    /// If `i` is not a row.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        self.transposed.col_mut(i)
    }

    /// Copies all values of `other`.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn copy_from(&mut self, other: &Self) {
        assert_eq!(self.nrows(), other.nrows(), "as many rows");
        for i in 0..self.nrows() {
            self.row_mut(i).copy_from_slice(other.row(i));
        }
    }

    /// All rows, from the first to the last.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[T]> {
        (0..self.nrows()).map(|i| self.row(i))
    }

    /// The whole matrix, to be read.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        self.transposed.as_ref().transpose()
    }

    /// The whole matrix, to be written.
    pub fn as_mut(&mut self) -> MatMut<'_, T> {
        self.transposed.as_mut().transpose_mut()
    }
}
