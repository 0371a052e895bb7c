//! Kernels for products with images and for small products of hidden layers.
//!
//! General matrix multiplication packs both matrices and divides the result into tiles of whole vectors; 50 units are
//! not a multiple of a vector. All matrices here have contiguous rows, so no packing is needed. There are two kernels
//! without it, and one for wide layers:
//! - [`dots`](Kernels::dots), C = A B^T: each element is a dot product of two rows; computes a tile of elements at a time;
//! - [`combine`](Kernels::combine), C = A B: each row of C is a linear combination of the rows of B; computes a tile of a few rows and
//!   vectors at a time;
//! - [`packed`](Kernels::packed), C = A B, with either factor transposed.
//!
//! B may be images as bytes. In that case the kernels convert a strip of B, as much as fits in the L1 cache, right
//! before they use it: converted as a whole, a mini-batch would fill the L2 cache, which the weights need.
//!
//! A tile fills the registers of the processor. The order of summation of an element depends only on the number of
//! terms: results depend neither on the shape of C nor on the vector width.

use std::array;
use std::env;
use std::sync::LazyLock;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef};
use pulp::{Simd, WithSimd};

use crate::dct::{Dct, DctMemory};
use crate::simd::arch;
use crate::{Pixels, Scalar};

mod combine;
mod dots;
mod packed;

pub(crate) use combine::{Factor, Out};
pub(crate) use dots::GROUP_FOR_PIXELS;
pub(crate) use packed::Memory;

/// Number of features in a block. In `f32`, a block of a tile of units and images fits in an L1 cache of 32 KiB; a
/// block of 50 units and 100 converted images fits in an L2 cache of 512 KiB.
pub const BLOCK: usize = 768;
/// Environment variable that turns the kernels off when set to any value, to compare their results with faer's.
const OFF: &str = "KLAYER_NO_KERNELS";

static ON: LazyLock<bool> = LazyLock::new(|| env::var_os(OFF).is_none());

/// Whether products with images and small products run on klayer's kernels; otherwise all products run on faer.
pub fn on() -> bool {
    *ON
}

/// The products and the transform. They are compiled once for each type in this crate, and not again in every crate that multiplies.
pub trait Kernels: Sized {
    /// Applies `store` to `c` and `a b^T`; the rows of `c` are `stride` elements apart.
    ///
    /// # Panics
    /// If `b` holds bytes of more than [`BLOCK`] features.
    fn dots(c: &mut [Self], stride: usize, a: Rows<'_, Self>, b: Source<'_, Self>, store: Store<Self>);
    /// Sends `a b` to `out`.
    fn combine(out: Out<'_, Self>, a: Factor<Rows<'_, Self>>, b: Source<'_, Self>);
    /// Sends `a b` to `out`, from packed panels.
    fn packed(out: Out<'_, Self>, a: Factor<Rows<'_, Self>>, b: Factor<Source<'_, Self>>, memory: &mut Memory<Self>);
    /// Applies `store` to `c` and an already computed `product`.
    fn apply(c: &mut [Self], product: &[Self], store: Store<Self>);
    /// `c = alpha a b`, or adds that to `c`, with faer.
    fn multiply(c: MatMut<'_, Self>, accum: Accum, a: MatRef<'_, Self>, b: MatRef<'_, Self>, alpha: Self);
    /// [`Dct::forward`].
    fn spectrum(dct: &Dct<Self>, image: &mut [Self], scale: &[Self], shift: &[Self], memory: &mut DctMemory<Self>);
}

macro_rules! kernels {
    ($type:ident) => {
        impl Kernels for $type {
            fn dots(c: &mut [Self], stride: usize, a: Rows<'_, Self>, b: Source<'_, Self>, store: Store<Self>) {
                dots::dots_on(arch(), c, stride, a, b, store);
            }
            fn combine(out: Out<'_, Self>, a: Factor<Rows<'_, Self>>, b: Source<'_, Self>) {
                combine::combine_on(arch(), out, a, b);
            }
            fn packed(
                out: Out<'_, Self>,
                a: Factor<Rows<'_, Self>>,
                b: Factor<Source<'_, Self>>,
                memory: &mut Memory<Self>,
            ) {
                packed::packed_on(arch(), out, a, b, memory);
            }
            fn apply(c: &mut [Self], product: &[Self], store: Store<Self>) {
                arch().dispatch(Apply { c, product, store });
            }
            fn multiply(c: MatMut<'_, Self>, accum: Accum, a: MatRef<'_, Self>, b: MatRef<'_, Self>, alpha: Self) {
                matmul(c, accum, a, b, alpha, faer::Par::Seq);
            }
            fn spectrum(dct: &Dct<Self>, x: &mut [Self], scale: &[Self], shift: &[Self], memory: &mut DctMemory<Self>) {
                dct.spectrum(x, scale, shift, memory);
            }
        }
    };
}

kernels!(f32);
kernels!(f64);

/// A block of a matrix with contiguous rows: some rows, and the same columns of each.
#[derive(Clone, Copy)]
pub struct Rows<'a, T> {
    memory: &'a [T],
    stride: usize,
    count: usize,
    length: usize,
}

impl<'a, T> Rows<'a, T> {
    /// `count` rows of `length` columns, `stride` apart in `memory`.
    pub(crate) fn new(memory: &'a [T], stride: usize, count: usize, length: usize) -> Self {
        Self { memory, stride, count, length }
    }

    /// `count` rows, starting at `first`.
    pub(crate) fn rows(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.count, "rows out of bounds");
        Self { memory: self.memory.get(first * self.stride..).unwrap_or(&[]), count, ..self }
    }

    /// `length` columns, starting at `start`.
    pub(crate) fn columns(self, start: usize, length: usize) -> Self {
        assert!(start + length <= self.length, "columns out of bounds");
        Self { memory: self.memory.get(start..).unwrap_or(&[]), length, ..self }
    }

    /// Number of rows.
    #[inline(always)]
    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// Number of columns.
    #[inline(always)]
    pub(crate) fn length(self) -> usize {
        self.length
    }

    /// Row `i`.
    #[inline(always)]
    pub(crate) fn row(self, i: usize) -> &'a [T] {
        &self.memory[i * self.stride..][..self.length]
    }
}

