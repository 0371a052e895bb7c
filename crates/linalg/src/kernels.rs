//! Kernels for products with images, and for small products of hidden layers.
//!
//! General products pack both matrices and cut the result into tiles of whole vectors, of which 50 units are no
//! multiple. All matrices here have contiguous rows, so nothing is packed, and there are two ways to multiply them:
//! - [`dots`](Kernels::dots), C = A B^T: each element is a dot product of two rows, a tile of them at a time;
//! - [`combine`](Kernels::combine), C = A B: each row of C is a combination of the rows of B, a tile of rows and a few vectors at a time.
//!
//! B may be images as bytes. A strip of it, as much as the first-level cache holds, then becomes numbers right before it
//! is used: as numbers, a mini-batch would fill a second-level cache that the weights need.
//!
//! Tiles fill the registers of the processor. Each element is one sum, in an order that depends on its length and on
//! the width of a vector: processors of different widths differ in the last bits; the shape of C changes none.

use std::array;
use std::env;
use std::sync::LazyLock;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef};
use pulp::{Arch, Simd, WithSimd};

use crate::{Pixels, Scalar};

mod combine;
mod dots;

pub(crate) use combine::Factor;
pub(crate) use dots::GROUP_FOR_PIXELS;

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

/// The products, compiled once for each type: in this crate, and not again in every crate that multiplies.
pub trait Kernels: Sized {
    /// `c = a b^T`, stored as `store` says; the rows of `c` lie `stride` apart.
    ///
    /// # Panics
    /// If `b` are bytes of more than [`BLOCK`] features.
    fn dots(c: &mut [Self], stride: usize, a: Rows<'_, Self>, b: Source<'_, Self>, store: Store<Self>);
    /// `c = a b`, stored as `store` says.
    fn combine(c: MatMut<'_, Self>, a: Factor<'_, Self>, b: Source<'_, Self>, store: Store<Self>);
    /// Stores `product` in `c` as `store` says.
    fn apply(c: &mut [Self], product: &[Self], store: Store<Self>);
    /// `c = alpha a b`, or adds it to `c`, by faer.
    fn multiply(c: MatMut<'_, Self>, accum: Accum, a: MatRef<'_, Self>, b: MatRef<'_, Self>, alpha: Self);
}

macro_rules! kernels {
    ($type:ident) => {
        impl Kernels for $type {
            fn dots(c: &mut [Self], stride: usize, a: Rows<'_, Self>, b: Source<'_, Self>, store: Store<Self>) {
                dots::dots_on(Arch::new(), c, stride, a, b, store);
            }
            fn combine(c: MatMut<'_, Self>, a: Factor<'_, Self>, b: Source<'_, Self>, store: Store<Self>) {
                combine::combine_on(Arch::new(), c, a, b, store);
            }
            fn apply(c: &mut [Self], product: &[Self], store: Store<Self>) {
                Arch::new().dispatch(Apply { c, product, store });
            }
            fn multiply(c: MatMut<'_, Self>, accum: Accum, a: MatRef<'_, Self>, b: MatRef<'_, Self>, alpha: Self) {
                matmul(c, accum, a, b, alpha, faer::Par::Seq);
            }
        }
    };
}

kernels!(f32);
kernels!(f64);

/// Some rows of a matrix, each contiguous, and of each row the same columns.
#[derive(Clone, Copy)]
pub struct Rows<'a, T> {
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
pub enum Source<'a, T> {
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
pub enum Store<T> {
    /// C takes its place.
    Replace,
    /// C becomes `decay` C - `rate` times the product.
    Descend { decay: T, rate: T },
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

#[cfg(test)]
mod tests {
    use super::combine::combine_on;
    use super::dots::dots_on;
    use super::*;
    use crate::random::{fill_normal, stream};
    use crate::{ColMajor, Par, RowMajor};

    /// The widths of vectors that this processor has, and single numbers.
    fn widths() -> Vec<Arch> {
        let mut widths = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        widths.extend(pulp::x86::V3::try_new().map(Arch::V3));
        widths
    }

    fn normal<T: Scalar>(rows: usize, cols: usize, seed: u64) -> RowMajor<T> {
        let mut matrix = RowMajor::zeros(rows, cols);
        fill_normal(&mut matrix, 1.0, &mut stream(seed, "kernels"));
        matrix
    }

    fn transposed<T: Scalar>(matrix: &RowMajor<T>) -> RowMajor<T> {
        let mut transposed = RowMajor::zeros(matrix.ncols(), matrix.nrows());
        transposed.as_mut().copy_from(matrix.as_ref().transpose());
        transposed
    }

    /// Both kernels, with both forms of A, on an A of m x k and a B of k x n.
    fn assert_products<T: Scalar>(arch: Arch, m: usize, k: usize, n: usize, unit: f64) {
        let (a, b, old) = (normal::<T>(m, k, 1), normal::<T>(k, n, 2), normal::<T>(m, n, 3));
        let (a_t, b_t) = (transposed(&a), transposed(&b));
        let (decay, rate) = (0.5, 0.25);
        let descend = Store::Descend { decay: T::from_f64(decay), rate: T::from_f64(rate) };
        for (store, decay, rate) in [(Store::Replace, 0.0, -1.0), (descend, decay, rate)] {
            let mut found = [old.clone(), old.clone(), old.clone()];
            let (c, stride) = found[0].strided_mut();
            dots_on(arch, c, stride, a.view(), Source::Rows(b_t.view()), store);
            combine_on(arch, found[1].as_mut(), Factor::Rows(a.view()), Source::Rows(b.view()), store);
            combine_on(arch, found[2].as_mut(), Factor::Transposed(a_t.view()), Source::Rows(b.view()), store);
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let terms = a.row(i).iter().zip(b_t.row(j)).map(|(a, b)| a.to_f64() * b.to_f64());
                let (sum, size) = terms.fold((0.0, 1.0), |(sum, size), term| (sum + term, size + f64::abs(term)));
                let expected = decay * old.row(i)[j].to_f64() - rate * sum;
                for found in &found {
                    let found = found.row(i)[j].to_f64();
                    let close = (found - expected).abs() <= unit * (k as f64 + 4.0) * size;
                    assert!(close, "{arch:?} {m} x {k} x {n}, at {i}, {j}: {found} for {expected}");
                }
            }
        }
    }

    /// Products with images are the same whether these are bytes or the numbers that the bytes become.
    fn assert_bytes<T: Scalar>(arch: Arch, m: usize, features: usize, images: usize) {
        let bytes: Vec<u8> = (0..features * images).map(|i| (i * i / 7 % 256) as u8).collect();
        let bytes: Vec<&[u8]> = bytes.chunks(features).collect();
        let mean: Vec<T> = (0..features).map(|i| T::from_f64(120.0 + i as f64 / 8.0)).collect();
        let pixels = Pixels::new(&bytes, &mean, &mean);
        let mut numbers = ColMajor::zeros(features, images);
        pixels.write(&mut numbers, &Par::Seq);
        let (w, g) = (normal::<T>(m, features, 1), normal::<T>(m, images, 2));
        let products = [Source::Pixels(pixels), Source::Rows(numbers.as_ref().view())].map(|x| {
            let (mut s, mut d_w) = (RowMajor::<T>::zeros(m, images), RowMajor::<T>::zeros(m, features));
            let (c, stride) = s.strided_mut();
            dots_on(arch, c, stride, w.view(), x, Store::Replace);
            combine_on(arch, d_w.as_mut(), Factor::Rows(g.view()), x, Store::Replace);
            let bits = |matrix: RowMajor<T>| matrix.rows().flatten().map(|x| x.to_f64().to_bits()).collect::<Vec<_>>();
            (bits(s), bits(d_w))
        });
        assert!(products[0] == products[1], "{arch:?}: {m} x {features}, {images} images");
    }

    /// A processor runs the tiles of its widest vectors alone; here it runs those of the others that it has, too.
    #[test]
    fn the_tiles_of_every_width_of_vectors_that_there_is_agree_with_a_triple_loop() {
        for arch in widths() {
            for (m, k, n) in [(1, 1, 1), (3, 20, 4), (11, 131, 67), (64, 70, 23), (7, 300, 130)] {
                assert_products::<f32>(arch, m, k, n, f64::from(f32::EPSILON));
                assert_products::<f64>(arch, m, k, n, f64::EPSILON);
            }
            for (m, features, images) in [(7, 37, 3), (11, 200, 13), (50, 768, 131)] {
                assert_bytes::<f32>(arch, m, features, images);
                assert_bytes::<f64>(arch, m, features, images);
            }
        }
    }
}
