//! Kernels for products of which no side is large enough for a general product to run at full speed.
//!
//! General products pack both matrices and cut the result into tiles of whole vectors, of which 50 units are no
//! multiple. All matrices here have contiguous rows, so nothing is packed, and there are two ways to multiply them:
//! - [`dots`], C = A B^T: each element is a dot product of two rows, a tile of them at a time;
//! - [`combine`], C = A B: each row of C is a combination of the rows of B, a tile of rows and a few vectors at a time.
//!
//! Tiles fill the registers of the processor. Each element is one sum, in an order that depends on its length and on
//! the width of a vector: processors of different widths differ in the last bits; the shape of C changes none.

use std::array;
use std::env;
use std::ops::Range;
use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

use crate::{MatMut, Scalar};

/// Rows of A that are kept in a cache while B passes by.
const GROUP: usize = 60;
/// Columns of B that [`combine`] keeps in the second-level cache, for 100 rows, while the rows of A pass by.
const COLUMNS: usize = 768;
/// Set to anything, this variable turns the kernels off, so that their results can be compared with faer's.
const OFF: &str = "KLAYER_NO_KERNELS";

static ON: LazyLock<bool> = LazyLock::new(|| env::var_os(OFF).is_none());

/// Whether products run on klayer's own kernels, where these are the faster ones, and not all on faer.
pub fn on() -> bool {
    *ON
}

/// Some rows of a matrix, each contiguous, and of each row the same columns.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    memory: &'a [T],
    stride: usize,
    count: usize,
    length: usize,
}

impl<'a, T> Rows<'a, T> {
    /// `count` rows of `length` columns, whose beginnings lie `stride` apart in `memory`.
    pub(crate) fn new(memory: &'a [T], stride: usize, count: usize, length: usize) -> Self {
        Self { memory, stride, count, length }
    }

    /// `length` columns from `start` on.
    pub(crate) fn columns(self, start: usize, length: usize) -> Self {
        assert!(start + length <= self.length, "columns of the matrix");
        Self { memory: self.memory.get(start..).unwrap_or(&[]), length, ..self }
    }

    #[inline(always)]
    fn row(self, i: usize) -> &'a [T] {
        &self.memory[i * self.stride..][..self.length]
    }
}

/// `c = a b^T`, or what `store` says; the rows of `c` lie `stride` apart.
pub(crate) fn dots<T: Scalar>(c: &mut [T], stride: usize, a: Rows<'_, T>, b: Rows<'_, T>, store: Store<T>) {
    Arch::new().dispatch(Dots { c, stride, a, b, store });
}

/// The factor A of [`combine`].
#[derive(Clone, Copy)]
pub(crate) enum Factor<'a, T> {
    /// These rows.
    Rows(Rows<'a, T>),
    /// The transpose of these rows.
    Transposed(Rows<'a, T>),
}

/// What becomes of a product.
#[derive(Clone, Copy)]
pub(crate) enum Store<T> {
    /// C takes its place.
    Replace,
    /// C becomes `decay` C - `rate` times the product.
    Descend { decay: T, rate: T },
}

/// `c = a b`, or what `store` says, for a `c` with contiguous rows.
pub(crate) fn combine<T: Scalar>(c: MatMut<'_, T>, a: Factor<'_, T>, b: Rows<'_, T>, store: Store<T>) {
    match a {
        Factor::Rows(a) => Arch::new().dispatch(Combine::<_, false> { c, a, b, store }),
        Factor::Transposed(a) => Arch::new().dispatch(Combine::<_, true> { c, a, b, store }),
    }
}

/// What `store` says of `c` and a product that is already there.
pub(crate) fn apply<T: Scalar>(c: &mut [T], product: &[T], store: Store<T>) {
    Arch::new().dispatch(Apply { c, product, store });
}

struct Dots<'a, T> {
    c: &'a mut [T],
    stride: usize,
    a: Rows<'a, T>,
    b: Rows<'a, T>,
    store: Store<T>,
}

