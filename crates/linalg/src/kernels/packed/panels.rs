//! Panels of B: for each term, the same few vectors of columns, one term after another.

use pulp::Simd;

use super::tile::{load, store};
use crate::Scalar;
use crate::images::{SHEET, WORD};
use crate::kernels::{Rows, Source, lanes};

/// The panels of a block of B: `V` vectors wide, and the last one a single vector if that is enough.
pub(super) struct Panels<const V: usize> {
    pub(super) terms: usize,
    pub(super) columns: usize,
    lanes: usize,
}

impl<const V: usize> Panels<V> {
    pub(super) fn new<T: Scalar, S: Simd>(terms: usize, columns: usize) -> Self {
        Self { terms, columns, lanes: lanes::<T, S>() }
    }

    /// Number of panels.
    pub(super) fn count(&self) -> usize {
        self.columns.div_ceil(V * self.lanes)
    }

    /// The columns of panel `p`, and the place in memory of the term `first`.
    #[inline(always)]
    pub(super) fn place(&self, p: usize, first: usize) -> (Place, usize) {
        let start = p * V * self.lanes;
        let length = (self.columns - start).min(V * self.lanes);
        let width = if length <= self.lanes { self.lanes } else { V * self.lanes };
        (Place { start, length, width }, start * self.terms + first * width)
    }

    /// Packs a block of B, whose rows are terms.
    #[inline(always)]
    pub(super) fn pack_rows<T: Scalar, S: Simd>(&self, simd: S, b: Source<'_, T>, memory: &mut [T]) {
        for p in 0..self.count() {
            let (Place { start, length, width }, at) = self.place(p, 0);
            let panel = memory[at..][..self.terms * width].chunks_exact_mut(width);
            match b.columns(start, length) {
                Source::Rows(b) if width == self.lanes => {
                    for (q, to) in panel.enumerate() {
                        store(simd, to, load::<T, S, 1>(simd, b.row(q)));
                    }
                }
                Source::Rows(b) => {
                    for (q, to) in panel.enumerate() {
                        store(simd, to, load::<T, S, V>(simd, b.row(q)));
                    }
                }
                Source::Pixels(b) => {
                    for (q, to) in panel.enumerate() {
                        b.write_start(q, &mut to[..length]);
                    }
                }
            }
        }
    }

    /// Packs a block of B, whose rows are columns. A sheet holds whole panels, whatever the width of a vector.
    #[inline(always)]
    pub(super) fn pack_columns<T: Scalar>(&self, b: Source<'_, T>, memory: &mut [T]) {
        let mut block = [[T::from_f64(0.0); SHEET]; WORD];
        for column in (0..self.columns).step_by(SHEET) {
            match b {
                Source::Rows(b) => {
                    for term in (0..self.terms).step_by(WORD) {
                        transpose(b, column, term, &mut block);
                        self.distribute(column, term, &block, memory);
                    }
                }
                Source::Pixels(b) => {
                    let sheet = b.sheet(column);
                    for term in (0..self.terms).step_by(WORD) {
                        b.transpose(&sheet, term, &mut block);
                        self.distribute(column, term, &block, memory);
                    }
                }
            }
        }
    }

    /// Copies a transposed block, from this column and term of B, to its panels.
    #[inline(always)]
    fn distribute<T: Scalar>(&self, column: usize, term: usize, block: &[[T; SHEET]; WORD], memory: &mut [T]) {
        let (whole, end) = (V * self.lanes, self.columns.min(column + SHEET));
        for p in column / whole..end.div_ceil(whole) {
            let (Place { start, width, .. }, at) = self.place(p, term);
            if width == SHEET && self.terms - term >= WORD {
                for (to, from) in memory[at..].as_chunks_mut().0.iter_mut().zip(block) {
                    *to = *from;
                }
                continue;
            }
            let panel = memory[at..].chunks_exact_mut(width).take(self.terms - term);
            for (to, from) in panel.zip(block) {
                to.copy_from_slice(&from[start - column..][..width]);
            }
        }
    }
}

/// The columns of a panel, and its width in memory.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) width: usize,
}

/// Writes the numbers of rows from `row`, and columns from `column`, of `b` to columns and rows of `block`, as far as
/// `b` reaches.
#[inline(always)]
fn transpose<T: Scalar>(b: Rows<'_, T>, row: usize, column: usize, block: &mut [[T; SHEET]; WORD]) {
    for j in 0..SHEET.min(b.count() - row) {
        let from = &b.row(row + j)[column..];
        if let Some(from) = from.first_chunk::<WORD>() {
            for q in 0..WORD {
                block[q][j] = from[q];
            }
        } else {
            for (block, &from) in block.iter_mut().zip(from) {
                block[j] = from;
            }
        }
    }
}
