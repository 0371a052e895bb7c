//! The orthonormal two-dimensional DCT-II of images.
//!
//! Coefficient (k, l) of an image x of height H and width W is sum_ij D_H(k, i) x(i, j) D_W(l, j), with
//!
//! D_N(k, n) = sqrt((1 if k = 0, else 2) / N) cos(pi (2n + 1) k / (2N)).
//!
//! D_N is orthogonal: the transform preserves lengths, and its transpose inverts it.
//!
//! For even k, D_N(k, n) = D_N(k, N - 1 - n); for odd k, the two are opposite. So the even coefficients need only the
//! sums of opposite pixels, and the odd ones only the differences, which halves the work: 0.2 million operations for
//! three channels of 32 x 32.

use std::array;
use std::f64::consts::PI;

use pulp::{Arch, Simd, WithSimd};

use crate::simd::arch;
use crate::{RowMajor, Scalar};

/// Number of columns computed together.
const LANES: usize = 16;
/// Number of rows computed together, at most: enough independent sums to hide the latency of a multiply-add.
const ROWS: usize = 8;

/// Returns the matrix D_N for N = `length`; row k is the k-th cosine.
///
/// ```
/// let d = klayer_linalg::dct::matrix(2);
/// assert!((d.row(1)[0] - 0.5_f64.sqrt()).abs() < 1e-15);
/// assert!((d.row(1)[1] + 0.5_f64.sqrt()).abs() < 1e-15);
/// ```
pub fn matrix(length: usize) -> RowMajor<f64> {
    let mut matrix = RowMajor::zeros(length, length);
    for k in 0..length {
        let norm = (if k == 0 { 1.0 } else { 2.0 } / length as f64).sqrt();
        for (n, value) in matrix.row_mut(k).iter_mut().enumerate() {
            // A whole turn is 4 N steps: reducing the angle keeps the cosine exact for large N.
            *value = norm * libm::cos(PI * ((2 * n + 1) * k % (4 * length)) as f64 / (2 * length) as f64);
        }
    }
    matrix
}

/// The transform of images of one height and width.
#[derive(Clone, Debug)]
pub struct Dct<T> {
    height: usize,
    width: usize,
    /// The left half of the even and of the odd rows of D_H, row by row.
    down: [Vec<T>; 2],
    /// The left half of the even and of the odd rows of D_W, transposed, [`LANES`] columns at a time.
    across: [Vec<Lanes<T>>; 2],
}

/// Scratch memory of a [`Dct`] for one thread.
#[derive(Clone, Debug)]
pub struct DctMemory<T> {
    /// Sums and differences of the pixels of [`ROWS`] rows.
    rows: Vec<T>,
    /// Sums and differences of the rows of [`LANES`] columns.
    columns: [Vec<Lanes<T>>; 2],
}

/// Numbers that begin a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Lanes<T>([T; LANES]);

impl<T: Scalar> Dct<T> {
    /// Prepares the transform of images of `height` x `width` pixels.
    pub fn new(height: usize, width: usize) -> Self {
        let (h, w) = (matrix(height), matrix(width));
        let down = [0, 1].map(|odd| {
            let rows = (odd..height).step_by(2);
            rows.flat_map(|k| h.row(k)[..half(height, odd)].iter().map(|&value| T::from_f64(value))).collect()
        });
        let across = [0, 1].map(|odd| {
            let value = |l: usize, j: usize| if l < width { T::from_f64(w.row(l)[j]) } else { T::from_f64(0.0) };
            let lanes = |block: usize, j| Lanes(array::from_fn(|lane| value(2 * (block * LANES + lane) + odd, j)));
            (0..blocks(width)).flat_map(|block| (0..half(width, odd)).map(move |j| lanes(block, j))).collect()
        });
        Self { height, width, down, across }
    }

    /// Allocates the scratch memory of [`forward`](Self::forward).
    pub fn memory(&self) -> DctMemory<T> {
        let zero = T::from_f64(0.0);
        DctMemory {
            rows: vec![zero; ROWS * self.width],
            columns: [0, 1].map(|odd| vec![Lanes([zero; LANES]); half(self.height, odd)]),
        }
    }