impl<T: Scalar> WithSimd for Dots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for first in (0..self.a.count).step_by(GROUP) {
            let group = first..self.a.count.min(first + GROUP);
            if S::REGISTER_COUNT >= 32 {
                self.group::<S, 5, 5>(simd, group.start, group.end);
            } else {
                self.group::<S, 3, 4>(simd, group.start, group.end);
            }
        }
    }
}

impl<T: Scalar> Dots<'_, T> {
    /// Rows `first..end` of C, in tiles of at most R x C.
    #[inline(always)]
    fn group<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, first: usize, end: usize) {
        let mut j = 0;
        while j < self.b.count {
            match self.b.count - j {
                left if left >= C => {
                    self.strip::<S, R, C>(simd, first, end, j);
                    j += C;
                }
                2.. => {
                    self.strip::<S, R, 2>(simd, first, end, j);
                    j += 2;
                }
                _ => {
                    self.strip::<S, R, 1>(simd, first, end, j);
                    j += 1;
                }
            }
        }
    }

    /// Rows `first..end` of C columns from column `j` on.
    #[inline(always)]
    fn strip<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, first: usize, end: usize, j: usize) {
        let b: [&[T]; C] = array::from_fn(|c| self.b.row(j + c));
        let mut i = first;
        while i < end {
            match end - i {
                left if left >= R => {
                    self.tile::<S, R, C>(simd, i, j, b);
                    i += R;
                }
                2.. => {
                    self.tile::<S, 2, C>(simd, i, j, b);
                    i += 2;
                }
                _ => {
                    self.tile::<S, 1, C>(simd, i, j, b);
                    i += 1;
                }
            }
        }
    }

    /// The elements of `R` rows and `C` columns.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, i: usize, j: usize, b: [&[T]; C]) {
        let a: [&[T]; R] = array::from_fn(|r| self.a.row(i + r));
        // The whole vectors of each row, as many everywhere, and behind them what is left.
        let whole = T::vectors(simd, b[0]).0.len();
        let a_whole: [&[T::Vector<S>]; R] = array::from_fn(|r| &T::vectors(simd, a[r]).0[..whole]);
        let b_whole: [&[T::Vector<S>]; C] = array::from_fn(|c| &T::vectors(simd, b[c]).0[..whole]);
        let mut sums = [[T::splat(simd, T::from_f64(0.0)); C]; R];
        for v in 0..whole {
            let a: [T::Vector<S>; R] = array::from_fn(|r| a_whole[r][v]);
            for c in 0..C {
                let b = b_whole[c][v];
                for r in 0..R {
                    sums[r][c] = T::mul_add(simd, a[r], b, sums[r][c]);
                }
            }
        }
        if !T::vectors(simd, b[0]).1.is_empty() {
            let a: [T::Vector<S>; R] = array::from_fn(|r| T::load_part(simd, T::vectors(simd, a[r]).1));
            for c in 0..C {
                let b = T::load_part(simd, T::vectors(simd, b[c]).1);
                for r in 0..R {
                    sums[r][c] = T::mul_add(simd, a[r], b, sums[r][c]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let row = &mut self.c[(i + r) * self.stride + j..][..C];
            for (c, sum) in row.iter_mut().zip(sums) {
                let sum = T::sum(simd, sum);
                *c = match self.store {
                    Store::Replace => sum,
                    Store::Descend { decay, rate } => (-rate).fused(sum, decay * *c),
                };
            }
        }
    }
}

struct Combine<'a, T, const TRANSPOSED: bool> {
    c: MatMut<'a, T>,
    a: Rows<'a, T>,
    b: Rows<'a, T>,
    store: Store<T>,
}

impl<T: Scalar, const TRANSPOSED: bool> WithSimd for Combine<'_, T, TRANSPOSED> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (rows, columns) = (self.c.nrows(), self.b.length);
        for start in (0..columns).step_by(COLUMNS) {
            for first in (0..rows).step_by(GROUP) {
                self.block(simd, first..rows.min(first + GROUP), start..columns.min(start + COLUMNS));
            }
        }
    }
}

