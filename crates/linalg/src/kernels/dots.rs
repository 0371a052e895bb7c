//! C = A B^T.
//!
//! The terms of an element are added in the lanes of 64 bytes: one vector of AVX-512, or several narrower ones. The lanes
//! are then added in halves. Results do not depend on the vector width.

use std::{array, mem};

use pulp::{Arch, Simd, WithSimd};

use crate::Scalar;
use crate::kernels::packed::load;
use crate::kernels::{Aligned, BLOCK, Rows, Source, Store, lanes};
use crate::matrix::CACHE_LINE;
use crate::simd::add_lanes;

/// Number of rows of A kept in the L2 cache while B streams through.
const GROUP: usize = 60;
/// The same if B is bytes: they are smaller and leave room for more rows, and every pass over B converts them again.
pub(crate) const GROUP_FOR_PIXELS: usize = 2 * GROUP;
/// Columns of the widest tile.
const WIDEST: usize = 5;

/// [`dots`](super::Kernels::dots) for a given vector width.
pub(super) fn dots_on<T: Scalar>(
    arch: Arch,
    c: &mut [T],
    stride: usize,
    a: Rows<'_, T>,
    b: Source<'_, T>,
    store: Store<T>,
) {
    let mut room;
    let strip = match b {
        Source::Rows(_) => &mut [][..],
        Source::Pixels(pixels) => {
            assert!(pixels.nrows() <= BLOCK, "more features than a block");
            room = Aligned::<T, { WIDEST * BLOCK }>::zeros();
            &mut room.0[..]
        }
    };
    arch.dispatch(Dots { c, stride, a, b, strip, store });
}

struct Dots<'a, T> {
    c: &'a mut [T],
    stride: usize,
    a: Rows<'a, T>,
    b: Source<'a, T>,
    /// Scratch memory for a converted strip of `b`, if `b` is bytes.
    strip: &'a mut [T],
    store: Store<T>,
}

impl<T: Scalar> WithSimd for Dots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let rows = if matches!(self.b, Source::Pixels(_)) { GROUP_FOR_PIXELS } else { GROUP };
        for first in (0..self.a.count).step_by(rows) {
            let end = self.a.count.min(first + rows);
            if const { size_of::<T::Vector<S>>() == CACHE_LINE } {
                self.group::<S, 5, WIDEST, 1>(simd, first, end);
            } else if const { size_of::<T::Vector<S>>() == CACHE_LINE / 2 } {
                self.group::<S, 3, 4, 2>(simd, first, end);
            } else if const { size_of::<T::Vector<S>>() == CACHE_LINE / 4 } {
                self.group::<S, 2, 2, 4>(simd, first, end);
            } else {
                self.plain(first, end);
            }
        }
    }
}

