//! The product of wide layers, C = A B, from packed panels.
//!
//! A tile of C, 14 rows and two vectors on AVX-512, stays in the registers while terms are added to it. It reads a
//! panel of A, which stays in the L1 cache, and a panel of B. A block of panels of B stays in the L2 cache while the
//! panels of A pass by. Both factors may be stored as they are or transposed. A is never transposed: a tile reads single
//! numbers of it, which may lie in any order. B is, if its rows are columns.
//!
//! Each element of C is the sum of its terms in order, fused. Results do not depend on the shape of C, the blocks, the
//! threads or the vector width.

use pulp::{Arch, Simd, WithSimd};

use crate::kernels::combine::{Factor, Out, contiguous};
use crate::kernels::{Rows, Source, Store, lanes};
use crate::matrix::CACHE_LINE;
use crate::prefetch::prefetch;
use crate::{MatMut, RowMajor, Scalar};

mod panels;
mod tile;

use panels::{Panels, Place};
use tile::{Panel, STRIDE, TERMS, store};

pub(super) use tile::load;

/// Numbers of a block of B, a megabyte of `f32`.
const BLOCK: usize = 256 * 1024;
/// Columns of the widest panel of B.
const WIDEST: usize = 32;
/// Rows of the tallest panel of A.
const TALLEST: usize = 14;
/// Elements from one row of a strip to the next, for the widest block.
const STRIP: usize = BLOCK / TERMS + 16;
/// Vectors in a row of a tile.
const V: usize = 2;

/// Scratch memory of a thread.
#[derive(Debug, Clone)]
pub struct Memory<T> {
    /// A panel of A.
    a: RowMajor<T>,
    /// A block of B.
    b: RowMajor<T>,
    /// The product of a panel of A and the block of B, if it does not go to C.
    strip: RowMajor<T>,
}

impl<T: Scalar> Memory<T> {
    /// Memory for packed products, of which those with a rule or a rate have at most `terms` terms; `None` for no
    /// packed products. Also has room for `numbers` numbers.
    pub(crate) fn new(terms: Option<usize>, numbers: usize) -> Self {
        let packed = terms.map_or(0, |terms| BLOCK.max(WIDEST * terms));
        let panel = terms.map_or(0, |_| TALLEST * STRIDE);
        Self {
            a: RowMajor::zeros(1, panel),
            b: RowMajor::zeros(1, packed.max(numbers)),
            strip: RowMajor::zeros(1, terms.map_or(0, |_| TALLEST * STRIP)),
        }
    }

    /// Memory for any other use.
    pub(crate) fn numbers(&mut self) -> &mut [T] {
        self.b.row_mut(0)
    }
}

/// [`packed`](super::Kernels::packed) for a given vector width.
pub(super) fn packed_on<T: Scalar>(
    arch: Arch,
    out: Out<'_, T>,
    a: Factor<Rows<'_, T>>,
    b: Factor<Source<'_, T>>,
    memory: &mut Memory<T>,
) {
    arch.dispatch(Packed { out, a, b, memory });
}

struct Packed<'a, 'o, T> {
    out: Out<'o, T>,
    a: Factor<Rows<'a, T>>,
    b: Factor<Source<'a, T>>,
    memory: &'a mut Memory<T>,
}

impl<T: Scalar> WithSimd for Packed<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.product::<S, TALLEST, { TALLEST / 2 }>(simd);
        } else {
            self.product::<S, 6, 3>(simd);
        }
    }
}

