//! Owned column-major and row-major matrices.
//!
//! The layout is part of the type because the algorithms depend on it: an image is a contiguous column of a
//! [`ColMajor`]; the weights of a unit, and its values over a batch, are contiguous rows of a [`RowMajor`].

use crate::kernels::Rows;
use crate::{MatMut, MatRef, Par, Scalar};

/// Bytes between addresses that map to the same set of the L1 cache.
const CACHE_PAGE: usize = 4096;
/// Bytes of a cache line. Vectors that begin at a multiple of it never straddle two lines.
pub(crate) const CACHE_LINE: usize = 64;

/// A matrix with contiguous columns: a mini-batch, one column per image.
#[derive(Clone, Debug)]
pub struct ColMajor<T> {
    lines: Lines<T>,
}

/// A read-only view of a [`ColMajor`].
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

/// A matrix with contiguous rows: weights (one row per unit) or activations (one row per unit, over the batch).
#[derive(Clone, Debug)]
pub struct RowMajor<T> {
    lines: Lines<T>,
}

/// `count` lines of `length` numbers, `stride` apart. Each line starts at the start of a cache line.
#[derive(Debug)]
struct Lines<T> {
    /// The lines, after `start` unused numbers that align them.
    memory: Vec<T>,
    start: usize,
    count: usize,
    length: usize,
    stride: usize,
}

impl<T: Scalar> Lines<T> {
    /// Lines of zeros.
    ///
    /// If the stride would be a multiple of [`CACHE_PAGE`], it is one cache line longer: otherwise equal offsets in all
    /// lines would compete for the same set of the L1 cache.
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
        assert!(i < self.count, "index {i} is out of bounds for {} lines", self.count);
        &self.all()[i * self.stride..][..self.length]
    }

    fn line_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.count, "index {i} is out of bounds for {} lines", self.count);
        let (stride, length) = (self.stride, self.length);
        &mut self.all_mut()[i * stride..][..length]
    }

    /// All lines, including the padding between them.
    fn all(&self) -> &[T] {
        &self.memory[self.start..][..self.count * self.stride]
    }

    fn all_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..][..self.count * self.stride]
    }

    /// The lines as columns of a matrix.
    fn as_ref(&self) -> MatRef<'_, T> {
        MatRef::from_column_major_slice_with_stride(self.all(), self.length, self.count, self.stride)
    }

    fn as_mut(&mut self) -> MatMut<'_, T> {
        let (count, length, stride) = (self.count, self.length, self.stride);
        MatMut::from_column_major_slice_with_stride_mut(self.all_mut(), length, count, stride)
    }
}

impl<T: Clone> Clone for Lines<T> {
    /// Copies the lines and aligns them again, because the copy has another address.
    fn clone(&self) -> Self {
        let mut memory = self.memory.clone();
        let start = aligned_start(&memory);
        memory.rotate_left(self.start);
        memory.rotate_right(start);
        Self { memory, start, ..*self }
    }
}

/// Number of elements before the first that begins a cache line.
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

    /// Number of rows.
    pub fn nrows(&self) -> usize {
        self.lines.length
    }

    /// Number of columns.
    pub fn ncols(&self) -> usize {
        self.lines.count
    }

    /// Column `j`, as a contiguous slice.
    ///
    /// # Panics
    /// If `j` is out of bounds.
    pub fn col(&self, j: usize) -> &[T] {
        self.lines.line(j)
    }

    /// Column `j`, as a mutable slice.
    ///
    /// # Panics
    /// If `j` is out of bounds.
    pub fn col_mut(&mut self, j: usize) -> &mut [T] {
        self.lines.line_mut(j)
    }

    /// Calls `work` with the index of each of the first `count` columns, the column, and an element of `own`, in any
    /// order. An element of `own` is memory that one thread has to itself.
    ///
    /// # Panics
    /// If there are fewer columns than `count`, or fewer elements than threads.
    pub fn for_columns<O: Send>(
        &mut self,
        count: usize,
        own: &mut [O],
        par: &Par,
        work: &(impl Fn(usize, &mut [T], &mut O) + Sync),
    ) {
        let (rows, stride) = (self.nrows(), self.lines.stride);
        let lines = &mut self.lines.all_mut()[..count * stride];
        par.for_lines_with(lines, stride, 1, own, &|first, lines, own| {
            for (j, column) in lines.chunks_exact_mut(stride.max(1)).enumerate() {
                work(first + j, &mut column[..rows], own);
            }
        });
    }

    /// A read-only view of the matrix.
    pub fn as_ref(&self) -> Columns<'_, T> {
        let Lines { length, count, stride, .. } = self.lines;
        Columns { memory: self.lines.all(), rows: length, count, stride }
    }

    /// A mutable view of the matrix.
    pub fn as_mut(&mut self) -> MatMut<'_, T> {
        self.lines.as_mut()
    }
}

