//! Kernels for products in which a few units meet many features, which lie together in W and in X.
//!
//! General products pack both matrices and cut the result into tiles of whole vectors, of which 50 units are no
//! multiple. Here vectors run along the features, so nothing is packed and nothing of a tile is wasted:
//! - outputs, S = W X: each element is a dot product over the features, a tile of them at a time, in blocks of
//!   features that stay in the first-level cache;
//! - weight gradient, G X^T: a tile of units and a few vectors of features, summed over the images.
//!
//! Tiles fill the registers of the processor. The width of a vector decides in which order the outputs are summed, so
//! processors of different widths differ in the last bits; how many units or images there are does not.

use std::array;
use std::env;
use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

use crate::{MatRef, RowMajor, Scalar};

/// Units of the largest tile, and images of it.
pub(crate) const TILE: usize = 5;
/// Features of a block: in `f32`, five images of so many stay in a first-level cache of 32 KiB.
const BLOCK: usize = 1024;
/// Fewest features for which the kernels are worth their start.
const FEWEST: usize = 256;
/// Set to anything, this variable turns the kernels off, so that their results can be compared with faer's.
const OFF: &str = "KLAYER_NO_KERNELS";

static ON: LazyLock<bool> = LazyLock::new(|| env::var_os(OFF).is_none());

/// Whether the kernels serve for inputs `x` (k x n).
pub(crate) fn fits<T: Scalar>(x: MatRef<'_, T>) -> bool {
    x.row_stride() == 1 && x.nrows() >= FEWEST && *ON
}

/// Rows `first..` of `w x`, written to `s`, whose rows are `stride` apart.
pub(crate) fn outputs<T: Scalar>(s: &mut [T], stride: usize, first: usize, w: &RowMajor<T>, x: MatRef<'_, T>) {
    Arch::new().dispatch(Outputs { s, stride, first, w, x });
}

/// Rows `first..` of `g x^T`, written to `d_w`, whose rows are `stride` apart.
pub(crate) fn weight_gradient<T: Scalar>(
    d_w: &mut [T],
    stride: usize,
    first: usize,
    g: &RowMajor<T>,
    x: MatRef<'_, T>,
) {
    Arch::new().dispatch(WeightGradient { d_w, stride, first, g, x });
}

/// Column `j` of a matrix with contiguous columns.
#[inline(always)]
fn column<T: Scalar>(x: MatRef<'_, T>, j: usize) -> &[T] {
    x.col(j).try_as_col_major().expect("columns are contiguous").as_slice()
}

struct Outputs<'a, T> {
    s: &'a mut [T],
    stride: usize,
    first: usize,
    w: &'a RowMajor<T>,
    x: MatRef<'a, T>,
}

impl<T: Scalar> WithSimd for Outputs<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (k, n) = (self.x.nrows(), self.x.ncols());
        for start in (0..k).step_by(BLOCK) {
            let block = (start, BLOCK.min(k - start));
            let mut j = 0;
            while j < n {
                let images = (n - j).min(TILE);
                match images {
                    TILE => self.images::<S, TILE>(simd, block, j),
                    4 => self.images::<S, 4>(simd, block, j),
                    3 => self.images::<S, 3>(simd, block, j),
                    2 => self.images::<S, 2>(simd, block, j),
                    _ => self.images::<S, 1>(simd, block, j),
                }
                j += images;
            }
        }
    }
}

