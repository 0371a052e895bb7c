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
use crate::{MatMut, RowMajor, Scalar};

mod panels;
mod tile;

use panels::{Panels, Place};
use tile::{Panel, STRIDE, TERMS, load, store};

/// Numbers of a block of B, half a megabyte of `f32`.
const BLOCK: usize = 128 * 1024;
/// Columns of the widest panel of B.
const WIDEST: usize = 32;
/// Rows of the tallest panel of A.
const TALLEST: usize = 14;
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
            strip: RowMajor::zeros(TALLEST, terms.map_or(0, |_| BLOCK / TERMS)),
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
                let tile = Tile { row, height, place, at, length, add: term > 0 };
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
        let Memory { a, b, strip } = &mut *self.memory;
        let a = Panel::<T, R>::new(a.row(0), matches!(self.a, Factor::Transposed(_)));
        let width = tile.place.width;
        let b = T::vectors(simd, &b.row(0)[tile.at..][..tile.length * width]).0.as_chunks().0;
        let mut sums = [[T::splat(simd, T::from_f64(0.0)); V]; R];
        if tile.add {
            for r in 0..R {
                if r < tile.height {
                    sums[r] = load(simd, self.out.row(strip, block, tile, r));
                }
            }
        }
        a.add(simd, b, &mut sums);
        for r in 0..R {
            if r < tile.height {
                store(simd, self.out.row(strip, block, tile, r), sums[r]);
            }
        }
    }

    /// Takes `height` rows of the strip to rows of C, from row `row`.
    #[inline(always)]
    fn apply<S: Simd>(&mut self, simd: S, block: &Block, row: usize, height: usize) {
        let (start, length) = (block.column, block.panels.columns);
        for r in 0..height {
            let product = &self.memory.strip.row(r)[..length];
            match &mut self.out {
                Out::Matrix(c, rule) => rule.apply(simd, part(c, row + r, start, length), product),
                Out::Update(c, state, update) => {
                    update(part(c, row + r, start, length), product, part(state, row + r, start, length));
                }
            }
        }
    }
}

impl<T> Out<'_, T> {
    /// Where the sums of row `r` of a tile are.
    #[inline(always)]
    fn row<'a>(&'a mut self, strip: &'a mut RowMajor<T>, block: &Block, tile: Tile, r: usize) -> &'a mut [T]
    where
        T: Scalar,
    {
        let Place { start, length, width } = tile.place;
        match self {
            Out::Matrix(c, Store::Replace) => part(c, tile.row + r, block.column + start, length),
            _ => &mut strip.row_mut(r)[start..][..width],
        }
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
    length: usize,
    /// Whether to add to sums of earlier terms.
    add: bool,
}