impl<T: Scalar> Dots<'_, T> {
    /// Computes rows `first..end` of C, one element at a time, without vectors.
    fn plain(&mut self, first: usize, end: usize) {
        let lanes = CACHE_LINE / size_of::<T>();
        for j in 0..self.b.count() {
            let [b] = match self.b {
                Source::Rows(rows) => [rows.row(j)],
                Source::Pixels(pixels) => pixels.convert(j, self.strip),
            };
            for i in first..end {
                let mut sums = [T::from_f64(0.0); CACHE_LINE];
                for (a, b) in self.a.row(i).chunks(lanes).zip(b.chunks(lanes)) {
                    for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                        *sum = a.fused(b, *sum);
                    }
                }
                let product = add_lanes(&mut sums[..lanes]);
                let c = &mut self.c[i * self.stride + j];
                *c = match self.store {
                    Store::Replace => product,
                    Store::Descend { decay, rate } => (-rate).fused(product, decay * *c),
                };
            }
        }
    }

    /// Computes rows `first..end` of C, in tiles of at most R x C. `P` vectors have 64 bytes.
    #[inline(always)]
    fn group<S: Simd, const R: usize, const C: usize, const P: usize>(&mut self, simd: S, first: usize, end: usize) {
        let mut j = 0;
        while j < self.b.count() {
            match self.b.count() - j {
                left if left >= C => {
                    self.strip::<S, R, C, P>(simd, first, end, j);
                    j += C;
                }
                2.. => {
                    self.strip::<S, R, 2, P>(simd, first, end, j);
                    j += 2;
                }
                _ => {
                    self.strip::<S, R, 1, P>(simd, first, end, j);
                    j += 1;
                }
            }
        }
    }

    /// Computes rows `first..end` of C columns, starting at column `j`.
    #[inline(always)]
    fn strip<S: Simd, const R: usize, const C: usize, const P: usize>(
        &mut self,
        simd: S,
        first: usize,
        end: usize,
        j: usize,
    ) {
        let room = mem::take(&mut self.strip);
        let b: [&[T]; C] = match self.b {
            Source::Rows(rows) => array::from_fn(|c| rows.row(j + c)),
            Source::Pixels(pixels) => pixels.convert(j, room),
        };
        let tiles = (end - first).div_ceil(R);
        let (mut i, mut tile) = (first, 0);
        while i < end {
            if let Source::Pixels(pixels) = self.b {
                // Prefetches part of the next strip while this tile is computed.
                pixels.prefetch(j + C, C, tile, tiles);
                tile += 1;
            }
            match end - i {
                left if left >= R => {
                    self.tile::<S, R, C, P>(simd, i, j, b);
                    i += R;
                }
                2.. => {
                    self.tile::<S, 2, C, P>(simd, i, j, b);
                    i += 2;
                }
                _ => {
                    self.tile::<S, 1, C, P>(simd, i, j, b);
                    i += 1;
                }
            }
        }
        self.strip = room;
    }

    /// Computes a tile of `R` rows and `C` columns.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize, const P: usize>(
        &mut self,
        simd: S,
        i: usize,
        j: usize,
        b: [&[T]; C],
    ) {
        let a: [&[T]; R] = array::from_fn(|r| self.a.row(i + r));
        // The whole vectors of each row; the remainders follow below. All rows have the same length.
        let lanes = lanes::<T, S>();
        let whole = b[0].len() / (P * lanes);
        let a_whole: [&[T::Vector<S>]; R] = array::from_fn(|r| &T::vectors(simd, a[r]).0[..whole * P]);
        let b_whole: [&[T::Vector<S>]; C] = array::from_fn(|c| &T::vectors(simd, b[c]).0[..whole * P]);
        let zeros = [[T::splat(simd, T::from_f64(0.0)); C]; R];
        let mut parts = [zeros; P];
        for (p, part) in parts.iter_mut().enumerate() {
            let mut sums = zeros;
            for v in 0..whole {
                let a: [T::Vector<S>; R] = array::from_fn(|r| a_whole[r][v * P + p]);
                for c in 0..C {
                    let b = b_whole[c][v * P + p];
                    for r in 0..R {
                        sums[r][c] = T::mul_add(simd, a[r], b, sums[r][c]);
                    }
                }
            }
            if whole * P * lanes < b[0].len() {
                let start = (whole * P + p) * lanes;
                let a: [T::Vector<S>; R] =
                    array::from_fn(|r| load::<T, S, 1>(simd, a[r].get(start..).unwrap_or(&[]))[0]);
                for c in 0..C {
                    let [b] = load(simd, b[c].get(start..).unwrap_or(&[]));
                    for r in 0..R {
                        sums[r][c] = T::mul_add(simd, a[r], b, sums[r][c]);
                    }
                }
            }
            *part = sums;
        }
        // The rule is chosen outside of the loops: a choice between both results would read C even to replace it.
        match self.store {
            Store::Replace => self.store(simd, i, j, &parts, |_, product| product),
            Store::Descend { decay, rate } => {
                self.store(simd, i, j, &parts, |c, product| (-rate).fused(product, decay * c));
            }
        }
    }

    /// Applies `rule` to the elements of C from row `i` and column `j`, and their products.
    #[inline(always)]
    fn store<S: Simd, const R: usize, const C: usize, const P: usize>(
        &mut self,
        simd: S,
        i: usize,
        j: usize,
        parts: &[[[T::Vector<S>; C]; R]; P],
        rule: impl Fn(T, T) -> T,
    ) {
        for (r, row) in self.c[i * self.stride..].chunks_mut(self.stride).take(R).enumerate() {
            for (c, value) in row[j..][..C].iter_mut().enumerate() {
                *value = rule(*value, total::<T, S, P>(simd, array::from_fn(|p| parts[p][r][c])));
            }
        }
    }
}

/// The sum of all lanes.
#[inline(always)]
fn total<T: Scalar, S: Simd, const P: usize>(simd: S, mut parts: [T::Vector<S>; P]) -> T {
    let (one, mut count) = (T::splat(simd, T::from_f64(1.0)), P);
    while count > 1 {
        count /= 2;
        for p in 0..count {
            parts[p] = T::mul_add(simd, parts[p + count], one, parts[p]);
        }
    }
    T::sum(simd, parts[0])
}
