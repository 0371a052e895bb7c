//! The three matrix products of a fully connected layer, of which no bit depends on the number of threads.
//!
//! For weights W (m x k), inputs X (k x n) and the gradient G (m x n) of the outputs:
//! - [`outputs`]: S = W X;
//! - [`weight_gradient`]: G X^T;
//! - [`input_gradient`]: W^T G.
//!
//! Where X has contiguous columns, as a mini-batch of images has, the first two run on the kernels of
//! the module `skinny`; everything else runs on faer. Threads share out the rows of the result: each element is
//! one sum, in an order that does not depend on how the rows are shared.

use faer::Accum;
use faer::linalg::matmul::matmul;

use crate::{MatMut, MatRef, Par, RowMajor, Scalar, skinny};

/// Rows of the result that one product on faer makes: how it sums may depend on its shape, so the shape is fixed.
const ROWS: usize = 64;

/// `s = w x`.
///
/// # Shapes
/// `s` m x n, `w` m x k, `x` k x n.
///
/// # Panics
/// If the shapes do not agree.
pub fn outputs<T: Scalar>(s: &mut RowMajor<T>, w: &RowMajor<T>, x: MatRef<'_, T>, par: &Par) {
    assert_shapes([(s.nrows(), w.nrows()), (w.ncols(), x.nrows()), (s.ncols(), x.ncols())]);
    let (lines, stride) = s.strided_mut();
    if skinny::fits(x) {
        return par.for_lines(lines, stride, skinny::TILE, &|first, lines| skinny::outputs(lines, stride, first, w, x));
    }
    by_rows(s, w.as_ref(), x, par);
}

/// `d_w = g x^T`.
///
/// # Shapes
/// `d_w` m x k, `g` m x n, `x` k x n.
///
/// # Panics
/// If the shapes do not agree.
pub fn weight_gradient<T: Scalar>(d_w: &mut RowMajor<T>, g: &RowMajor<T>, x: MatRef<'_, T>, par: &Par) {
    assert_shapes([(d_w.nrows(), g.nrows()), (d_w.ncols(), x.nrows()), (g.ncols(), x.ncols())]);
    let (lines, stride) = d_w.strided_mut();
    if skinny::fits(x) {
        let work = |first, lines: &mut [T]| skinny::weight_gradient(lines, stride, first, g, x);
        return par.for_lines(lines, stride, skinny::TILE, &work);
    }
    by_rows(d_w, g.as_ref(), x.transpose(), par);
}

/// `d_x = w^T g`.
///
/// # Shapes
/// `d_x` k x n, `w` m x k, `g` m x n.
///
/// # Panics
/// If the shapes do not agree.
pub fn input_gradient<T: Scalar>(d_x: &mut RowMajor<T>, w: &RowMajor<T>, g: &RowMajor<T>, par: &Par) {
    assert_shapes([(d_x.nrows(), w.ncols()), (w.nrows(), g.nrows()), (d_x.ncols(), g.ncols())]);
    by_rows(d_x, w.as_ref().transpose(), g.as_ref(), par);
}

/// `out = a b` on faer, [`ROWS`] rows at a time.
fn by_rows<T: Scalar>(out: &mut RowMajor<T>, a: MatRef<'_, T>, b: MatRef<'_, T>, par: &Par) {
    let n = out.ncols();
    let (lines, stride) = out.strided_mut();
    par.for_lines(lines, stride, ROWS, &|first, lines| {
        for (i, lines) in lines.chunks_mut(ROWS * stride.max(1)).enumerate() {
            let (first, rows) = (first + i * ROWS, lines.len() / stride);
            // As the transpose of a column-major matrix: the library's own constructor for mutable row-major ones swaps the
            // strides.
            let out = MatMut::from_column_major_slice_with_stride_mut(lines, n, rows, stride).transpose_mut();
            matmul(out, Accum::Replace, a.subrows(first, rows), b, T::from_f64(1.0), faer::Par::Seq);
        }
    });
}

fn assert_shapes(pairs: [(usize, usize); 3]) {
    for (a, b) in pairs {
        assert_eq!(a, b, "the shapes of a product do not agree");
    }
}