/// The factor B.
#[derive(Clone, Copy)]
pub enum Source<'a, T> {
    /// Rows of numbers.
    Rows(Rows<'a, T>),
    /// Images as bytes, one per row.
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

    /// `count` rows, starting at `first`.
    pub(crate) fn rows(self, first: usize, count: usize) -> Self {
        match self {
            Self::Rows(rows) => Self::Rows(rows.rows(first, count)),
            Self::Pixels(pixels) => Self::Pixels(pixels.images(first, count)),
        }
    }

    /// `length` columns, starting at `start`.
    pub(crate) fn columns(self, start: usize, length: usize) -> Self {
        match self {
            Self::Rows(rows) => Self::Rows(rows.columns(start, length)),
            Self::Pixels(pixels) => Self::Pixels(pixels.features(start, length)),
        }
    }
}

/// How to store a product in C.
#[derive(Clone, Copy)]
pub enum Store<T> {
    /// C = product.
    Replace,
    /// C = `decay` C - `rate` product.
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
        self.store.apply(simd, self.c, self.product);
    }
}

impl<T: Scalar> Store<T> {
    /// Applies this to `c` and an already computed `product`.
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, c: &mut [T], product: &[T]) {
        let lanes = lanes::<T, S>();
        for (c, product) in c.chunks_mut(lanes).zip(product.chunks(lanes)) {
            self.store(simd, c, load::<T, S, 1>(simd, product));
        }
    }

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

/// Number of lanes in a vector.
fn lanes<T: Scalar, S: Simd>() -> usize {
    size_of::<T::Vector<S>>() / size_of::<T>()
}

/// Loads `V` whole vectors, or for V = 1 possibly a partial one.
#[inline(always)]
fn load<T: Scalar, S: Simd, const V: usize>(simd: S, values: &[T]) -> [T::Vector<S>; V] {
    match T::vectors(simd, values) {
        (whole, []) => array::from_fn(|v| whole[v]),
        (_, part) => [T::load_part(simd, part); V],
    }
}