impl<T: Scalar, const TRANSPOSED: bool> Combine<'_, T, TRANSPOSED> {
    /// These rows and columns of C, a strip of a few vectors at a time: of all rows of B, it stays in the first-level
    /// cache for all these rows of C.
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, rows: Range<usize>, columns: Range<usize>) {
        let lanes = size_of::<T::Vector<S>>() / size_of::<T>();
        let mut start = columns.start;
        while start < columns.end {
            match (columns.end - start) / lanes {
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
                    self.strip::<S, 1>(simd, rows.clone(), start, columns.end - start);
                    start = columns.end;
                }
            }
        }
    }

    /// These rows of C over `length` columns from `start` on: `V` vectors, or a part of one.
    #[inline(always)]
    fn strip<S: Simd, const V: usize>(&mut self, simd: S, rows: Range<usize>, start: usize, length: usize) {
        let mut i = rows.start;
        while i < rows.end {
            match rows.end - i {
                5.. => {
                    self.tile::<S, 5, V>(simd, start, length, i);
                    i += 5;
                }
                2.. => {
                    self.tile::<S, 2, V>(simd, start, length, i);
                    i += 2;
                }
                _ => {
                    self.tile::<S, 1, V>(simd, start, length, i);
                    i += 1;
                }
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, start: usize, length: usize, i: usize) {
        let terms = self.b.count;
        let a: [&[T]; R] = array::from_fn(|r| if TRANSPOSED { &[][..] } else { &self.a.row(i + r)[..terms] });
        let mut sums = [[T::splat(simd, T::from_f64(0.0)); V]; R];
        for q in 0..terms {
            let b = load::<T, S, V>(simd, &self.b.memory[q * self.b.stride + start..][..length]);
            let column = if TRANSPOSED { &self.a.memory[q * self.a.stride + i..][..R] } else { &[][..] };
            for r in 0..R {
                let a = T::splat(simd, if TRANSPOSED { column[r] } else { a[r][q] });
                for v in 0..V {
                    sums[r][v] = T::mul_add(simd, a, b[v], sums[r][v]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let row =
                self.c.as_mut().row_mut(i + r).try_as_row_major_mut().expect("rows are contiguous").as_slice_mut();
            self.store.store(simd, &mut row[start..][..length], sums);
        }
    }
}

struct Apply<'a, T> {
    c: &'a mut [T],
    product: &'a [T],
    store: Store<T>,
}

impl<T: Scalar> WithSimd for Apply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = size_of::<T::Vector<S>>() / size_of::<T>();
        for (c, product) in self.c.chunks_mut(lanes).zip(self.product.chunks(lanes)) {
            self.store.store(simd, c, load::<T, S, 1>(simd, product));
        }
    }
}

impl<T: Scalar> Store<T> {
    #[inline(always)]
    fn store<S: Simd, const V: usize>(self, simd: S, row: &mut [T], product: [T::Vector<S>; V]) {
        let values = match self {
            Self::Replace => product,
            Self::Descend { decay, rate } => {
                let (decay, back) = (T::splat(simd, decay), T::splat(simd, -rate));
                let zero = T::splat(simd, T::from_f64(0.0));
                let old = load::<T, S, V>(simd, row);
                array::from_fn(|v| T::mul_add(simd, back, product[v], T::mul_add(simd, decay, old[v], zero)))
            }
        };
        match T::vectors_mut(simd, row) {
            (whole, []) => whole.copy_from_slice(&values),
            (_, part) => T::store_part(simd, part, values[0]),
        }
    }
}

/// `V` whole vectors, or for V = 1 a part of one.
#[inline(always)]
fn load<T: Scalar, S: Simd, const V: usize>(simd: S, values: &[T]) -> [T::Vector<S>; V] {
    match T::vectors(simd, values) {
        (whole, []) => array::from_fn(|v| whole[v]),
        (_, part) => [T::load_part(simd, part); V],
    }
}
