//! Kernels for products with images, and for small products of hidden layers.
//!
//! General products pack both matrices and cut the result into tiles of whole vectors, of which 50 units are no
//! multiple. All matrices here have contiguous rows, so nothing is packed, and there are two ways to multiply them:
//! - [`dots()`], C = A B^T: each element is a dot product of two rows, a tile of them at a time;
//! - [`combine()`], C = A B: each row of C is a combination of the rows of B, a tile of rows and a few vectors at a time.
//!
//! B may be images as bytes. A strip of it, as much as the first-level cache holds, then becomes numbers right before it
//! is used: as numbers, a mini-batch would fill a second-level cache that the weights need.
//!
//! Tiles fill the registers of the processor. Each element is one sum, in an order that depends on its length and on
//! the width of a vector: processors of different widths differ in the last bits; the shape of C changes none.

use std::array;
use std::env;
use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

use crate::{Pixels, Scalar};

mod combine;
mod dots;

pub(crate) use combine::{Factor, combine};
pub(crate) use dots::{GROUP_FOR_PIXELS as GROUP, dots};

/// Features of a block: in `f32`, those of a tile of units and of images fit into a first-level cache of 32 KiB, and
/// those of 50 units, with those of 100 images as numbers, into a second-level cache of 512 KiB.
pub const BLOCK: usize = 768;
/// Set to anything, this variable turns the kernels off, so that their results can be compared with faer's.
const OFF: &str = "KLAYER_NO_KERNELS";

static ON: LazyLock<bool> = LazyLock::new(|| env::var_os(OFF).is_none());

/// Whether products with images and small ones run on klayer's own kernels, and not all on faer.
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

    /// `count` rows from `first` on.
    pub(crate) fn rows(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.count, "rows of the matrix");
        Self { memory: self.memory.get(first * self.stride..).unwrap_or(&[]), count, ..self }
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

/// The factor B: as many rows of as many columns.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a, T> {
    /// Of numbers.
    Rows(Rows<'a, T>),
    /// Images as bytes, a row each.
    Pixels(Pixels<'a, T>),
}

impl<T: Scalar> Source<'_, T> {
    fn count(self) -> usize {
        match self {
            Self::Rows(rows) => rows.count,
            Self::Pixels(pixels) => pixels.ncols(),
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Rows(rows) => rows.length,
            Self::Pixels(pixels) => pixels.nrows(),
        }
    }

    /// `length` columns from `start` on.
    pub(crate) fn columns(self, start: usize, length: usize) -> Self {
        match self {
            Self::Rows(rows) => Self::Rows(rows.columns(start, length)),
            Self::Pixels(pixels) => Self::Pixels(pixels.features(start, length)),
        }
    }
}

/// What becomes of a product.
#[derive(Clone, Copy)]
pub(crate) enum Store<T> {
    /// C takes its place.
    Replace,
    /// C becomes `decay` C - `rate` times the product.
    Descend { decay: T, rate: T },
}

/// What `store` says of `c` and a product that is already there.
pub(crate) fn apply<T: Scalar>(c: &mut [T], product: &[T], store: Store<T>) {
    Arch::new().dispatch(Apply { c, product, store });
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
        let lanes = lanes::<T, S>();
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

/// Numbers in a vector.
fn lanes<T: Scalar, S: Simd>() -> usize {
    size_of::<T::Vector<S>>() / size_of::<T>()
}

/// `V` whole vectors, or for V = 1 a part of one.
#[inline(always)]
fn load<T: Scalar, S: Simd, const V: usize>(simd: S, values: &[T]) -> [T::Vector<S>; V] {
    match T::vectors(simd, values) {
        (whole, []) => array::from_fn(|v| whole[v]),
        (_, part) => [T::load_part(simd, part); V],
    }
}

/// Numbers that begin a cache line, on the stack.
#[repr(align(64))]
struct Aligned<T, const N: usize>([T; N]);

impl<T: Scalar, const N: usize> Aligned<T, N> {
    fn zeros() -> Self {
        Self([T::from_f64(0.0); N])
    }
}
