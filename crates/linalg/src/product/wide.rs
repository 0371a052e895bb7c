//! The products of wide layers: packed, in parts of rows and columns for the threads.

use crate::kernels::{self, Factor, Memory, Out, Rows, Source};
use crate::par::Share;
use crate::{MatMut, Par, Scalar};

/// Minimum numbers of units and images for which the products of a first layer are packed.
const FIRST: (usize, usize) = (128, 200);
/// Parts for the threads begin at multiples of these rows and columns, near the height and the width of a tile.
const TILE: (usize, usize) = (7, 32);

/// Whether the products of a layer are packed: decided by these speeds in GFLOP/s (packed and not; one thread, peak 185).
///
/// | m x k x n | S = W X | descend | W^T G |
/// | --- | ---: | ---: | ---: |
/// | 200 x 3072 x 100, images | 110, 131 | 136, 146 | |
/// | 1000 x 3072 x 100, images | 117, 122 | 128, 140 | |
/// | 1000 x 3072 x 500, images | 145, 122 | 151, 143 | |
/// | 1000 x 1000 x 100, hidden | 124, 141 | 129, 133 | 117, 112 |
/// | 1024 x 2048 x 500, hidden | 142, 137 | 142, 111 | 138, 108 |
pub(super) fn is_wide(units: usize, inputs: usize, images: usize, first: bool) -> bool {
    let wide = !first || units >= FIRST.0 && images >= FIRST.1;
    wide && units * inputs > super::SMALL && kernels::on()
}

/// Sends the product `a b` to `out`, on as many threads as `par` and `threads` have. The parts for the threads are as
/// square as possible, counted in tiles.
pub(super) fn wide<T: Scalar>(
    out: Out<'_, T>,
    a: Factor<Rows<'_, T>>,
    b: Factor<Source<'_, T>>,
    threads: &mut [Memory<T>],
    par: &Par,
) {
    let count = par.count().min(threads.len());
    par.share(&mut threads[..count], 0, Part { out, row: 0, column: 0 }, 1, &|_, part: Part<'_, T>, memory| {
        let Part { out, row, column } = part;
        let (rows, columns) = (out.c().nrows(), out.c().ncols());
        let a = match a {
            Factor::Rows(a) => Factor::Rows(a.rows(row, rows)),
            Factor::Transposed(a) => Factor::Transposed(a.columns(row, rows)),
        };
        let b = match b {
            Factor::Rows(b) => Factor::Rows(b.columns(column, columns)),
            Factor::Transposed(b) => Factor::Transposed(b.rows(column, columns)),
        };
        T::packed(out, a, b, memory);
    });
}

/// A part of C for a thread.
struct Part<'a, T> {
    out: Out<'a, T>,
    row: usize,
    column: usize,
}

impl<T: Scalar> Part<'_, T> {
    /// Numbers of tiles.
    fn tiles(&self) -> (usize, usize) {
        let c = self.out.c();
        (c.nrows().div_ceil(TILE.0), c.ncols().div_ceil(TILE.1))
    }
}

impl<T: Scalar> Share for Part<'_, T> {
    fn count(&self) -> usize {
        let (rows, columns) = self.tiles();
        rows.max(columns)
    }

    fn split(self, count: usize) -> (Self, Self) {
        let (row, column) = (self.row, self.column);
        let (tiles, columns) = self.tiles();
        if tiles >= columns {
            let rows = (count * TILE.0).min(self.out.c().nrows());
            let (a, b) = self.out.split(&|c: MatMut<'_, T>| c.split_at_row_mut(rows));
            (Self { out: a, row, column }, Self { out: b, row: row + rows, column })
        } else {
            let columns = (count * TILE.1).min(self.out.c().ncols());
            let (a, b) = self.out.split(&|c| c.split_at_col_mut(columns));
            (Self { out: a, row, column }, Self { out: b, row, column: column + columns })
        }
    }
}
