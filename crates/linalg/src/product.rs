//! Matrix products on faer, cut into tiles of [`TILE`] features whatever the number of threads.
//!
//! A fully connected layer needs three products, for W (m x k), X (k x n) and the gradient G (m x n) of its output:
//! - W X, a sum over k: [`sum_over_tiles`] computes a partial sum per tile of k and adds them in order;
//! - G X^T (m x k) and W^T G (k x n), in which k is an outer dimension: [`tile_by_tile`] fills one tile after another.
//!
//! Each tile is one sequential product, and partial sums are added in a fixed order: threads share out the tiles
//! but change no bit of the result.

use faer::Accum;
use faer::linalg::matmul::matmul;

use crate::{MatMut, MatRef, Par, RowMajor, Scalar};

/// Features per tile: as many as keep a tile of a batch of 100 in the second-level cache several times over.
pub const TILE: usize = 384;

/// The partial sums of [`sum_over_tiles`], allocated once for a product's shape.
#[derive(Clone, Debug)]
pub struct Partials<T> {
    tiles: Vec<RowMajor<T>>,
}

impl<T: Scalar> Partials<T> {
    /// For products of an `m x k` by a `k x n` matrix. Empty where k fits into one tile.
    pub fn new(m: usize, k: usize, n: usize) -> Self {
        let tiles = if k <= TILE { 0 } else { k.div_ceil(TILE) };
        Self { tiles: (0..tiles).map(|_| RowMajor::zeros(m, n)).collect() }
    }
}

/// `out = a b`, summed tile by tile over the inner dimension.
///
/// # Shapes
/// `out` is m x n, `a` m x k, `b` k x n; `partials` were made for exactly m and k and at least n.
///
/// # Panics
/// If the shapes do not agree.
pub fn sum_over_tiles<T: Scalar>(
    out: &mut RowMajor<T>,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    partials: &mut Partials<T>,
    par: &Par,
) {
    let (n, k) = (b.ncols(), a.ncols());
    assert_eq!((out.nrows(), out.ncols(), b.nrows()), (a.nrows(), n, k), "the shapes of a product do not agree");
    if k <= TILE {
        return multiply(out.as_mut(), a, b);
    }
    assert_eq!(partials.tiles.len(), k.div_ceil(TILE), "partial sums were made for another inner dimension");
    par.for_each(&mut partials.tiles, &|tile, partial| {
        let (start, len) = span(tile, k);
        multiply(partial.as_mut().subcols_mut(0, n), a.subcols(start, len), b.subrows(start, len));
    });
    for i in 0..out.nrows() {
        let out = out.row_mut(i);
        out.copy_from_slice(&partials.tiles[0].row(i)[..n]);
        for partial in &partials.tiles[1..] {
            for (sum, &term) in out.iter_mut().zip(partial.row(i)) {
                *sum += term;
            }
        }
    }
}

/// `out = a b`, tile by tile over the columns of `out`.
///
/// # Shapes
/// `out` is m x k, `a` m x n, `b` n x k, in any layout.
///
/// # Panics
/// If the shapes do not agree.
pub fn tile_by_tile<T: Scalar>(out: MatMut<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>, par: &Par) {
    let tiles = out.ncols().div_ceil(TILE);
    if tiles <= 1 {
        return multiply(out, a, b);
    }
    let middle = tiles / 2 * TILE;
    let (left, right) = out.split_at_col_mut(middle);
    let (b_left, b_right) = b.split_at_col(middle);
    par.join(|| tile_by_tile(left, a, b_left, par), || tile_by_tile(right, a, b_right, par));
}

/// Start and length of tile `tile` of `k` features.
fn span(tile: usize, k: usize) -> (usize, usize) {
    let start = tile * TILE;
    (start, TILE.min(k - start))
}

fn multiply<T: Scalar>(out: MatMut<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>) {
    matmul(out, Accum::Replace, a, b, T::from_f64(1.0), faer::Par::Seq);
}
