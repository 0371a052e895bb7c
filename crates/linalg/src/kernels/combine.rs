//! C = A B.

use std::ops::Range;
use std::{array, mem};

use faer::RowMut;
use pulp::{Arch, Simd, WithSimd};

use crate::kernels::{Aligned, Rows, Source, Store, lanes, load};
use crate::matrix::CACHE_LINE;
use crate::prefetch::prefetch;
use crate::{MatMut, Scalar};

/// Number of terms of a sum added in one pass. That many rows of a strip of B stay in the L1 cache.
const TERMS: usize = 128;
/// Columns of the widest strip: four 512-bit vectors of `f32`.
const WIDTH: usize = 64;
/// Rows of C of the tallest tile.
const TALLEST: usize = 5;
/// Number of rows of C computed with one strip.
const GROUP: usize = 256;

/// A factor of a product.
#[derive(Clone, Copy)]
pub enum Factor<M> {
    /// The matrix as stored.
    Rows(M),
    /// The transpose of the matrix as stored.
    Transposed(M),
}

impl<M> Factor<M> {
    /// The transpose.
    pub(crate) fn transpose(self) -> Self {
        match self {
            Self::Rows(matrix) => Self::Transposed(matrix),
            Self::Transposed(matrix) => Self::Rows(matrix),
        }
    }
}

/// Where the product goes.
pub enum Out<'a, T> {
    /// To a matrix.
    Matrix(MatMut<'a, T>, Store<T>),
    /// To a function, with parts of rows of the matrix and the same parts of its state.
    Update(MatMut<'a, T>, MatMut<'a, T>, &'a Update<'a, T>),
}

/// Changes part of a row of weights along its gradient, of the same length, and its part of the state of an optimizer.
pub(super) type Update<'a, T> = dyn Fn(&mut [T], &[T], &mut [T]) + Sync + 'a;

impl<'a, T: Copy> Out<'a, T> {
    /// The matrix C.
    pub(crate) fn c(&self) -> &MatMut<'a, T> {
        match self {
            Self::Matrix(c, _) | Self::Update(c, ..) => c,
        }
    }

    /// Splits C, and what belongs to it, with `split`.
    pub(crate) fn split(self, split: &impl Fn(MatMut<'a, T>) -> (MatMut<'a, T>, MatMut<'a, T>)) -> (Self, Self) {
        match self {
            Self::Matrix(c, store) => {
                let (a, b) = split(c);
                (Self::Matrix(a, store), Self::Matrix(b, store))
            }
            Self::Update(c, state, update) => {
                let ((a, b), (a_state, b_state)) = (split(c), split(state));
                (Self::Update(a, a_state, update), Self::Update(b, b_state, update))
            }
        }
    }
}

/// [`combine`](super::Kernels::combine) for a given vector width.
pub(super) fn combine_on<T: Scalar>(arch: Arch, out: Out<'_, T>, a: Factor<Rows<'_, T>>, b: Source<'_, T>) {
    let (mut room, mut sums);
    let strip = match b {
        Source::Rows(_) => &mut [][..],
        Source::Pixels(_) => {
            room = Aligned::<T, { TERMS * WIDTH }>::zeros();
            &mut room.0[..]
        }
    };
    let partial = if b.count() <= TERMS && matches!(out, Out::Matrix(..)) {
        &mut [][..]
    } else {
        sums = Aligned::<T, { GROUP * WIDTH }>::zeros();
        &mut sums.0[..]
    };
    match a {
        Factor::Rows(a) => arch.dispatch(Combine::<_, false> { out, a, b, strip, partial }),
        Factor::Transposed(a) => arch.dispatch(Combine::<_, true> { out, a, b, strip, partial }),
    }
}

struct Combine<'a, 'o, T, const TRANSPOSED: bool> {
    out: Out<'o, T>,
    a: Rows<'a, T>,
    b: Source<'a, T>,
    /// Scratch memory for a converted strip of `b`, if `b` is bytes.
    strip: &'a mut [T],
    /// Scratch memory for the sums of a strip, if they take more than one pass or go to a function.
    partial: &'a mut [T],
}

impl<T: Scalar, const TRANSPOSED: bool> WithSimd for Combine<'_, '_, T, TRANSPOSED> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let rows = if TRANSPOSED { self.a.length } else { self.a.count };
        for first in (0..rows).step_by(GROUP) {
            self.group(simd, first..rows.min(first + GROUP));
        }
    }
}

impl<T: Scalar, const TRANSPOSED: bool> Combine<'_, '_, T, TRANSPOSED> {
    /// Computes these rows of C one strip, a few vectors wide, at a time. The strip of B stays in the L1 cache for all
    /// these rows.
    #[inline(always)]
    fn group<S: Simd>(&mut self, simd: S, rows: Range<usize>) {
        let (lanes, columns) = (lanes::<T, S>(), self.b.length());
        let mut start = 0;
        while start < columns {
            match (columns - start) / lanes {
                4.. if S::REGISTER_COUNT >= 32 => {
                    self.strip::<S, 4>(simd, rows.clone(), start, 4 * lanes);
                    start += 4 * lanes;
                }
                2.. => {
                    self.strip::<S, 2>(simd, rows.clone(), start, 2 * lanes);
                    start += 2 * lanes;
                }
                1 => {
                    self.strip::<S, 1>(simd, rows.clone(), start, lanes);
                    start += lanes;
                }
                _ => {
                    self.strip::<S, 1>(simd, rows.clone(), start, columns - start);
                    start = columns;
                }
            }
        }
    }