    /// Replaces each channel of `image` by its coefficients, multiplied by `scale` and increased by `shift`. The result
    /// is the same for every vector width.
    ///
    /// # Shapes
    /// `image`, `scale` and `shift` channels x height x width.
    ///
    /// # Panics
    /// If the lengths differ or are not a multiple of height x width, or the memory is that of another size.
    ///
    /// ```
    /// let dct = klayer_linalg::dct::Dct::new(1, 2);
    /// let mut image = [3.0, 1.0];
    /// dct.forward(&mut image, &[1.0; 2], &[0.0; 2], &mut dct.memory());
    /// assert!((image[0] - 8.0_f64.sqrt()).abs() < 1e-15 && (image[1] - 2.0_f64.sqrt()).abs() < 1e-15);
    /// ```
    pub fn forward(&self, image: &mut [T], scale: &[T], shift: &[T], memory: &mut DctMemory<T>) {
        assert!(image.len() == scale.len() && image.len() == shift.len(), "the lengths differ");
        assert!(image.len().is_multiple_of((self.height * self.width).max(1)), "the image has another size");
        T::spectrum(self, image, scale, shift, memory);
    }

    /// [`forward`](Self::forward), compiled in this crate for each type.
    pub(crate) fn spectrum(&self, image: &mut [T], scale: &[T], shift: &[T], memory: &mut DctMemory<T>) {
        self.spectrum_on(arch(), image, scale, shift, memory);
    }

    /// [`forward`](Self::forward) for a given vector width.
    fn spectrum_on(&self, arch: Arch, image: &mut [T], scale: &[T], shift: &[T], memory: &mut DctMemory<T>) {
        arch.dispatch(Forward { dct: self, image, scale, shift, memory });
    }
}

/// The arguments of [`Dct::forward`].
struct Forward<'a, T> {
    dct: &'a Dct<T>,
    image: &'a mut [T],
    scale: &'a [T],
    shift: &'a [T],
    memory: &'a mut DctMemory<T>,
}

impl<T: Scalar> WithSimd for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { dct, image, scale, shift, memory } = self;
        if image.is_empty() {
            return;
        }
        let mut rest = &mut *image;
        while !rest.is_empty() {
            let count = together(rest.len() / dct.width);
            let (rows, after) = rest.split_at_mut(count * dct.width);
            match count {
                8 => dct.rows::<S, 8>(simd, rows, &mut memory.rows),
                4 => dct.rows::<S, 4>(simd, rows, &mut memory.rows),
                2 => dct.rows::<S, 2>(simd, rows, &mut memory.rows),
                _ => dct.rows::<S, 1>(simd, rows, &mut memory.rows),
            }
            rest = after;
        }
        let plane = dct.height * dct.width;
        let affine = scale.chunks_exact(plane).zip(shift.chunks_exact(plane));
        for (channel, affine) in image.chunks_exact_mut(plane).zip(affine) {
            for start in (0..dct.width).step_by(LANES) {
                dct.columns(simd, channel, start, affine, &mut memory.columns);
            }
        }
    }
}

