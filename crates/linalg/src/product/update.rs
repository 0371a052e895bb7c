//! The weight gradient, a block at a time, applied to the weights by the rule of an optimizer.
//!
//! A rule needs the gradient of a weight and its own state for that weight, such as a momentum. The product of a block
//! goes to a scratch memory that fits in the L2 cache, and from there to the weights and the state: the gradient of a
//! whole layer is never in memory. Blocks and order of summation are those of [`weight_gradient`](super::weight_gradient),
//! so both give the same bits.

use faer::Accum;

use super::{COLUMNS, Inputs, assert_shapes, rows_together, small};
use crate::kernels::{self, Factor, Source, Store};
use crate::matrix::CACHE_LINE;
use crate::par::Strided;
use crate::prefetch::prefetch;
use crate::{MatMut, Par, RowMajor, Scalar, vectorize};

/// Maximum number of units whose weights of images are updated at a time.
const UNITS: usize = 256;
/// Number of rows of a block after the current one that are prefetched. In a wide layer, each is on another page.
const AHEAD: usize = 2;

/// Scratch memory of [`update`]: for each thread, the gradient of the weights that it updates at a time. Allocated once.
#[derive(Debug, Clone)]
pub struct GradientBlocks<T> {
    threads: Vec<RowMajor<T>>,
}

impl<T: Scalar> GradientBlocks<T> {
    /// Allocates memory for the threads of `par` and layers of these numbers of (inputs, units); the inputs of the
    /// first layer are images.
    pub fn new(layers: impl IntoIterator<Item = (usize, usize)>, par: &Par) -> Self {
        let sizes = layers.into_iter().enumerate().map(|(l, (inputs, units))| {
            if l == 0 && kernels::on() {
                units.min(UNITS) * stride::<T>(inputs.min(COLUMNS))
            } else if inputs * units <= super::SMALL {
                units * stride::<T>(inputs)
            } else {
                units.min(rows_together(units)) * stride::<T>(inputs)
            }
        });
        let size = sizes.max().unwrap_or(0);
        Self { threads: (0..par.count()).map(|_| RowMajor::zeros(1, size)).collect() }
    }
}

/// Computes the weight gradient `g x^T` and calls `rule` with parts of rows of `w`, the gradient of these weights and
/// the same part of `state`, once for each weight, in any order.
///
/// Runs on as many threads as `par` and `blocks` both have. `rule` should be inlined.
///
/// # Shapes
/// `w` and `state` m x k, `g` m x n, `x` k x n; `blocks` created for a network with this layer.
///
/// # Panics
/// If the shapes do not agree, or the layer does not fit in `blocks`.
pub fn update<T: Scalar>(
    w: &mut RowMajor<T>,
    state: &mut RowMajor<T>,
    g: &RowMajor<T>,
    x: Inputs<'_, T>,
    blocks: &mut GradientBlocks<T>,
    par: &Par,
    rule: impl Fn(&mut [T], &[T], &mut [T]) + Sync,
) {
    assert_shapes([(w.nrows(), g.nrows()), (w.ncols(), x.nrows()), (g.ncols(), x.ncols())]);
    assert_shapes([(w.nrows(), state.nrows()), (w.ncols(), state.ncols()), (0, 0)]);
    let scratch = &mut blocks.threads;
    let threads = par.count().min(scratch.len());
    let scratch = &mut scratch[..threads];
    match x {
        Inputs::Images(x) if kernels::on() => {
            par.share(scratch, 0, (w.as_mut(), state.as_mut()), COLUMNS, &|first, (mut w, mut state), scratch| {
                for row in (0..w.nrows()).step_by(UNITS) {
                    let rows = UNITS.min(w.nrows() - row);
                    for start in (0..w.ncols()).step_by(COLUMNS) {
                        let length = COLUMNS.min(w.ncols() - start);
                        let mut product = Block::new(scratch, rows, length);
                        let (g, x) = (g.view().rows(row, rows), x.view().columns(first + start, length));
                        T::combine(product.as_mut(), Factor::Rows(g), x, Store::Replace);
                        let w = w.as_mut().submatrix_mut(row, start, rows, length);
                        apply(w, &product, state.as_mut().submatrix_mut(row, start, rows, length), &rule);
                    }
                }
            });
        }
        Inputs::Hidden(x) if small(w) => {
            let product = Block::new(&mut scratch[0], w.nrows(), w.ncols());
            T::dots(product.memory, product.stride, g.view(), Source::Rows(x.view()), Store::Replace);
            apply(w.as_mut(), &product, state.as_mut(), &rule);
        }
        _ => x.with_mat(par, |x| {
            let (k, together) = (w.ncols(), rows_together(w.nrows()));
            let ((w, stride), (state, _)) = (w.strided_mut(), state.strided_mut());
            let lines = |memory| Strided { memory, stride };
            par.share(scratch, 0, (lines(w), lines(state)), together, &|first, (w, state), scratch| {
                let size = together * stride.max(1);
                for (i, (w, state)) in w.memory.chunks_mut(size).zip(state.memory.chunks_mut(size)).enumerate() {
                    let (first, rows) = (first + i * together, w.len() / stride);
                    let mut product = Block::new(scratch, rows, k);
                    let g = g.as_ref().subrows(first, rows);
                    T::multiply(product.as_mut(), Accum::Replace, g, x.transpose(), T::from_f64(1.0));
                    apply(rows_of(w, stride, rows, k), &product, rows_of(state, stride, rows, k), &rule);
                }
            });
        }),
    }
}