    /// Computes these rows of C for `length` columns, starting at `start`: `V` vectors, or a partial one.
    #[inline(always)]
    fn strip<S: Simd, const V: usize>(&mut self, simd: S, rows: Range<usize>, start: usize, length: usize) {
        let (all, width) = (self.b.count(), V * lanes::<T, S>());
        let room = mem::take(&mut self.strip);
        // At least one pass: without terms, the sums are 0.
        for first in (0..all.max(1)).step_by(TERMS) {
            let terms = first..all.min(first + TERMS);
            let b = match self.b {
                Source::Rows(b) => b.columns(start, length).rows(first, terms.len()),
                Source::Pixels(pixels) => {
                    let strip = pixels.features(start, length);
                    for (q, row) in terms.clone().zip(room.chunks_exact_mut(width)) {
                        strip.convert::<1>(q, row);
                    }
                    Rows::new(room, width, terms.len(), length)
                }
            };
            let mut i = rows.start;
            while i < rows.end {
                let at = (i - rows.start) * width;
                if terms.end == all {
                    self.ask_for(i + TALLEST..rows.end.min(i + 2 * TALLEST), start..start + length);
                }
                match rows.end - i {
                    TALLEST.. => {
                        self.tile::<S, TALLEST, V>(simd, i, start, terms.clone(), b, at);
                        i += TALLEST;
                    }
                    2.. => {
                        self.tile::<S, 2, V>(simd, i, start, terms.clone(), b, at);
                        i += 2;
                    }
                    _ => {
                        self.tile::<S, 1, V>(simd, i, start, terms.clone(), b, at);
                        i += 1;
                    }
                }
            }
        }
        self.strip = room;
    }

    /// Prefetches these columns of these rows of C. In a wide layer, each row is on another page of memory.
    #[inline(always)]
    fn ask_for(&mut self, rows: Range<usize>, columns: Range<usize>) {
        let ask = |matrix: &mut MatMut<'_, T>| {
            for i in rows.clone() {
                let row = contiguous(matrix.as_mut().row_mut(i));
                for at in columns.clone().step_by(CACHE_LINE / size_of::<T>()) {
                    prefetch(row, at);
                }
            }
        };
        match &mut self.out {
            Out::Matrix(c, _) => ask(c),
            Out::Update(c, state, _) => {
                ask(c);
                ask(state);
            }
        }
    }

    /// Adds `terms` to the sums of `R` rows of C, starting at row `i`, for the columns of `b`, starting at `start`.
    /// Between passes, the sums are kept in `partial`, at `at`.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        i: usize,
        start: usize,
        terms: Range<usize>,
        b: Rows<'_, T>,
        at: usize,
    ) {
        let width = V * lanes::<T, S>();
        let a: [&[T]; R] = array::from_fn(|r| if TRANSPOSED { &[][..] } else { &self.a.row(i + r)[terms.clone()] });
        let mut sums = [[T::splat(simd, T::from_f64(0.0)); V]; R];
        if terms.start > 0 {
            for (r, sums) in sums.iter_mut().enumerate() {
                *sums = load::<T, S, V>(simd, &self.partial[at + r * width..][..width]);
            }
        }
        for q in 0..terms.len() {
            let b = load::<T, S, V>(simd, &b.memory[q * b.stride..][..b.length]);
            let column =
                if TRANSPOSED { &self.a.memory[(terms.start + q) * self.a.stride + i..][..R] } else { &[][..] };
            for r in 0..R {
                let a = T::splat(simd, if TRANSPOSED { column[r] } else { a[r][q] });
                for v in 0..V {
                    sums[r][v] = T::mul_add(simd, a, b[v], sums[r][v]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            match &mut self.out {
                Out::Matrix(c, store) if terms.end == self.b.count() => {
                    let row = contiguous(c.as_mut().row_mut(i + r));
                    store.store(simd, &mut row[start..][..b.length], sums);
                }
                Out::Update(c, state, update) if terms.end == self.b.count() => {
                    let product = &mut self.partial[at + r * width..][..width];
                    Store::Replace.store(simd, product, sums);
                    let [c, state] = [c, state].map(|matrix| contiguous(matrix.as_mut().row_mut(i + r)));
                    let (c, state) = (&mut c[start..][..b.length], &mut state[start..][..b.length]);
                    update(c, &product[..b.length], state);
                }
                _ => Store::Replace.store(simd, &mut self.partial[at + r * width..][..width], sums),
            }
        }
    }
}

#[inline(always)]
pub(super) fn contiguous<T>(row: RowMut<'_, T>) -> &mut [T] {
    row.try_as_row_major_mut().expect("rows are contiguous").as_slice_mut()
}
