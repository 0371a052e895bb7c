use std::fmt;
use std::str::FromStr;

use klayer_nn::{Activation, Architecture, Init};
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::Error;

/// Settings of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct NetworkConfig {
    /// Widths of the hidden layers, separated by commas, or "none"
    #[cfg_attr(feature = "clap", arg(long, value_name = "WIDTHS", default_value_t = NetworkConfig::default().hidden))]
    pub hidden: Widths,
    /// Whether hidden layers use batch norm.
    #[cfg_attr(feature = "clap", arg(long = "no-bn", id = "no_bn", action = clap::ArgAction::SetFalse, help = "Disable batch norm"))]
    pub batch_norm: bool,
    /// Standard deviation of the initial weights, or "he" for sqrt(2 / inputs of the layer)
    ///
    /// he-lecun: the same, but sqrt(1 / inputs) in the last layer.
    #[cfg_attr(feature = "clap", arg(long = "sigma", id = "sigma", value_name = "SIGMA", default_value_t = NetworkConfig::default().init))]
    pub init: Init,
    /// Activation of the hidden layers: relu, gelu or modulus
    ///
    /// One for all layers, or one a layer, from first to last, separated by commas; the last one is also used in all
    /// further layers. modulus combines the two halves of a layer's units, so that the layer above has half as many
    /// inputs.
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAMES", default_value_t = NetworkConfig::default().activation))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation: Activations,
    /// Fraction of the outputs of hidden layers that a training step sets to 0
    #[cfg_attr(feature = "clap", arg(long, value_name = "P", default_value_t = NetworkConfig::default().dropout))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropout: f64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            hidden: Widths(vec![50, 50]),
            batch_norm: true,
            init: Init::He,
            activation: Activations::default(),
            dropout: 0.0,
        }
    }
}

impl NetworkConfig {
    /// Whether any layer has batch norm.
    pub fn uses_batch_norm(&self) -> bool {
        self.batch_norm && !self.hidden.0.is_empty()
    }

    /// The architecture for images with `features` features of `classes` classes.
    ///
    /// # Errors
    /// [`Error::Network`].
    pub fn architecture(&self, features: usize, classes: usize) -> Result<Architecture, Error> {
        let architecture = Architecture::new(features, &self.hidden.0, classes, self.batch_norm)?
            .with_activations(&self.activation.0)?;
        self.init.check(features)?;
        Ok(architecture)
    }

    /// Validates the settings that do not depend on the images.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Setting`].
    pub fn check(&self) -> Result<(), Error> {
        // Whether a layer is valid does not depend on the numbers of features and classes, as long as they are small.
        self.architecture(1, 2)?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::setting("--dropout", self.dropout, "it must be at least 0 and less than 1"));
        }
        if self.hidden.0.is_empty() && self.dropout > 0.0 {
            return Err(Error::setting("--dropout", self.dropout, "there are no hidden layers to drop outputs of"));
        }
        Ok(())
    }
}

/// Widths of the hidden layers, from first to last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Widths(pub Vec<usize>);

impl From<Vec<usize>> for Widths {
    fn from(widths: Vec<usize>) -> Self {
        Self(widths)
    }
}

impl FromStr for Widths {
    type Err = String;

    /// Parses, for example, `50,50`, or `none`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let widths = text.split(',').map(|width| match width.trim().parse() {
            Ok(0) | Err(_) => {
                Err(format!("'{width}' is not a width; expected integers of at least 1, as in 50,50, or none"))
            }
            Ok(width) => Ok(width),
        });
        widths.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<_> = self.0.iter().map(usize::to_string).collect();
        f.write_str(if widths.is_empty() { "none".to_owned() } else { widths.join(",") }.as_str())
    }
}

/// Activations of the hidden layers, from first to last; the last one also serves the layers above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Activations(pub Vec<Activation>);

impl Default for Activations {
    fn default() -> Self {
        Self(vec![Activation::Relu])
    }
}

impl FromStr for Activations {
    type Err = String;

    /// Parses, for example, `gelu` or `modulus,gelu`.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|name| name.trim().parse().map_err(|error| format!("{error}")))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Activations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(Activation::to_string).collect();
        f.write_str(&names.join(","))
    }
}