impl<T: Scalar> Dct<T> {
    /// Transforms `R` rows.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(&self, simd: S, rows: &mut [T], memory: &mut [T]) {
        let (width, pairs, differences) = (self.width, half(self.width, 0), half(self.width, 1));
        let (even, odd) = memory.split_at_mut(R * pairs);
        for (r, row) in rows.chunks_exact(width).enumerate() {
            let (left, right) = row.split_at(differences);
            let (middle, right) = right.split_at(pairs - differences);
            let (even, odd) = (&mut even[r * pairs..][..pairs], &mut odd[r * differences..][..differences]);
            if let [middle] = middle {
                even[differences] = *middle;
            }
            fold(&mut even[..differences], odd, left, right);
        }
        for block in 0..blocks(width) {
            let even = tile::<T, S, R>(simd, even, &self.across[0][block * pairs..][..pairs]);
            let odd = tile::<T, S, R>(simd, odd, &self.across[1][block * differences..][..differences]);
            for (r, row) in rows.chunks_exact_mut(width).enumerate() {
                let (even, odd, mut both) = (even[r].0, odd[r].0, [T::from_f64(0.0); 2 * LANES]);
                for lane in 0..LANES {
                    (both[2 * lane], both[2 * lane + 1]) = (even[lane], odd[lane]);
                }
                let out = &mut row[2 * LANES * block..];
                match out.first_chunk_mut() {
                    Some(out) => *out = both,
                    None => out.copy_from_slice(&both[..out.len()]),
                }
            }
        }
    }

    /// Transforms up to [`LANES`] columns of a channel, starting at `start`.
    #[inline(always)]
    fn columns<S: Simd>(
        &self,
        simd: S,
        channel: &mut [T],
        start: usize,
        affine: (&[T], &[T]),
        memory: &mut [Vec<Lanes<T>>; 2],
    ) {
        let (height, width, [even, odd]) = (self.height, self.width, memory);
        let (one, minus) = (T::splat(simd, T::from_f64(1.0)), T::splat(simd, T::from_f64(-1.0)));
        let row = |i: usize| &channel[i * width..][..width][start..];
        if height % 2 == 1 {
            load(&mut even[height / 2], row(height / 2));
        }
        for (i, (even, odd)) in even.iter_mut().zip(&mut *odd).enumerate() {
            load(even, row(i));
            load(odd, row(height - 1 - i));
            let (even, odd) = (T::vectors_mut(simd, &mut even.0).0, T::vectors_mut(simd, &mut odd.0).0);
            for (even, odd) in even.iter_mut().zip(odd) {
                (*even, *odd) = (T::mul_add(simd, *odd, one, *even), T::mul_add(simd, *odd, minus, *even));
            }
        }
        for (parity, terms) in [even, odd].into_iter().enumerate() {
            let (count, mut first) = (half(height, parity), 0);
            while first < count {
                let (a, at) = (&self.down[parity][first * terms.len()..], 2 * first + parity);
                first += match together(count - first) {
                    8 => store(simd, &tile::<T, S, 8>(simd, a, terms), channel, (width, at, start), affine),
                    4 => store(simd, &tile::<T, S, 4>(simd, a, terms), channel, (width, at, start), affine),
                    2 => store(simd, &tile::<T, S, 2>(simd, a, terms), channel, (width, at, start), affine),
                    _ => store(simd, &tile::<T, S, 1>(simd, a, terms), channel, (width, at, start), affine),
                };
            }
        }
    }
}

/// Number of coefficients that are even (`odd` = 0) or odd (1). Also the number of terms of each of them.
#[inline(always)]
fn half(length: usize, odd: usize) -> usize {
    (length + 1 - odd) / 2
}

/// Number of blocks of [`LANES`] even coefficients.
#[inline(always)]
fn blocks(length: usize) -> usize {
    half(length, 0).div_ceil(LANES)
}

