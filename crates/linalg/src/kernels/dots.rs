//! C = A B^T.
//!
//! The terms of an element are added in the lanes of 64 bytes: one vector of AVX-512, or several narrower ones. The lanes
//! are then added in halves. Results do not depend on the vector width.

use std::{array, mem};

use pulp::{Arch, Simd, WithSimd};

use crate::Scalar;
use crate::kernels::packed::load;
use crate::kernels::{Aligned, BLOCK, Rows, Source, Store};
use crate::matrix::CACHE_LINE;

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
            // Branches of other widths are not compiled.
            if const { size_of::<T::Vector<S>>() == CACHE_LINE } {
                self.group::<S, 5, WIDEST, 1>(simd, first, end);
            } else if const { size_of::<T::Vector<S>>() == CACHE_LINE / 2 } {
                self.group::<S, 3, 2, 2>(simd, first, end);
            } else if const { size_of::<T::Vector<S>>() == CACHE_LINE / 4 } {
                self.group::<S, 2, 2, 4>(simd, first, end);
            } else if const { size_of::<T::Vector<S>>() == CACHE_LINE / 8 } {
                self.group::<S, 2, 2, 8>(simd, first, end);
            } else {
                self.group::<S, 2, 2, 16>(simd, first, end);
            }
        }
    }
}

impl<T: Scalar> Dots<'_, T> {
    /// Computes rows `first..end` of C, in tiles of at most R x C. A vector of `P` parts has 64 bytes.
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
        let whole = T::vectors(simd, b[0]).0.len() / P;
        let a_whole: [&[[T::Vector<S>; P]]; R] =
            array::from_fn(|r| &T::vectors(simd, a[r]).0.as_chunks::<P>().0[..whole]);
        let b_whole: [&[[T::Vector<S>; P]]; C] =
            array::from_fn(|c| &T::vectors(simd, b[c]).0.as_chunks::<P>().0[..whole]);
        let mut sums = [[[T::splat(simd, T::from_f64(0.0)); P]; C]; R];
        for v in 0..whole {
            add::<T, S, R, C, P>(simd, &mut sums, array::from_fn(|r| a_whole[r][v]), array::from_fn(|c| b_whole[c][v]));
        }
        let start = whole * CACHE_LINE / size_of::<T>();
        if start < b[0].len() {
            add::<T, S, R, C, P>(
                simd,
                &mut sums,
                a.map(|a| load(simd, &a[start..])),
                b.map(|b| load(simd, &b[start..])),
            );
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let row = &mut self.c[(i + r) * self.stride + j..][..C];
            for (c, sum) in row.iter_mut().zip(sums) {
                let sum = total::<T, S, P>(simd, sum);
                *c = match self.store {
                    Store::Replace => sum,
                    Store::Descend { decay, rate } => (-rate).fused(sum, decay * *c),
                };
            }
        }
    }
}

/// Adds the products of the vectors of `R` rows of A and `C` rows of B to `sums`.
#[inline(always)]
fn add<T: Scalar, S: Simd, const R: usize, const C: usize, const P: usize>(
    simd: S,
    sums: &mut [[[T::Vector<S>; P]; C]; R],
    a: [[T::Vector<S>; P]; R],
    b: [[T::Vector<S>; P]; C],
) {
    for p in 0..P {
        for c in 0..C {
            for r in 0..R {
                sums[r][c][p] = T::mul_add(simd, a[r][p], b[c][p], sums[r][c][p]);
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
