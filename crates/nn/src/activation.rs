//! The activations of hidden layers: functions of the values s_tilde that batch norm or the affine map gives.
//!
//! Each has its own file, with its formulas and a type that implements the trait `Function`, and one line in the list
//! below.

pub mod gelu;
pub mod modulus;
pub mod relu;

use std::fmt;
use std::str::FromStr;

use klayer_linalg::{Par, RowMajor, Scalar};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Declares the activations: the name in settings and files, and the implementation.
macro_rules! activations {
    ($($(#[$attribute:meta])* $variant:ident = $name:literal, $function:expr;)+) => {
        /// The activation of a hidden layer.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Activation {
            $($(#[$attribute])* #[serde(rename = $name)] $variant,)+
        }

        impl Activation {
            /// All activations.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name in settings and files, for example `relu`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            pub(crate) fn function<T: Scalar>(self) -> &'static dyn Function<T> {
                match self {
                    $(Self::$variant => &$function,)+
                }
            }
        }
    };
}

activations! {
    /// max(s, 0), see [`relu`]
    #[default]
    Relu = "relu", relu::Relu;
    /// s Phi(s), see [`gelu`]
    Gelu = "gelu", gelu::Gelu;
    /// sqrt(u^2 + v^2 + 0.001), where u and v are the two halves of the units, see [`modulus`]
    Modulus = "modulus", modulus::Modulus;
}

/// The forward and backward pass of an activation.
pub(crate) trait Function<T>: Sync {
    /// Number of units that make one output: output i of o belongs to the units i, i + o, ... .
    fn units(&self) -> usize {
        1
    }

    /// Whether the function needs no memory besides the outputs: `forward` finds its input in `h`.
    fn in_place(&self) -> bool {
        false
    }

    /// Computes `h` from the input, and keeps in its place what `backward` needs.
    fn forward(&self, values: &mut Values<T>, par: &Par);

    /// Computes the gradient of the input from dJ/dh.
    fn backward(&self, values: &mut Values<T>, par: &Par);

    /// Whether the function bends so sharply that the gradient check needs a difference of higher order.
    fn bends_sharply(&self) -> bool {
        false
    }

    /// Whether the loss has a kink between two passes with the outputs `here` and `there`.
    fn kink(&self, _here: &RowMajor<T>, _there: &RowMajor<T>) -> bool {
        false
    }
}

/// The values of the activation of a layer of m units and o outputs for n images, allocated once.
#[derive(Debug, Clone)]
pub(crate) struct Values<T> {
    /// The input, m x n, which `forward` replaces by what `backward` needs; `None` for a function in place.
    pub(crate) kept: Option<RowMajor<T>>,
    /// The output h, o x n.
    pub(crate) h: RowMajor<T>,
    /// dJ/dh, o x n.
    pub(crate) d_h: RowMajor<T>,
    /// The gradient of the input, m x n; `None` if it replaces `d_h`.
    pub(crate) d_input: Option<RowMajor<T>>,
}

impl<T: Scalar> Values<T> {
    pub(crate) fn new(activation: Activation, units: usize, images: usize) -> Self {
        let function = activation.function::<T>();
        let outputs = activation.outputs(units);
        let input = || RowMajor::zeros(units, images);
        Self {
            kept: (!function.in_place()).then(input),
            h: RowMajor::zeros(outputs, images),
            d_h: RowMajor::zeros(outputs, images),
            d_input: (outputs < units).then(input),
        }
    }

    /// The input of the activation, to be written before the forward pass.
    pub(crate) fn input(&mut self) -> &mut RowMajor<T> {
        self.kept.as_mut().unwrap_or(&mut self.h)
    }

    /// The gradient of the input, after the backward pass.
    pub(crate) fn input_gradient(&mut self) -> &mut RowMajor<T> {
        self.d_input.as_mut().unwrap_or(&mut self.d_h)
    }
}

impl Activation {
    /// Number of units that make one output: 1, or 2 for a function of pairs.
    pub fn units_per_output(self) -> usize {
        self.function::<f32>().units()
    }

    /// The names of all activations, separated by commas.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Number of outputs of a layer of `units` units, a multiple of [`units_per_output`](Self::units_per_output).
    pub fn outputs(self, units: usize) -> usize {
        units / self.units_per_output()
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|activation| activation.name() == name);
        found.ok_or_else(|| Error::Activation { name: name.to_owned() })
    }
}
