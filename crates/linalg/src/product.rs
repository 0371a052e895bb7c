//! The three matrix products of a fully connected layer. Results do not depend on the number of threads.
//!
//! For weights W (m x k), inputs X (k x n) and the gradient G (m x n) of the outputs:
//! - [`outputs`]: S = W X;
//! - [`weight_gradient`]: G X^T; [`descend`] and [`update`] compute it and change W in one pass;
//! - [`input_gradient`]: W^T G.
//!
//! All take a [`Scratch`] that was created for a network with this layer and this n; without memory for a thread, that
//! thread is not used.
//!
//! Images have many features. They are contiguous in memory, as numbers or as bytes that the kernels convert. Products
//! with images run on the kernels of the module `kernels`. The features (and the units, if there are many) are split
//! between the threads, so with two or four threads, each keeps its own part of W and X in its cache. The outputs are
//! sums over fixed [`BLOCK`]s of features, whatever the number of threads. Small products of hidden layers also run on
//! the kernels; all others are packed (see `wide`). With the kernels off, all run on faer, with the rows of the result
//! split between the threads.

use std::iter;

use faer::Accum;

pub use crate::kernels::BLOCK;
use crate::kernels::{self, Factor, GROUP_FOR_PIXELS, Memory, Out, Source, Store};
use crate::{ColMajor, Images, MatMut, MatRef, Par, RowMajor, Scalar, vectorize};

mod update;
mod wide;

pub use update::{update, update_along};
use wide::{is_wide, wide};

/// Minimum and maximum number of result rows per call of faer.
const ROWS: (usize, usize) = (64, 256);
/// Number of features whose weights a thread updates at a time. Smaller than a block, so that all threads have work
/// even if there are more threads than blocks.
const COLUMNS: usize = 256;
/// Maximum number of weights of a hidden layer whose products run on the kernels.
const SMALL: usize = 128 * 128;