/// Calls `rule` with the rows of `w`, of an already computed gradient `d_w`, and of `state`.
///
/// # Shapes
/// `w`, `d_w` and `state` m x k.
///
/// # Panics
/// If the shapes do not agree.
pub fn update_along<T: Scalar>(
    w: &mut RowMajor<T>,
    state: &mut RowMajor<T>,
    d_w: &RowMajor<T>,
    rule: impl Fn(&mut [T], &[T], &mut [T]) + Sync,
) {
    assert_shapes([(w.nrows(), d_w.nrows()), (w.ncols(), d_w.ncols()), (0, 0)]);
    assert_shapes([(w.nrows(), state.nrows()), (w.ncols(), state.ncols()), (0, 0)]);
    vectorize(
        #[inline(always)]
        || (0..d_w.nrows()).for_each(|i| rule(w.row_mut(i), d_w.row(i), state.row_mut(i))),
    );
}

/// Part of a gradient in scratch memory, with contiguous rows.
struct Block<'a, T> {
    memory: &'a mut [T],
    rows: usize,
    length: usize,
    stride: usize,
}

impl<'a, T: Scalar> Block<'a, T> {
    fn new(scratch: &'a mut RowMajor<T>, rows: usize, length: usize) -> Self {
        let stride = stride::<T>(length);
        Self { memory: &mut scratch.row_mut(0)[..rows * stride], rows, length, stride }
    }

    fn as_mut(&mut self) -> MatMut<'_, T> {
        rows_of(self.memory, self.stride, self.rows, self.length)
    }

    #[inline(always)]
    fn row(&self, i: usize) -> &[T] {
        &self.memory[i * self.stride..][..self.length]
    }
}

/// Number of elements from one row of a block to the next: rows begin at cache lines.
fn stride<T>(length: usize) -> usize {
    length.next_multiple_of(CACHE_LINE / size_of::<T>())
}

fn rows_of<T: Scalar>(memory: &mut [T], stride: usize, rows: usize, length: usize) -> MatMut<'_, T> {
    MatMut::from_column_major_slice_with_stride_mut(memory, length, rows, stride).transpose_mut()
}

fn apply<T: Scalar>(
    mut w: MatMut<'_, T>,
    product: &Block<'_, T>,
    mut state: MatMut<'_, T>,
    rule: &impl Fn(&mut [T], &[T], &mut [T]),
) {
    vectorize(
        #[inline(always)]
        || {
            for i in 0..product.rows {
                for matrix in [w.as_mut(), state.as_mut()] {
                    if i + AHEAD < product.rows {
                        let row = contiguous(matrix, i + AHEAD);
                        (0..row.len()).step_by(CACHE_LINE / size_of::<T>()).for_each(|at| prefetch(row, at));
                    }
                }
                rule(contiguous(w.as_mut(), i), product.row(i), contiguous(state.as_mut(), i));
            }
        },
    );
}

#[inline(always)]
fn contiguous<T>(matrix: MatMut<'_, T>, i: usize) -> &mut [T] {
    matrix.row_mut(i).try_as_row_major_mut().expect("rows are contiguous").as_slice_mut()
}
