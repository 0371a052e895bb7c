//! The number types, `f32` and `f64`.

use std::fmt::{Debug, Display};

use pulp::Simd;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exponential;
use crate::kernels::Kernels;
use crate::normal::Normal;

/// A real number type: `f32` for training, `f64` for checking gradients.
///
/// Arithmetic comes from the supertraits; this trait adds the conversions and functions that networks need. It is
/// sealed, because the kernels exist only for these two types.
pub trait Scalar:
    faer::traits::RealField + Vectors + Kernels + Copy + Default + Display + Debug + Serialize + DeserializeOwned + 'static
{
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Converts from `f64`, rounding to nearest.
    fn from_f64(value: f64) -> Self;
    /// Converts to `f64`, exactly.
    fn to_f64(self) -> f64;
    /// The square root.
    fn root(self) -> Self;
    /// e to the power of this number. In `f32` the same on every system.
    fn exponential(self) -> Self;
    /// The natural logarithm. In `f32` the same on every system.
    fn logarithm(self) -> Self;
    /// Fused multiply-add: this number times `factor` plus `term`, rounded once.
    fn fused(self, factor: Self, term: Self) -> Self;
    /// The standard normal distribution: Phi(x) = (1 + erf(x / sqrt(2))) / 2 and its derivative, the density phi(x),
    /// with errors of a few units in the last place (up to 17 where Phi is nearly 0). Loops over it are vectorized. NaN
    /// gives NaN.
    ///
    /// ```
    /// use klayer_linalg::Scalar;
    ///
    /// let (below, density) = Scalar::normal_distribution(1.0_f64);
    /// assert!((below - 0.841_344_746_068_542_9).abs() < 1e-15);
    /// assert!((density - 0.241_970_724_519_143_37).abs() < 1e-15);
    /// ```
    fn normal_distribution(self) -> (Self, Self);
}

/// SIMD vectors of one number type. Cannot be named outside this crate, which seals [`Scalar`].
pub trait Vectors: Sized {
    /// A vector of the width of `S`.
    type Vector<S: Simd>: Copy;

    /// Splits a slice into whole vectors and a remainder.
    fn vectors<S: Simd>(simd: S, slice: &[Self]) -> (&[Self::Vector<S>], &[Self]);
    /// The mutable version of [`Vectors::vectors`].
    fn vectors_mut<S: Simd>(simd: S, slice: &mut [Self]) -> (&mut [Self::Vector<S>], &mut [Self]);
    /// Copies a number to every lane.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// Fused multiply-add: a b + c, rounded once.
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// The sum of the lanes.
    fn sum<S: Simd>(simd: S, vector: Self::Vector<S>) -> Self;
    /// Loads a slice shorter than a vector and fills the other lanes with zeros.
    fn load_part<S: Simd>(simd: S, slice: &[Self]) -> Self::Vector<S>;
    /// Stores the first lanes of a vector to a slice shorter than it.
    fn store_part<S: Simd>(simd: S, slice: &mut [Self], vector: Self::Vector<S>);
}

macro_rules! vectors {
    ($type:ident, $vector:ident, $as:ident, $as_mut:ident, $splat:ident, $mul_add:ident, $sum:ident, $load:ident, $store:ident) => {
        impl Vectors for $type {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn vectors<S: Simd>(_: S, slice: &[Self]) -> (&[S::$vector], &[Self]) {
                S::$as(slice)
            }
            #[inline(always)]
            fn vectors_mut<S: Simd>(_: S, slice: &mut [Self]) -> (&mut [S::$vector], &mut [Self]) {
                S::$as_mut(slice)
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }
            #[inline(always)]
            fn mul_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn sum<S: Simd>(simd: S, vector: S::$vector) -> Self {
                simd.$sum(vector)
            }
            #[inline(always)]
            fn load_part<S: Simd>(simd: S, slice: &[Self]) -> S::$vector {
                simd.$load(slice)
            }
            #[inline(always)]
            fn store_part<S: Simd>(simd: S, slice: &mut [Self], vector: S::$vector) {
                simd.$store(slice, vector);
            }
        }
    };
}

vectors!(
    f32,
    f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    mul_add_f32s,
    reduce_sum_f32s,
    partial_load_f32s,
    partial_store_f32s
);
vectors!(
    f64,
    f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    splat_f64s,
    mul_add_f64s,
    reduce_sum_f64s,
    partial_load_f64s,
    partial_store_f64s
);

macro_rules! scalar {
    ($type:ident, $exp:path, $ln:path) => {
        impl Scalar for $type {
            const NAME: &'static str = stringify!($type);

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn exponential(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn logarithm(self) -> Self {
                $ln(self)
            }
            #[inline(always)]
            fn fused(self, factor: Self, term: Self) -> Self {
                self.mul_add(factor, term)
            }
            #[inline(always)]
            fn normal_distribution(self) -> (Self, Self) {
                self.normal()
            }
        }
    };
}

scalar!(f32, exponential::exp, exponential::ln);
scalar!(f64, f64::exp, f64::ln);
