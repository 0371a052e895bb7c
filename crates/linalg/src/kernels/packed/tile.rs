//! The inner loop of the packed product: a tile of C, from panels of A and B.

use std::array;

use pulp::Simd;

use crate::Scalar;

/// Number of terms added to a tile in one pass.
pub(super) const TERMS: usize = 512;
/// Elements from one row of a panel of A to the next: not a power of two, so that equal offsets in all rows do not
/// compete for the same set of the L1 cache.
pub(super) const STRIDE: usize = TERMS + 16;

/// A panel of `R` rows of A.
#[derive(Clone, Copy)]
pub(super) enum Panel<'a, T, const R: usize> {
    /// The terms of each row one after another.
    Rows(&'a [[T; STRIDE]; R]),
    /// The rows of each term one after another.
    Terms(&'a [[T; R]]),
}

impl<'a, T: Scalar, const R: usize> Panel<'a, T, R> {
    /// The panel in `memory`.
    #[inline(always)]
    pub(super) fn new(memory: &'a [T], transposed: bool) -> Self {
        if transposed {
            Self::Terms(memory.as_chunks().0)
        } else {
            Self::Rows(memory.as_chunks().0.first_chunk().expect("a panel has room for its rows"))
        }
    }

    /// Adds to `sums` the products of the panel and `b`, which has at most [`TERMS`] terms of `V` vectors.
    ///
    /// Each element has one accumulator, to which the terms are added in order: its bits do not depend on the shape of
    /// the tile, the number of passes or the width of a vector.
    #[inline(always)]
    pub(super) fn add<S: Simd, const V: usize>(
        self,
        simd: S,
        b: &[[T::Vector<S>; V]],
        sums: &mut [[T::Vector<S>; V]; R],
    ) {
        match self {
            Self::Rows(a) => {
                for q in 0..b.len().min(TERMS) {
                    let b = b[q];
                    for r in 0..R {
                        let a = T::splat(simd, a[r][q]);
                        for v in 0..V {
                            sums[r][v] = T::mul_add(simd, a, b[v], sums[r][v]);
                        }
                    }
                }
            }
            Self::Terms(a) => {
                for (a, b) in a.iter().zip(b) {
                    for r in 0..R {
                        let a = T::splat(simd, a[r]);
                        for v in 0..V {
                            sums[r][v] = T::mul_add(simd, a, b[v], sums[r][v]);
                        }
                    }
                }
            }
        }
    }
}

/// Loads `V` vectors from the start of `values`, and zeros beyond its end.
#[inline(always)]
pub(in crate::kernels) fn load<T: Scalar, S: Simd, const V: usize>(simd: S, values: &[T]) -> [T::Vector<S>; V] {
    let (whole, part) = T::vectors(simd, values);
    if let Some(&whole) = whole.first_chunk() {
        return whole;
    }
    array::from_fn(|v| match v.cmp(&whole.len()) {
        std::cmp::Ordering::Less => whole[v],
        std::cmp::Ordering::Equal => T::load_part(simd, part),
        std::cmp::Ordering::Greater => T::splat(simd, T::from_f64(0.0)),
    })
}

/// Stores `V` vectors to `values`, as far as it reaches.
#[inline(always)]
pub(super) fn store<T: Scalar, S: Simd, const V: usize>(simd: S, values: &mut [T], vectors: [T::Vector<S>; V]) {
    let (whole, part) = T::vectors_mut(simd, values);
    if let Some(whole) = whole.first_chunk_mut() {
        *whole = vectors;
        return;
    }
    let count = whole.len();
    whole.copy_from_slice(&vectors[..count]);
    if count < V {
        T::store_part(simd, part, vectors[count]);
    }
}
