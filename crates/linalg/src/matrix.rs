//! Owned matrices whose columns, or whose rows, lie together in memory.
//!
//! The layout is in the type because the algorithms depend on it: an image is a contiguous column of a
//! [`ColMajor`]; a unit's weights, and a unit's values over a batch, are contiguous rows of a [`RowMajor`].

use crate::kernels::Rows;
use crate::{MatMut, MatRef, Par, Scalar};

/// Bytes of a page of addresses that share a set of the first-level cache.
const CACHE_PAGE: usize = 4096;
/// Bytes of a cache line: where vectors begin that never straddle two lines.
pub(crate) const CACHE_LINE: usize = 64;

/// A matrix whose columns are contiguous: a mini-batch, one column per image.
#[derive(Clone, Debug)]
pub struct ColMajor<T> {
    lines: Lines<T>,
}

/// A [`ColMajor`], to be read.
#[derive(Debug)]
pub struct Columns<'a, T> {
    memory: &'a [T],
    rows: usize,
    count: usize,
    stride: usize,
}

impl<T> Clone for Columns<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Columns<'_, T> {}

/// A matrix whose rows are contiguous: weights (a row per unit) or activations (a row per unit, over the batch).
#[derive(Clone, Debug)]
pub struct RowMajor<T> {
    lines: Lines<T>,
}

/// `count` lines of `length` numbers, `stride` apart, the first and with it all others at the start of a cache line.
#[derive(Debug)]
struct Lines<T> {
    /// The lines, after as many unused numbers as it takes to align them.
    memory: Vec<T>,
    start: usize,
    count: usize,
    length: usize,
    stride: usize,
}

impl<T: Scalar> Lines<T> {
    /// Zeros.
    ///
    /// Lines whose distance would be a multiple of a page are spaced one cache line further apart: at the same
    /// offset they would otherwise all compete for the same few lines of the first-level cache.
    fn zeros(count: usize, length: usize) -> Self {
        let alignment = CACHE_LINE / size_of::<T>();
        let mut stride = length.next_multiple_of(alignment);
        if stride > 0 && (stride * size_of::<T>()).is_multiple_of(CACHE_PAGE) {
            stride += alignment;
        }
        let memory = vec![T::from_f64(0.0); count * stride + alignment];
        Self { start: aligned_start(&memory), memory, count, length, stride }
    }

    fn line(&self, i: usize) -> &[T] {
        assert!(i < self.count, "line {i} of {}", self.count);
        &self.all()[i * self.stride..][..self.length]
    }

    fn line_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.count, "line {i} of {}", self.count);
        let (stride, length) = (self.stride, self.length);
        &mut self.all_mut()[i * stride..][..length]
    }

    /// All lines with what lies between them.
    fn all(&self) -> &[T] {
        &self.memory[self.start..][..self.count * self.stride]
    }

    fn all_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..][..self.count * self.stride]
    }

    /// As the columns of a matrix.
    fn as_ref(&self) -> MatRef<'_, T> {
        MatRef::from_column_major_slice_with_stride(self.all(), self.length, self.count, self.stride)
    }

    fn as_mut(&mut self) -> MatMut<'_, T> {
        let (count, length, stride) = (self.count, self.length, self.stride);
        MatMut::from_column_major_slice_with_stride_mut(self.all_mut(), length, count, stride)
    }
}

impl<T: Clone> Clone for Lines<T> {
    /// The copy lies elsewhere and so may need another start to be aligned.
    fn clone(&self) -> Self {
        let mut memory = self.memory.clone();
        let start = aligned_start(&memory);
        memory.rotate_left(self.start);
        memory.rotate_right(start);
        Self { memory, start, ..*self }
    }
}

/// Numbers to leave out so that the next one begins a cache line.
fn aligned_start<T>(memory: &[T]) -> usize {
    let alignment = CACHE_LINE / size_of::<T>();
    let past_line = memory.as_ptr().addr() % CACHE_LINE / size_of::<T>();
    (alignment - past_line) % alignment
}