impl<T: Scalar> Packed<'_, '_, T> {
    /// Computes C with panels of `R` rows, and if the last has at most `H`, with one of these.
    #[inline(always)]
    fn product<S: Simd, const R: usize, const H: usize>(mut self, simd: S) {
        let rows = match self.a {
            Factor::Rows(a) => a.count(),
            Factor::Transposed(a) => a.length(),
        };
        let (terms, columns) = match self.b {
            Factor::Rows(b) => (b.count(), b.length()),
            Factor::Transposed(b) => (b.length(), b.count()),
        };
        // Sums that do not go to C wait in the strip until all their terms are added.
        let aside = !matches!(self.out, Out::Matrix(_, Store::Replace));
        let chunk = if aside { terms } else { terms.min(TERMS) }.max(1);
        let width = V * lanes::<T, S>();
        let together = (BLOCK / chunk.max(TERMS) / width * width).max(width);
        for column in (0..columns).step_by(together) {
            // At least one pass: without terms, the sums are 0.
            for term in (0..terms.max(1)).step_by(chunk) {
                let panels = Panels::new::<T, S>(chunk.min(terms - term), together.min(columns - column));
                let memory = self.memory.b.row_mut(0);
                match self.b {
                    Factor::Rows(b) => {
                        panels.pack_rows(simd, b.rows(term, panels.terms).columns(column, panels.columns), memory);
                    }
                    Factor::Transposed(b) => {
                        panels.pack_columns(b.rows(column, panels.columns).columns(term, panels.terms), memory);
                    }
                }
                let block = Block { column, term, panels, aside };
                for row in (0..rows).step_by(R) {
                    let height = R.min(rows - row);
                    if height <= H {
                        self.rows::<S, H>(simd, &block, row, height);
                    } else {
                        self.rows::<S, R>(simd, &block, row, height);
                    }
                }
            }
        }
    }

    /// Computes `height` rows of C from row `row`, of the columns of a block, from its terms.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(&mut self, simd: S, block: &Block, row: usize, height: usize) {
        let panels = &block.panels;
        for pass in (0..panels.terms.max(1)).step_by(TERMS) {
            let (term, length) = (block.term + pass, TERMS.min(panels.terms - pass));
            let a = self.memory.a.row_mut(0);
            match self.a {
                Factor::Rows(from) => {
                    let (to, _) = a.as_chunks_mut::<STRIDE>();
                    for (i, to) in (row..row + height).zip(to) {
                        to[..length].copy_from_slice(&from.row(i)[term..][..length]);
                    }
                }
                Factor::Transposed(from) => {
                    let (to, _) = a.as_chunks_mut::<R>();
                    for (q, to) in (term..term + length).zip(to) {
                        let from = &from.row(q)[row..];
                        match from.first_chunk() {
                            Some(from) => *to = *from,
                            None => to[..from.len()].copy_from_slice(from),
                        }
                    }
                }
            }
            for p in 0..panels.count() {
                let (place, at) = panels.place(p, pass);
                let tile = Tile { row, height, place, at, terms: length, add: term > 0 };
                if tile.place.width == lanes::<T, S>() {
                    self.tile::<S, R, 1>(simd, block, tile);
                } else {
                    self.tile::<S, R, V>(simd, block, tile);
                }
            }
        }
        if block.aside {
            self.apply(simd, block, row, height);
        }
    }

    /// Adds the terms of a panel of A and one of B to a tile.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, block: &Block, tile: Tile) {
        self.prefetch(block, tile);
        let Memory { a, b, strip } = &mut *self.memory;
        let a = Panel::<T, R>::new(a.row(0), matches!(self.a, Factor::Transposed(_)));
        let Place { start, length, width } = tile.place;
        let b = T::vectors(simd, &b.row(0)[tile.at..][..tile.terms * width]).0.as_chunks().0;
        let mut sums = [[T::splat(simd, T::from_f64(0.0)); V]; R];
        match &mut self.out {
            Out::Matrix(c, Store::Replace) => {
                let (row, start) = (tile.row, block.column + start);
                let mut buffer = sums;
                if tile.add {
                    for (r, sums) in buffer.iter_mut().enumerate().take(tile.height) {
                        *sums = load(simd, part(c, row + r, start, length));
                    }
                    copy(&buffer, &mut sums);
                }
                a.add(simd, b, &mut sums);
                copy(&sums, &mut buffer);
                for (r, &sums) in buffer.iter().enumerate().take(tile.height) {
                    store(simd, part(c, row + r, start, length), sums);
                }
            }
            _ => {
                let (strip, _) = strip.row_mut(0).as_chunks_mut::<STRIP>();
                let strip: &mut [_; R] = strip.first_chunk_mut().expect("a strip has room for a panel");
                if tile.add {
                    for r in 0..R {
                        sums[r] = *vectors(simd, &mut strip[r], start);
                    }
                }
                a.add(simd, b, &mut sums);
                for r in 0..R {
                    *vectors(simd, &mut strip[r], start) = sums[r];
                }
            }
        }
    }

    /// Prefetches the rows of C that this tile, or if it adds to them the next, goes to: they are pages apart.
    #[inline(always)]
    fn prefetch(&mut self, block: &Block, tile: Tile) {
        let Place { start, length, .. } = tile.place;
        for i in tile.row..tile.row + tile.height {
            match &mut self.out {
                Out::Matrix(c, Store::Replace) => {
                    if tile.add {
                        let row = contiguous(c.as_mut().row_mut(i));
                        prefetch_part(row, block.column + start + length, length);
                    }
                }
                Out::Matrix(c, _) => prefetch_part(part(c, i, block.column + start, length), 0, length),
                Out::Update(c, state, _) => {
                    prefetch_part(part(c, i, block.column + start, length), 0, length);
                    prefetch_part(part(state, i, block.column + start, length), 0, length);
                }
            }
        }
    }

    /// Takes `height` rows of the strip to rows of C, from row `row`.
    #[inline(always)]
    fn apply<S: Simd>(&mut self, simd: S, block: &Block, row: usize, height: usize) {
        let (start, length) = (block.column, block.panels.columns);
        for r in 0..height {
            let product = &self.memory.strip.row(0)[r * STRIP..][..length];
            match &mut self.out {
                Out::Matrix(c, rule) => rule.apply(simd, part(c, row + r, start, length), product),
                Out::Update(c, state, update) => {
                    update(part(c, row + r, start, length), product, part(state, row + r, start, length));
                }
            }
        }
    }
}

