//! The weight gradient, a block at a time, applied to the weights by the rule of an optimizer.
//!
//! A rule needs the gradient of a weight and its own state for that weight, such as a momentum. The product of a block
//! stays in the cache, and goes from there to the weights and the state: the gradient of a whole layer is never in
//! memory. The sums are those of [`weight_gradient`](super::weight_gradient), to the bit.

use faer::Accum;

use super::{COLUMNS, Inputs, SMALL, Scratch, assert_shapes, is_wide, rows_together, small, wide};
use crate::kernels::{self, Factor, Memory, Out, Rows, Source, Store};
use crate::matrix::CACHE_LINE;
use crate::par::Strided;
use crate::{MatMut, Par, RowMajor, Scalar, vectorize};

/// Size of the gradient of a hidden layer's weights that a thread updates at a time.
pub(super) fn block_size<T>(units: usize, inputs: usize) -> usize {
    let rows = if inputs * units <= SMALL { units } else { units.min(rows_together(units)) };
    rows * stride::<T>(inputs)
}

/// Computes the weight gradient `g x^T` and calls `rule` with parts of rows of `w`, the gradient of these weights and
/// their part of `state`, once for each weight, in any order.
///
/// `rule` should be inlined.
///
/// # Shapes
/// `w` and `state` m x k, `g` m x n, `x` k x n.
///
/// # Panics
/// If the shapes do not agree.
pub fn update<T: Scalar>(
    w: &mut RowMajor<T>,
    state: &mut RowMajor<T>,
    g: &RowMajor<T>,
    x: Inputs<'_, T>,
    scratch: &mut Scratch<T>,
    par: &Par,
    rule: impl Fn(&mut [T], &[T], &mut [T]) + Copy + Sync,
) {
    assert_shapes([(w.nrows(), g.nrows()), (w.ncols(), x.nrows()), (g.ncols(), x.ncols())]);
    assert_shapes([(w.nrows(), state.nrows()), (w.ncols(), state.ncols()), (0, 0)]);
    let (k, together) = (w.ncols(), rows_together(w.nrows()));
    let count = par.count().min(scratch.threads.len());
    let scratch = &mut scratch.threads[..count];
    match x {
        x if is_wide(w.nrows(), k, x.ncols(), x.are_images()) => {
            let rule = vectorized(rule);
            let out = Out::Update(w.as_mut(), state.as_mut(), &rule);
            wide(out, Factor::Rows(g.view()), x.factor().transpose(), scratch, par);
        }
        Inputs::Images(x) if kernels::on() => {
            par.share(scratch, 0, (w.as_mut(), state.as_mut()), COLUMNS, &|first, (w, state), _| {
                let x = x.view().columns(first, w.ncols());
                T::combine(Out::Update(w, state, &vectorized(rule)), Factor::Rows(g.view()), x);
            });
        }
        Inputs::Hidden(x) if small(w) => {
            let (memory, stride) = block(&mut scratch[0], w.nrows(), k);
            T::dots(memory, stride, g.view(), Source::Rows(x.view()), Store::Replace);
            apply(w.as_mut(), Rows::new(memory, stride, g.nrows(), k), state.as_mut(), rule);
        }
        _ => x.with_mat(par, |x| {
            let ((w, stride), (state, _)) = (w.strided_mut(), state.strided_mut());
            let lines = |memory| Strided { memory, stride };
            par.share(scratch, 0, (lines(w), lines(state)), together, &|first, (w, state), scratch| {
                let size = together * stride.max(1);
                for (i, (w, state)) in w.memory.chunks_mut(size).zip(state.memory.chunks_mut(size)).enumerate() {
                    let (first, rows) = (first + i * together, w.len() / stride);
                    let (memory, block_stride) = block(scratch, rows, k);
                    let g = g.as_ref().subrows(first, rows);
                    let product = matrix(memory, block_stride, rows, k);
                    T::multiply(product, Accum::Replace, g, x.transpose(), T::from_f64(1.0));
                    let product = Rows::new(memory, block_stride, rows, k);
                    apply(matrix(w, stride, rows, k), product, matrix(state, stride, rows, k), rule);
                }
            });
        }),
    }
}

/// Calls `rule` with the rows of `w`, of an already computed gradient `d_w`, and of `state`. After
/// [`weight_gradient`](super::weight_gradient), this gives the same bits as [`update`].
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
    rule: impl Fn(&mut [T], &[T], &mut [T]) + Copy,
) {
    assert_shapes([(w.nrows(), d_w.nrows()), (w.ncols(), d_w.ncols()), (0, 0)]);
    assert_shapes([(w.nrows(), state.nrows()), (w.ncols(), state.ncols()), (0, 0)]);
    apply(w.as_mut(), d_w.view(), state.as_mut(), rule);
}

/// `rule`, compiled for the widest vectors.
fn vectorized<T: Scalar>(
    rule: impl Fn(&mut [T], &[T], &mut [T]) + Copy + Sync,
) -> impl Fn(&mut [T], &[T], &mut [T]) + Sync {
    move |w, product, state| {
        vectorize(
            #[inline(always)]
            || rule(w, product, state),
        );
    }
}

/// Memory for `rows` rows of `length` numbers, and the number of elements from one row to the next.
fn block<T: Scalar>(memory: &mut Memory<T>, rows: usize, length: usize) -> (&mut [T], usize) {
    let stride = stride::<T>(length);
    (&mut memory.numbers()[..rows * stride], stride)
}

/// Rows of a block begin at cache lines.
fn stride<T>(length: usize) -> usize {
    length.next_multiple_of(CACHE_LINE / size_of::<T>())
}

fn matrix<T: Scalar>(memory: &mut [T], stride: usize, rows: usize, length: usize) -> MatMut<'_, T> {
    MatMut::from_column_major_slice_with_stride_mut(memory, length, rows, stride).transpose_mut()
}

/// Calls `rule` for all rows of these matrices of the same shape.
fn apply<T: Scalar>(
    mut w: MatMut<'_, T>,
    product: Rows<'_, T>,
    mut state: MatMut<'_, T>,
    rule: impl Fn(&mut [T], &[T], &mut [T]) + Copy,
) {
    vectorize(
        #[inline(always)]
        || {
            for i in 0..product.count() {
                rule(contiguous(w.as_mut(), i), product.row(i), contiguous(state.as_mut(), i));
            }
        },
    );
}

#[inline(always)]
fn contiguous<T>(matrix: MatMut<'_, T>, i: usize) -> &mut [T] {
    matrix.row_mut(i).try_as_row_major_mut().expect("rows are contiguous").as_slice_mut()
}