impl<T: Scalar> Outputs<'_, T> {
    /// All units of `C` images, over one block of features.
    #[inline(always)]
    fn images<S: Simd, const C: usize>(&mut self, simd: S, block: (usize, usize), j: usize) {
        let x = array::from_fn(|c| &column(self.x, j + c)[block.0..][..block.1]);
        let units = self.s.len() / self.stride;
        let mut i = 0;
        while i < units {
            if S::REGISTER_COUNT >= 32 && units - i >= TILE {
                self.tile::<S, TILE, C>(simd, block, i, j, x);
                i += TILE;
            } else if units - i >= 2 {
                self.tile::<S, 2, C>(simd, block, i, j, x);
                i += 2;
            } else {
                self.tile::<S, 1, C>(simd, block, i, j, x);
                i += 1;
            }
        }
    }

    /// Adds the dot products of `R` units and `C` images over a block of features; the first block sets them.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(
        &mut self,
        simd: S,
        (start, length): (usize, usize),
        i: usize,
        j: usize,
        x: [&[T]; C],
    ) {
        let (weights, stride) = self.w.strided();
        let w: [&[T]; R] = array::from_fn(|r| &weights[(self.first + i + r) * stride + start..][..length]);
        // The whole vectors of each line of features, as many everywhere, and behind them what is left.
        let whole = T::vectors(simd, x[0]).0.len();
        let w_whole: [&[T::Vector<S>]; R] = array::from_fn(|r| &T::vectors(simd, w[r]).0[..whole]);
        let x_whole: [&[T::Vector<S>]; C] = array::from_fn(|c| &T::vectors(simd, x[c]).0[..whole]);
        let mut sums = [[T::splat(simd, T::from_f64(0.0)); C]; R];
        for v in 0..whole {
            let x: [T::Vector<S>; C] = array::from_fn(|c| x_whole[c][v]);
            for r in 0..R {
                for c in 0..C {
                    sums[r][c] = T::mul_add(simd, w_whole[r][v], x[c], sums[r][c]);
                }
            }
        }
        if !T::vectors(simd, x[0]).1.is_empty() {
            let x: [T::Vector<S>; C] = array::from_fn(|c| T::load_part(simd, T::vectors(simd, x[c]).1));
            for r in 0..R {
                let w = T::load_part(simd, T::vectors(simd, w[r]).1);
                for c in 0..C {
                    sums[r][c] = T::mul_add(simd, w, x[c], sums[r][c]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let s = &mut self.s[(i + r) * self.stride + j..][..C];
            for (s, sum) in s.iter_mut().zip(sums) {
                let sum = T::sum(simd, sum);
                *s = if start == 0 { sum } else { *s + sum };
            }
        }
    }
}

struct WeightGradient<'a, T> {
    d_w: &'a mut [T],
    stride: usize,
    first: usize,
    g: &'a RowMajor<T>,
    x: MatRef<'a, T>,
}

impl<T: Scalar> WithSimd for WeightGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = size_of::<T::Vector<S>>() / size_of::<T>();
        let k = self.x.nrows();
        let mut start = 0;
        while start < k {
            let vectors = (k - start) / lanes;
            // A strip of a few vectors of features of all images stays in the first-level cache for all units.
            if S::REGISTER_COUNT >= 32 && vectors >= 4 {
                self.strip::<S, 4>(simd, start, 4 * lanes);
                start += 4 * lanes;
            } else if vectors >= 2 {
                self.strip::<S, 2>(simd, start, 2 * lanes);
                start += 2 * lanes;
            } else if vectors == 1 {
                self.strip::<S, 1>(simd, start, lanes);
                start += lanes;
            } else {
                self.strip::<S, 1>(simd, start, k - start);
                start = k;
            }
        }
    }
}

impl<T: Scalar> WeightGradient<'_, T> {
    /// All units over `length` features from `start` on: `V` vectors, or a part of one.
    #[inline(always)]
    fn strip<S: Simd, const V: usize>(&mut self, simd: S, start: usize, length: usize) {
        let units = self.d_w.len() / self.stride;
        let mut i = 0;
        while i < units {
            if units - i >= TILE {
                self.tile::<S, TILE, V>(simd, start, length, i);
                i += TILE;
            } else {
                self.tile::<S, 1, V>(simd, start, length, i);
                i += 1;
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, start: usize, length: usize, i: usize) {
        let n = self.x.ncols();
        let g: [&[T]; R] = array::from_fn(|r| &self.g.row(self.first + i + r)[..n]);
        let mut sums = [[T::splat(simd, T::from_f64(0.0)); V]; R];
        for j in 0..n {
            let x = load::<T, S, V>(simd, &column(self.x, j)[start..][..length]);
            for r in 0..R {
                let g = T::splat(simd, g[r][j]);
                for v in 0..V {
                    sums[r][v] = T::mul_add(simd, g, x[v], sums[r][v]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let row = &mut self.d_w[(i + r) * self.stride + start..][..length];
            match T::vectors_mut(simd, row) {
                (whole, []) => whole.copy_from_slice(&sums),
                (_, part) => T::store_part(simd, part, sums[0]),
            }
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