impl<'a, T: Scalar> Columns<'a, T> {
    /// Number of rows.
    pub fn nrows(self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn ncols(self) -> usize {
        self.count
    }

    /// The first `count` columns.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn first(self, count: usize) -> Self {
        assert!(count <= self.count, "{count} of {} columns", self.count);
        Self { count, ..self }
    }

    /// Column `j`, as a contiguous slice.
    ///
    /// # Panics
    /// If `j` is out of bounds.
    pub fn col(self, j: usize) -> &'a [T] {
        assert!(j < self.count, "index {j} is out of bounds for {} columns", self.count);
        &self.memory[j * self.stride..][..self.rows]
    }

    /// The view as a faer matrix.
    pub fn as_mat(self) -> MatRef<'a, T> {
        let memory = &self.memory[..self.count * self.stride];
        MatRef::from_column_major_slice_with_stride(memory, self.rows, self.count, self.stride)
    }

    /// The transpose, which has contiguous rows.
    pub(crate) fn view(self) -> Rows<'a, T> {
        Rows::new(self.memory, self.stride, self.count, self.rows)
    }
}

impl<T: Scalar> RowMajor<T> {
    /// A `rows x cols` matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { lines: Lines::zeros(rows, cols) }
    }

    /// Creates a `rows x cols` matrix from its `values`, row by row.
    ///
    /// # Panics
    /// If the length of `values` is not `rows * cols`.
    pub fn from_rows(rows: usize, cols: usize, values: &[T]) -> Self {
        assert_eq!(values.len(), rows * cols, "expected {rows} x {cols} values");
        let mut matrix = Self::zeros(rows, cols);
        for (i, row) in values.chunks_exact(cols.max(1)).enumerate() {
            matrix.row_mut(i).copy_from_slice(row);
        }
        matrix
    }

    /// Number of rows.
    pub fn nrows(&self) -> usize {
        self.lines.count
    }

    /// Number of columns.
    pub fn ncols(&self) -> usize {
        self.lines.length
    }

    /// Row `i`, as a contiguous slice.
    ///
    /// # Panics
    /// If `i` is out of bounds.
    pub fn row(&self, i: usize) -> &[T] {
        self.lines.line(i)
    }

    /// Row `i`, as a mutable slice.
    ///
    /// # Panics
    /// If `i` is out of bounds.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        self.lines.line_mut(i)
    }

    /// Copies all values from `other`.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn copy_from(&mut self, other: &Self) {
        assert_eq!(self.nrows(), other.nrows(), "the numbers of rows differ");
        for i in 0..self.nrows() {
            self.row_mut(i).copy_from_slice(other.row(i));
        }
    }

    /// An iterator over the rows, from first to last.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[T]> {
        (0..self.nrows()).map(|i| self.row(i))
    }

    /// Calls `work` with the index of each row and the row, in any order.
    pub fn for_rows(&mut self, par: &Par, work: &(impl Fn(usize, &mut [T]) + Sync)) {
        let cols = self.ncols();
        let (lines, stride) = self.strided_mut();
        par.for_lines(lines, stride, 1, &|first, lines| {
            for (i, row) in lines.chunks_exact_mut(stride.max(1)).enumerate() {
                work(first + i, &mut row[..cols]);
            }
        });
    }

    /// The rows, in the form that the kernels take.
    pub(crate) fn view(&self) -> Rows<'_, T> {
        let Lines { length, count, stride, .. } = self.lines;
        Rows::new(self.lines.all(), stride, count, length)
    }

    /// The memory of all rows, and their stride in it.
    pub(crate) fn strided_mut(&mut self) -> (&mut [T], usize) {
        let stride = self.lines.stride;
        (self.lines.all_mut(), stride)
    }

    /// A read-only view of the matrix.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        self.lines.as_ref().transpose()
    }

    /// A mutable view of the matrix.
    pub fn as_mut(&mut self) -> MatMut<'_, T> {
        self.lines.as_mut().transpose_mut()
    }
}