/// Copies vectors one by one: in loops of constant length alone, they stay in registers.
#[inline(always)]
fn copy<M: Copy, const R: usize, const V: usize>(from: &[[M; V]; R], to: &mut [[M; V]; R]) {
    for r in 0..R {
        for v in 0..V {
            to[r][v] = from[r][v];
        }
    }
}

/// The vectors of a row of the strip from column `start`.
#[inline(always)]
fn vectors<T: Scalar, S: Simd, const V: usize>(simd: S, row: &mut [T; STRIP], start: usize) -> &mut [T::Vector<S>; V] {
    let vectors = &mut T::vectors_mut(simd, row).0[start / lanes::<T, S>()..];
    vectors.first_chunk_mut().expect("a strip has room for a block")
}

/// Prefetches `length` numbers, from `start`, as far as there are any.
#[inline(always)]
fn prefetch_part<T>(row: &[T], start: usize, length: usize) {
    for at in (start..start + length).step_by(CACHE_LINE / size_of::<T>()) {
        prefetch(row, at);
    }
}

/// `length` numbers of row `i`, from `start`.
#[inline(always)]
fn part<'a, T>(matrix: &'a mut MatMut<'_, T>, i: usize, start: usize, length: usize) -> &'a mut [T] {
    &mut contiguous(matrix.as_mut().row_mut(i))[start..][..length]
}

/// A block of B: its first column and term, and its panels.
struct Block {
    column: usize,
    term: usize,
    panels: Panels<V>,
    /// Whether the product goes to the strip first.
    aside: bool,
}

/// A tile of C and the terms to add to it.
#[derive(Clone, Copy)]
struct Tile {
    row: usize,
    height: usize,
    /// The columns of the tile in the block.
    place: Place,
    /// Where the terms begin in the block.
    at: usize,
    /// Number of terms.
    terms: usize,
    /// Whether to add to sums of earlier terms.
    add: bool,
}