/// The inputs X (k x n) of a layer.
#[derive(Debug, Clone, Copy)]
pub enum Inputs<'a, T> {
    /// A mini-batch of images.
    Images(Images<'a, T>),
    /// The outputs of the layer below, with contiguous rows.
    Hidden(&'a RowMajor<T>),
}

impl<'a, T: Scalar> Inputs<'a, T> {
    /// Number of inputs, k.
    pub fn nrows(self) -> usize {
        match self {
            Self::Images(x) => x.nrows(),
            Self::Hidden(x) => x.nrows(),
        }
    }

    /// Number of images, n.
    pub fn ncols(self) -> usize {
        match self {
            Self::Images(x) => x.ncols(),
            Self::Hidden(x) => x.ncols(),
        }
    }

    fn are_images(self) -> bool {
        matches!(self, Self::Images(_))
    }

    /// The inputs as a factor of a product. Images are stored as rows.
    fn factor(self) -> Factor<Source<'a, T>> {
        match self {
            Self::Images(x) => Factor::Transposed(x.view()),
            Self::Hidden(x) => Factor::Rows(Source::Rows(x.view())),
        }
    }

    /// Calls `work` with the inputs as a matrix. Bytes are first converted into newly allocated memory; this happens
    /// only when the kernels are off, for comparison.
    fn with_mat<R>(self, par: &Par, work: impl FnOnce(MatRef<'_, T>) -> R) -> R {
        match self {
            Self::Images(Images::Columns(x)) => work(x.as_mat()),
            Self::Images(Images::Pixels(x)) => {
                let mut columns = ColMajor::zeros(x.nrows(), x.ncols());
                x.write(&mut columns, par);
                work(columns.as_ref().as_mat())
            }
            Self::Hidden(x) => work(x.as_ref()),
        }
    }
}

/// Scratch memory of the products of a network. Allocated once. The contents after a product are unspecified.
#[derive(Debug, Clone)]
pub struct Scratch<T> {
    /// The outputs of a narrow first layer from each block of features: the m rows of the first block, then those of
    /// the second, and so on.
    sums: RowMajor<T>,
    /// Memory that each thread has to itself.
    threads: Vec<Memory<T>>,
}

impl<T: Scalar> Scratch<T> {
    /// Allocates memory for the products of layers of these numbers of (inputs, units) for mini-batches of `images`
    /// images, on the threads of `par`. The inputs of the first layer are images.
    pub fn new(layers: impl IntoIterator<Item = (usize, usize)>, images: usize, par: &Par) -> Self {
        let mut sums = RowMajor::zeros(0, 0);
        let (mut gradient, mut packs) = (0, false);
        for (l, (inputs, units)) in layers.into_iter().enumerate() {
            if is_wide(units, inputs, images, l == 0) {
                packs = true;
            } else if l == 0 && kernels::on() {
                sums = RowMajor::zeros(blocks(inputs) * units, images);
            } else {
                gradient = gradient.max(update::block_size::<T>(units, inputs));
            }
        }
        let memory = || Memory::new(packs.then_some(images), gradient);
        Self { sums, threads: iter::repeat_with(memory).take(par.count()).collect() }
    }
}

/// Computes `s = w x`.
///
/// # Shapes
/// `s` m x n, `w` m x k, `x` k x n.
///
/// # Panics
/// If the shapes do not agree.
pub fn outputs<T: Scalar>(s: &mut RowMajor<T>, w: &RowMajor<T>, x: Inputs<'_, T>, scratch: &mut Scratch<T>, par: &Par) {
    let (m, k, n) = (w.nrows(), w.ncols(), s.ncols());
    assert_shapes([(s.nrows(), m), (k, x.nrows()), (n, x.ncols())]);
    match x {
        x if is_wide(m, k, n, x.are_images()) => {
            let out = Out::Matrix(s.as_mut(), Store::Replace);
            wide(out, Factor::Rows(w.view()), x.factor(), &mut scratch.threads, par);
        }
        Inputs::Images(x) if kernels::on() => {
            let (sums, x) = (&mut scratch.sums, x.view());
            assert_shapes([(sums.nrows(), blocks(k) * m), (sums.ncols(), n), (n, n)]);
            let (memory, stride) = sums.strided_mut();
            // Whole blocks, or large, equal parts of one: each part converts all images again.
            let parts = (m.div_ceil(GROUP_FOR_PIXELS).max(1)..=2 * m / GROUP_FOR_PIXELS)
                .find(|&parts| m.is_multiple_of(parts))
                .unwrap_or(1);
            let together = (m / parts).max(1);
            par.for_lines(memory, stride, together, &|first, lines| {
                let end = first + lines.len() / stride.max(1);
                for block in first / m.max(1)..end.div_ceil(m.max(1)) {
                    let (start, rows) = (block * BLOCK, first.max(block * m)..end.min((block + 1) * m));
                    let length = BLOCK.min(k - start);
                    let w = w.view().rows(rows.start - block * m, rows.len()).columns(start, length);
                    let lines = &mut lines[(rows.start - first) * stride..][..rows.len() * stride];
                    T::dots(lines, stride, w, x.columns(start, length), Store::Replace);
                }
            });
            let sums = &*sums;
            vectorize(
                #[inline(always)]
                || {
                    for i in 0..m {
                        let s = s.row_mut(i);
                        s.copy_from_slice(sums.row(i));
                        for block in 1..blocks(k) {
                            for (s, &sum) in s.iter_mut().zip(sums.row(block * m + i)) {
                                *s += sum;
                            }
                        }
                    }
                },
            );
        }
        Inputs::Hidden(x) if small(w) => {
            T::combine(Out::Matrix(s.as_mut(), Store::Replace), Factor::Rows(w.view()), Source::Rows(x.view()));
        }
        _ => x.with_mat(par, |x| by_rows(s, w.as_ref(), x, Store::Replace, par)),
    }
}

/// Computes `d_w = g x^T`.
///
/// # Shapes
/// `d_w` m x k, `g` m x n, `x` k x n.
///
/// # Panics
/// If the shapes do not agree.
pub fn weight_gradient<T: Scalar>(
    d_w: &mut RowMajor<T>,
    g: &RowMajor<T>,
    x: Inputs<'_, T>,
    scratch: &mut Scratch<T>,
    par: &Par,
) {
    gradient_product(d_w, g, x, Store::Replace, scratch, par);
}

/// Computes `w = decay w - rate g x^T` without storing the weight gradient, which saves a pass through memory.
///
/// # Shapes
/// `w` m x k, `g` m x n, `x` k x n.
///
/// # Panics
/// If the shapes do not agree.
pub fn descend<T: Scalar>(
    w: &mut RowMajor<T>,
    g: &RowMajor<T>,
    x: Inputs<'_, T>,
    (decay, rate): (T, T),
    scratch: &mut Scratch<T>,
    par: &Par,
) {
    gradient_product(w, g, x, Store::Descend { decay, rate }, scratch, par);
}

/// Computes `w = decay w - rate d_w`. On the kernels, [`weight_gradient`] followed by this gives the same bits as
/// [`descend`].
///
/// # Shapes
/// `w` and `d_w` m x k.
///
/// # Panics
/// If the shapes do not agree.
pub fn descend_along<T: Scalar>(w: &mut RowMajor<T>, d_w: &RowMajor<T>, decay: T, rate: T, par: &Par) {
    assert_shapes([(w.nrows(), d_w.nrows()), (w.ncols(), d_w.ncols()), (0, 0)]);
    w.for_rows(par, &|i, w| T::apply(w, d_w.row(i), Store::Descend { decay, rate }));
}

/// Applies `store` to `c` and the product `g x^T`.
fn gradient_product<T: Scalar>(
    c: &mut RowMajor<T>,
    g: &RowMajor<T>,
    x: Inputs<'_, T>,
    store: Store<T>,
    scratch: &mut Scratch<T>,
    par: &Par,
) {
    assert_shapes([(c.nrows(), g.nrows()), (c.ncols(), x.nrows()), (g.ncols(), x.ncols())]);
    match x {
        x if is_wide(c.nrows(), c.ncols(), x.ncols(), x.are_images()) => {
            wide(
                Out::Matrix(c.as_mut(), store),
                Factor::Rows(g.view()),
                x.factor().transpose(),
                &mut scratch.threads,
                par,
            );
        }
        Inputs::Images(x) if kernels::on() => {
            par.for_columns(c.as_mut(), COLUMNS, &|start, c| {
                let x = x.view().columns(start, c.ncols());
                T::combine(Out::Matrix(c, store), Factor::Rows(g.view()), x);
            });
        }
        Inputs::Hidden(x) if small(c) => {
            let (c, stride) = c.strided_mut();
            T::dots(c, stride, g.view(), Source::Rows(x.view()), store);
        }
        _ => x.with_mat(par, |x| by_rows(c, g.as_ref(), x.transpose(), store, par)),
    }
}

/// Computes `d_x = w^T g`.
///
/// # Shapes
/// `d_x` k x n, `w` m x k, `g` m x n.
///
/// # Panics
/// If the shapes do not agree.
pub fn input_gradient<T: Scalar>(
    d_x: &mut RowMajor<T>,
    w: &RowMajor<T>,
    g: &RowMajor<T>,
    scratch: &mut Scratch<T>,
    par: &Par,
) {
    assert_shapes([(d_x.nrows(), w.ncols()), (w.nrows(), g.nrows()), (d_x.ncols(), g.ncols())]);
    let out = Out::Matrix(d_x.as_mut(), Store::Replace);
    let (a, b) = (Factor::Transposed(w.view()), Source::Rows(g.view()));
    if is_wide(w.nrows(), w.ncols(), g.ncols(), false) {
        wide(out, a, Factor::Rows(b), &mut scratch.threads, par);
    } else if small(w) {
        T::combine(out, a, b);
    } else {
        by_rows(d_x, w.as_ref().transpose(), g.as_ref(), Store::Replace, par);
    }
}

/// Number of blocks of that many features. At least one: without features, the sums are 0.
fn blocks(features: usize) -> usize {
    features.div_ceil(BLOCK).max(1)
}

fn small<T: Scalar>(w: &RowMajor<T>) -> bool {
    w.nrows() * w.ncols() <= SMALL && kernels::on()
}

/// Applies `store` to `c` and the product `a b`, computed by faer some rows at a time. faer repacks `b` in every call,
/// so a call takes as many rows as still leave work for four threads. The order of summation in faer may depend on the
/// shape of a call, so that shape does not depend on the number of threads.
fn by_rows<T: Scalar>(c: &mut RowMajor<T>, a: MatRef<'_, T>, b: MatRef<'_, T>, store: Store<T>, par: &Par) {
    let (n, together) = (c.ncols(), rows_together(c.nrows()));
    let (lines, stride) = c.strided_mut();
    par.for_lines(lines, stride, together, &|first, lines| {
        for (i, lines) in lines.chunks_mut(together * stride.max(1)).enumerate() {
            let (first, rows) = (first + i * together, lines.len() / stride);
            let (accum, alpha) = match store {
                Store::Replace => (Accum::Replace, T::from_f64(1.0)),
                Store::Descend { decay, rate } => {
                    lines.iter_mut().for_each(|c| *c *= decay);
                    (Accum::Add, -rate)
                }
            };
            // Created as the transpose of a column-major matrix, because faer's constructor for mutable row-major
            // matrices swaps the strides.
            let c = MatMut::from_column_major_slice_with_stride_mut(lines, n, rows, stride).transpose_mut();
            T::multiply(c, accum, a.subrows(first, rows), b, alpha);
        }
    });
}

/// Number of result rows per call of faer, for a product of `rows` rows.
fn rows_together(rows: usize) -> usize {
    rows.div_ceil(4).clamp(ROWS.0, ROWS.1)
}

fn assert_shapes(pairs: [(usize, usize); 3]) {
    for (a, b) in pairs {
        assert_eq!(a, b, "the shapes of a product do not agree");
    }
}