/// Number of rows of the next tile, of `left` rows.
#[inline(always)]
fn together(left: usize) -> usize {
    match left {
        ROWS.. => ROWS,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

/// Writes the sums and the differences of opposite pixels.
#[inline(always)]
fn fold<T: Scalar>(sums: &mut [T], differences: &mut [T], left: &[T], right: &[T]) {
    let (left, last_left) = left.as_chunks::<LANES>();
    let (last_right, right) = right.as_rchunks::<LANES>();
    let (sums, last_sums) = sums.as_chunks_mut::<LANES>();
    let (differences, last_differences) = differences.as_chunks_mut::<LANES>();
    let out = sums.iter_mut().zip(differences);
    for ((sums, differences), (left, right)) in out.zip(left.iter().zip(right.iter().rev())) {
        let (left, right) = (*left, *right);
        for lane in 0..LANES {
            sums[lane] = left[lane] + right[LANES - 1 - lane];
        }
        for lane in 0..LANES {
            differences[lane] = left[lane] - right[LANES - 1 - lane];
        }
    }
    let out = last_sums.iter_mut().zip(last_differences);
    for ((sum, difference), (&a, &b)) in out.zip(last_left.iter().zip(last_right.iter().rev())) {
        (*sum, *difference) = (a + b, a - b);
    }
}

/// The products of the first `R` rows of `a` with the rows `b`.
#[inline(always)]
fn tile<T: Scalar, S: Simd, const R: usize>(simd: S, a: &[T], b: &[Lanes<T>]) -> [Lanes<T>; R] {
    let (terms, mut rows) = (b.len(), [&a[..0]; R]);
    for r in 0..R {
        rows[r] = &a[r * terms..][..terms];
    }
    let mut out = [Lanes([T::from_f64(0.0); LANES]); R];
    for v in 0..LANES * size_of::<T>() / size_of::<T::Vector<S>>() {
        let mut sums = [T::splat(simd, T::from_f64(0.0)); R];
        for q in 0..terms {
            let b = T::vectors(simd, &b[q].0).0[v];
            for r in 0..R {
                sums[r] = T::mul_add(simd, T::splat(simd, rows[r][q]), b, sums[r]);
            }
        }
        for r in 0..R {
            T::vectors_mut(simd, &mut out[r].0).0[v] = sums[r];
        }
    }
    out
}

/// Loads up to [`LANES`] values; zeros after the last.
#[inline(always)]
fn load<T: Scalar>(lanes: &mut Lanes<T>, values: &[T]) {
    match values.first_chunk() {
        Some(values) => lanes.0 = *values,
        None => {
            let (given, rest) = lanes.0.split_at_mut(values.len());
            given.copy_from_slice(values);
            rest.fill(T::from_f64(0.0));
        }
    }
}

/// Multiplies `tile` by the scale, adds the shift and writes it to every second row of `channel`, from row `at` and
/// column `start` on. Returns the number of rows.
#[inline(always)]
fn store<T: Scalar, S: Simd, const R: usize>(
    simd: S,
    tile: &[Lanes<T>; R],
    channel: &mut [T],
    (width, at, start): (usize, usize, usize),
    (scale, shift): (&[T], &[T]),
) -> usize {
    for (r, Lanes(sums)) in tile.iter().enumerate() {
        let at = (at + 2 * r) * width + start;
        let length = (width - start).min(LANES);
        let (scale, shift, out) = (&scale[at..][..length], &shift[at..][..length], &mut channel[at..][..length]);
        let (sums, (scales, last_scale)) = (T::vectors(simd, sums).0, T::vectors(simd, scale));
        let (shifts, last_shift) = T::vectors(simd, shift);
        let (outs, last_out) = T::vectors_mut(simd, out);
        for v in 0..outs.len() {
            outs[v] = T::mul_add(simd, sums[v], scales[v], shifts[v]);
        }
        if !last_out.is_empty() {
            let (scale, shift) = (T::load_part(simd, last_scale), T::load_part(simd, last_shift));
            T::store_part(simd, last_out, T::mul_add(simd, sums[outs.len()], scale, shift));
        }
    }
    R
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::widths;

    /// Normally only the widest vectors are used; this also tests the narrower ones.
    #[test]
    fn every_vector_width_gives_the_same_bits() {
        let widths = widths();
        for (channels, height, width) in [(3, 32, 32), (1, 28, 28), (2, 5, 7), (1, 1, 1), (1, 33, 71)] {
            let dct = Dct::<f32>::new(height, width);
            let values: Vec<f32> = (0..channels * height * width).map(|i| (i as f32).sin()).collect();
            let found = widths.iter().map(|&arch| {
                let mut image = values.clone();
                dct.spectrum_on(arch, &mut image, &values, &values, &mut dct.memory());
                image.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            });
            let found: Vec<_> = found.collect();
            assert!(found.iter().all(|bits| *bits == found[0]), "{channels} x {height} x {width}");
        }
    }
}
