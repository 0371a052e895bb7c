//! The two kinds of numbers that everything above is generic over.

use std::fmt::{Debug, Display};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A real number type: `f32`, in which networks train, or `f64`, in which their gradients are checked.
///
/// Arithmetic comes from the supertraits; what follows are the conversions and functions that the networks need.
/// Sealed: the products below it exist for these two types alone.
pub trait Scalar:
    faer::traits::RealField + Copy + Default + Display + Debug + Serialize + DeserializeOwned + sealed::Sealed
{
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Rounds `value` to this type.
    fn from_f64(value: f64) -> Self;
    /// Widens to `f64`, exactly.
    fn to_f64(self) -> f64;
    /// The square root.
    fn root(self) -> Self;
    /// e to the power of this number.
    fn exponential(self) -> Self;
    /// The natural logarithm.
    fn logarithm(self) -> Self;
    /// Whether this number is neither infinite nor NaN.
    fn is_a_number(self) -> bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! scalar {
    ($type:ident) => {
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
                self.exp()
            }
            #[inline(always)]
            fn logarithm(self) -> Self {
                self.ln()
            }
            #[inline(always)]
            fn is_a_number(self) -> bool {
                self.is_finite()
            }
        }
    };
}

scalar!(f32);
scalar!(f64);