/// An array on the stack that begins a cache line.
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
    use super::packed::packed_on;
    use pulp::Arch;

    use super::*;
    use crate::random::{fill_normal, stream};
    use crate::simd::widths;
    use crate::{ColMajor, Par, RowMajor};

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

    fn bits<T: Scalar>(matrix: &RowMajor<T>) -> Vec<u64> {
        matrix.rows().flatten().map(|x| x.to_f64().to_bits()).collect()
    }

    /// Checks both kernels, with both forms of A, for A of m x k and B of k x n. Returns the bits of the products.
    fn products<T: Scalar>(arch: Arch, m: usize, k: usize, n: usize, unit: f64) -> Vec<Vec<u64>> {
        let (a, b, old) = (normal::<T>(m, k, 1), normal::<T>(k, n, 2), normal::<T>(m, n, 3));
        let (a_t, b_t) = (transposed(&a), transposed(&b));
        let (decay, rate) = (0.5, 0.25);
        let descend = Store::Descend { decay: T::from_f64(decay), rate: T::from_f64(rate) };
        let mut all = Vec::new();
        for (store, decay, rate) in [(Store::Replace, 0.0, -1.0), (descend, decay, rate)] {
            let mut found = [old.clone(), old.clone(), old.clone()];
            let (c, stride) = found[0].strided_mut();
            dots_on(arch, c, stride, a.view(), Source::Rows(b_t.view()), store);
            let factors = [Factor::Rows(a.view()), Factor::Transposed(a_t.view())];
            for (found, a) in found[1..].iter_mut().zip(factors) {
                combine_on(arch, Out::Matrix(found.as_mut(), store), a, Source::Rows(b.view()));
            }
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
            all.extend(found.iter().map(bits));
        }
        all
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
            combine_on(arch, Out::Matrix(d_w.as_mut(), Store::Replace), Factor::Rows(g.view()), x);
            // The product as it is passed on: added to zeros, and the number of times.
            let (mut passed, mut times) = (RowMajor::<T>::zeros(m, features), RowMajor::<T>::zeros(m, features));
            let add = |c: &mut [T], product: &[T], times: &mut [T]| {
                c.iter_mut().zip(product).for_each(|(c, &product)| *c += product);
                times.iter_mut().for_each(|times| *times += T::from_f64(1.0));
            };
            combine_on(arch, Out::Update(passed.as_mut(), times.as_mut(), &add), Factor::Rows(g.view()), x);
            assert!(times.rows().flatten().all(|&times| times == T::from_f64(1.0)), "{arch:?}");
            assert!(passed.rows().eq(d_w.rows()), "{arch:?}: {m} x {features}, {images} images");
            (bits(&s), bits(&d_w))
        });
        assert!(products[0] == products[1], "{arch:?}: {m} x {features}, {images} images");
    }

    /// Checks all forms of the packed product of `a` (m x k) and `b` (k x n), whose rows or columns are `stored`: they
    /// are the sums of the terms in order, fused, to the bit.
    fn assert_packed<T: Scalar>(arch: Arch, a: &RowMajor<T>, b: &RowMajor<T>, stored: Factor<Source<'_, T>>) {
        let (m, k, n) = (a.nrows(), a.ncols(), b.ncols());
        let zero = T::from_f64(0.0);
        let mut product = RowMajor::zeros(m, n);
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            product.row_mut(i)[j] = (0..k).fold(zero, |sum, q| a.row(i)[q].fused(b.row(q)[j], sum));
        }
        let (decay, rate) = (T::from_f64(0.5), T::from_f64(0.25));
        let (old, a_t, mut memory) = (normal::<T>(m, n, 3), transposed(a), Memory::new(Some(k), 0));
        let mut descended = old.clone();
        for i in 0..m {
            for (c, &product) in descended.row_mut(i).iter_mut().zip(product.row(i)) {
                *c = (-rate).fused(product, decay * *c);
            }
        }
        for a in [Factor::Rows(a.view()), Factor::Transposed(a_t.view())] {
            for (store, expected) in [(Store::Replace, &product), (Store::Descend { decay, rate }, &descended)] {
                let mut found = old.clone();
                packed_on(arch, Out::Matrix(found.as_mut(), store), a, stored, &mut memory);
                assert!(found.rows().eq(expected.rows()), "{arch:?}: {m} x {k} x {n}");
            }
            // The product as it is passed on: added to zeros, and the number of times.
            let (mut passed, mut times) = (RowMajor::<T>::zeros(m, n), RowMajor::<T>::zeros(m, n));
            let add = |c: &mut [T], product: &[T], times: &mut [T]| {
                c.iter_mut().zip(product).for_each(|(c, &product)| *c += product);
                times.iter_mut().for_each(|times| *times += T::from_f64(1.0));
            };
            packed_on(arch, Out::Update(passed.as_mut(), times.as_mut(), &add), a, stored, &mut memory);
            assert!(times.rows().flatten().all(|&times| times == T::from_f64(1.0)), "{arch:?}");
            assert!(passed.rows().eq(product.rows()), "{arch:?}: {m} x {k} x {n}");
        }
    }

    /// Checks the packed product for A of m x k, and B of k x n as numbers and as images, as they are and transposed.
    fn assert_packed_forms<T: Scalar>(arch: Arch, m: usize, k: usize, n: usize) {
        let (a, b) = (normal::<T>(m, k, 1), normal::<T>(k, n, 2));
        let b_t = transposed(&b);
        assert_packed(arch, &a, &b, Factor::Rows(Source::Rows(b.view())));
        assert_packed(arch, &a, &b, Factor::Transposed(Source::Rows(b_t.view())));
        let bytes: Vec<u8> = (0..k * n).map(|i| (i * i / 7 % 256) as u8).collect();
        if k > 0 {
            let (pixels_of_terms, pixels_of_columns): (Vec<&[u8]>, Vec<&[u8]>) =
                (bytes.chunks(n).collect(), bytes.chunks(k).collect());
            let mean: Vec<T> = (0..k.max(n)).map(|i| T::from_f64(120.0 + i as f64 / 8.0)).collect();
            let pixels = Pixels::new(&pixels_of_terms, &mean[..n], &mean[..n]);
            assert_packed(arch, &a, &numbers(pixels), Factor::Rows(Source::Pixels(pixels)));
            let pixels = Pixels::new(&pixels_of_columns, &mean[..k], &mean[..k]);
            assert_packed(arch, &a, &transposed(&numbers(pixels)), Factor::Transposed(Source::Pixels(pixels)));
        }
    }

    /// The images as numbers, one in each row.
    fn numbers<T: Scalar>(pixels: Pixels<'_, T>) -> RowMajor<T> {
        let mut rows = RowMajor::zeros(pixels.ncols(), pixels.nrows());
        for j in 0..pixels.ncols() {
            pixels.write_one(j, rows.row_mut(j));
        }
        rows
    }

    /// Near the sizes of a tile, a pass and a block of each width. The bits are the same at every width.
    #[test]
    fn packed_products_are_sums_of_their_terms_in_order_at_every_vector_width() {
        for arch in widths() {
            for (m, k, n) in
                [(1, 1, 1), (3, 0, 2), (7, 20, 31), (14, 257, 33), (29, 300, 50), (8, 9, 530), (6, 521, 260)]
            {
                assert_packed_forms::<f32>(arch, m, k, n);
                assert_packed_forms::<f64>(arch, m, k, n);
            }
        }
    }

    /// Normally only the widest vectors are used; this also tests the narrower ones.
    #[test]
    fn kernels_agree_with_a_triple_loop_and_at_every_vector_width() {
        for (m, k, n) in [(1, 1, 1), (3, 20, 4), (11, 131, 67), (64, 70, 23), (7, 300, 130)] {
            let single = widths().into_iter().map(|arch| products::<f32>(arch, m, k, n, f64::from(f32::EPSILON)));
            let double = widths().into_iter().map(|arch| products::<f64>(arch, m, k, n, f64::EPSILON));
            for found in [single.collect::<Vec<_>>(), double.collect()] {
                assert!(found.iter().all(|bits| *bits == found[0]), "{m} x {k} x {n}");
            }
        }
        for arch in widths() {
            for (m, features, images) in [(7, 37, 3), (11, 200, 13), (50, 768, 131)] {
                assert_bytes::<f32>(arch, m, features, images);
                assert_bytes::<f64>(arch, m, features, images);
            }
        }
    }
}