impl<T: Scalar> ColMajor<T> {
    /// A `rows x cols` matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { lines: Lines::zeros(cols, rows) }
    }

    /// Rows of the matrix.
    pub fn nrows(&self) -> usize {
        self.lines.length
    }

    /// Columns of the matrix.
    pub fn ncols(&self) -> usize {
        self.lines.count
    }

    /// Column `j`, contiguous.
    ///
    /// # Panics
    /// If `j` is not a column.
    pub fn col(&self, j: usize) -> &[T] {
        self.lines.line(j)
    }

    /// Column `j`, to be written.
    ///
    /// # Panics
    /// If `j` is not a column.
    pub fn col_mut(&mut self, j: usize) -> &mut [T] {
        self.lines.line_mut(j)
    }

    /// The whole matrix, to be read.
    pub fn as_ref(&self) -> Columns<'_, T> {
        let Lines { length, count, stride, .. } = self.lines;
        Columns { memory: self.lines.all(), rows: length, count, stride }
    }

    /// The whole matrix, to be written.
    pub fn as_mut(&mut self) -> MatMut<'_, T> {
        self.lines.as_mut()
    }
}

impl<'a, T: Scalar> Columns<'a, T> {
    /// Rows of the matrix.
    pub fn nrows(self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub fn ncols(self) -> usize {
        self.count
    }

    /// Column `j`, contiguous.
    ///
    /// # Panics
    /// If `j` is not a column.
    pub fn col(self, j: usize) -> &'a [T] {
        assert!(j < self.count, "column {j} of {}", self.count);
        &self.memory[j * self.stride..][..self.rows]
    }

    /// As a matrix.
    pub fn as_mat(self) -> MatRef<'a, T> {
        let memory = &self.memory[..self.count * self.stride];
        MatRef::from_column_major_slice_with_stride(memory, self.rows, self.count, self.stride)
    }

    /// The transpose, whose rows are contiguous.
    pub(crate) fn view(self) -> Rows<'a, T> {
        Rows::new(self.memory, self.stride, self.count, self.rows)
    }
}

impl<T: Scalar> RowMajor<T> {
    /// A `rows x cols` matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { lines: Lines::zeros(rows, cols) }
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
        self.lines.count
    }

    /// Columns of the matrix.
    pub fn ncols(&self) -> usize {
        self.lines.length
    }

    /// Row `i`, contiguous.
    ///
    /// # Panics
    /// If `i` is not a row.
    pub fn row(&self, i: usize) -> &[T] {
        self.lines.line(i)
    }

    /// Row `i`, to be written.
    ///
    /// # Panics
    /// If `i` is not a row.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        self.lines.line_mut(i)
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

    /// Runs `work` on every row and its index, in any order.
    pub fn for_rows(&mut self, par: &Par, work: &(impl Fn(usize, &mut [T]) + Sync)) {
        let cols = self.ncols();
        let (lines, stride) = self.strided_mut();
        par.for_lines(lines, stride, 1, &|first, lines| {
            for (i, row) in lines.chunks_exact_mut(stride.max(1)).enumerate() {
                work(first + i, &mut row[..cols]);
            }
        });
    }

    /// All rows, as the kernels see them.
    pub(crate) fn view(&self) -> Rows<'_, T> {
        let Lines { length, count, stride, .. } = self.lines;
        Rows::new(self.lines.all(), stride, count, length)
    }

    /// The memory of all rows, to be written, and the distance from one to the next in it.
    pub(crate) fn strided_mut(&mut self) -> (&mut [T], usize) {
        let stride = self.lines.stride;
        (self.lines.all_mut(), stride)
    }

    /// The whole matrix, to be read.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        self.lines.as_ref().transpose()
    }

    /// The whole matrix, to be written.
    pub fn as_mut(&mut self) -> MatMut<'_, T> {
        self.lines.as_mut().transpose_mut()
    }
}
