//! The shape of a network.

use std::{fmt, iter};

use serde::{Deserialize, Serialize};

use crate::{Activation, Error};

/// The default eps of batch norm. A larger eps would mask small weights: with sigma = 1e-3, the variance in the second
/// layer is 1e-5.
pub const BATCH_NORM_EPS: f64 = 1e-8;

/// Maximum number of parameters of a network: 1 GiB in `f64`, two thirds of the maximum size of a model file.
const MOST_PARAMETERS: usize = 1 << 27;
/// Parameters of a unit besides its weights, with batch norm: b, gamma, beta, and the running mean and variance.
const OF_A_UNIT: usize = 5;

/// The widths and activations of a network, and whether it uses batch norm. Always valid.
///
/// ```
/// use klayer_nn::Architecture;
///
/// let three_layers = Architecture::new(3072, &[50, 50], 10, true)?;
/// assert_eq!(three_layers.depth(), 3);
/// assert!(Architecture::new(3072, &[50, 0], 10, true).is_err());
/// # Ok::<(), klayer_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Architecture {
    widths: Vec<usize>,
    batch_norm: Option<f64>,
    /// One per hidden layer.
    activations: Vec<Activation>,
}

/// The form in self-describing files such as JSON.
#[derive(Serialize, Deserialize)]
struct Unchecked {
    widths: Vec<usize>,
    batch_norm_eps: Option<f64>,
    /// Omitted if all are ReLU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    activations: Vec<Activation>,
}

impl Architecture {
    /// Creates the architecture of a network of `hidden.len() + 1` affine layers with ReLU between them. With
    /// `batch_norm`, eps is [`BATCH_NORM_EPS`].
    ///
    /// # Errors
    /// [`Error::Width`] if a layer has no units, [`Error::TooLarge`] for more than 2^27 parameters, [`Error::Classes`] for
    /// more than 256 classes.
    pub fn new(inputs: usize, hidden: &[usize], classes: usize, batch_norm: bool) -> Result<Self, Error> {
        let widths = [&[inputs], hidden, &[classes]].concat();
        Self::checked(widths, batch_norm.then_some(BATCH_NORM_EPS), &[])
    }

    /// Sets eps of batch norm. Has no effect without batch norm.
    ///
    /// # Errors
    /// [`Error::NotPositive`] if `eps` is not a positive, finite `f32`.
    pub fn with_batch_norm_eps(self, eps: f64) -> Result<Self, Error> {
        let batch_norm = self.batch_norm.map(|_| eps);
        Self::checked(self.widths, batch_norm, &self.activations)
    }

    /// Sets the activations of the hidden layers, from first to last. The last of a shorter list serves the layers
    /// above; an empty list stands for ReLU.
    ///
    /// ```
    /// use klayer_nn::{Activation, Architecture};
    ///
    /// let network = Architecture::new(3072, &[50, 20, 10], 10, true)?;
    /// let network = network.with_activations(&[Activation::Modulus, Activation::Gelu])?;
    /// assert_eq!(network.activations(), [Activation::Modulus, Activation::Gelu, Activation::Gelu]);
    /// // Pairs of the 50 units make 25 outputs.
    /// assert_eq!(network.layers().collect::<Vec<_>>(), [(3072, 50), (25, 20), (20, 10), (10, 10)]);
    /// # Ok::<(), klayer_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Activations`] for more than one and more than one per hidden layer, [`Error::Units`] if the number of
    /// units of a layer does not suit its activation.
    pub fn with_activations(self, activations: &[Activation]) -> Result<Self, Error> {
        Self::checked(self.widths, self.batch_norm, activations)
    }

    pub(crate) fn checked(
        widths: Vec<usize>,
        batch_norm: Option<f64>,
        activations: &[Activation],
    ) -> Result<Self, Error> {
        let most = usize::from(u8::MAX) + 1;
        let classes = widths.last().copied().unwrap_or(0);
        if widths.len() < 2 || widths.contains(&0) {
            return Err(Error::Width { widths });
        }
        let hidden = widths.len() - 2;
        if activations.len() > hidden.max(1) {
            return Err(Error::Activations { activations: activations.len(), hidden });
        }
        let above = activations.last().copied().unwrap_or_default();
        let activations = (0..hidden).map(|l| activations.get(l).copied().unwrap_or(above)).collect();
        let architecture = Self { widths, batch_norm, activations };
        for (layer, (&units, &activation)) in architecture.hidden().iter().zip(&architecture.activations).enumerate() {
            let group = activation.units_per_output();
            if !units.is_multiple_of(group) {
                return Err(Error::Units { layer, units, activation, group });
            }
        }
        let parameters =
            architecture.layers().map(|(inputs, outputs)| inputs.saturating_add(OF_A_UNIT).saturating_mul(outputs));
        if parameters.fold(0, usize::saturating_add) > MOST_PARAMETERS {
            return Err(Error::TooLarge { widths: architecture.widths, most: MOST_PARAMETERS });
        }
        if classes > most {
            return Err(Error::Classes { classes, most });
        }
        if let Some(value) = batch_norm.filter(|&eps| !is_positive(eps)) {
            return Err(Error::NotPositive { name: "the eps of batch norm", value });
        }
        Ok(architecture)
    }

    /// The number of inputs, the widths of the hidden layers, and the number of classes.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Number of inputs, d.
    pub fn inputs(&self) -> usize {
        self.widths[0]
    }

    /// Widths of the hidden layers.
    pub fn hidden(&self) -> &[usize] {
        &self.widths[1..self.depth()]
    }

    /// Number of outputs of the last layer.
    pub fn classes(&self) -> usize {
        self.widths[self.depth()]
    }

    /// Number of affine layers, K.
    pub fn depth(&self) -> usize {
        self.widths.len() - 1
    }

    /// Number of parameters: weights, biases, and with batch norm, gamma and beta.
    pub fn parameters(&self) -> usize {
        let affine: usize = self.layers().map(|(inputs, outputs)| (inputs + 1) * outputs).sum();
        affine + if self.batch_norm.is_some() { 2 * self.hidden().iter().sum::<usize>() } else { 0 }
    }

    /// eps of batch norm, or `None` without batch norm.
    pub fn batch_norm_eps(&self) -> Option<f64> {
        self.batch_norm
    }

    /// The activation of each hidden layer.
    pub fn activations(&self) -> &[Activation] {
        &self.activations
    }

    /// Whether all activations are ReLU.
    pub fn is_relu(&self) -> bool {
        self.activations.iter().all(|&activation| activation == Activation::Relu)
    }

    /// The number of outputs of each hidden layer: its width, or less for activations of several units.
    pub fn outputs(&self) -> impl Iterator<Item = usize> {
        self.hidden().iter().zip(&self.activations).map(|(&units, activation)| activation.outputs(units))
    }

    /// The numbers of inputs and outputs of each affine layer, from first to last. The inputs are the outputs of the
    /// layer below.
    pub fn layers(&self) -> impl Iterator<Item = (usize, usize)> {
        iter::once(self.inputs()).chain(self.outputs()).zip(self.widths[1..].iter().copied())
    }
}

/// Whether `value` is positive and finite in `f32`.
pub(crate) fn is_positive(value: f64) -> bool {
    value as f32 > 0.0 && (value as f32).is_finite()
}

impl fmt::Display for Architecture {
    /// Formats as, for example, `3072-50-50-10 with batch norm (eps 1e-8)`; if any activation is not ReLU, followed by
    /// `, activation gelu` or `, activation modulus,gelu,gelu`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        write!(f, "{} ", widths.join("-"))?;
        match self.batch_norm {
            Some(eps) => write!(f, "with batch norm (eps {eps:e})")?,
            None => write!(f, "without batch norm")?,
        }
        if self.is_relu() {
            return Ok(());
        }
        let first = &self.activations[..1];
        let same = self.activations.iter().all(|activation| *activation == first[0]);
        let names = if same { first } else { &self.activations[..] };
        write!(f, ", activation {}", names.iter().map(|activation| activation.name()).collect::<Vec<_>>().join(","))
    }
}

impl TryFrom<Unchecked> for Architecture {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self, Error> {
        Self::checked(unchecked.widths, unchecked.batch_norm_eps, &unchecked.activations)
    }
}

impl From<Architecture> for Unchecked {
    fn from(architecture: Architecture) -> Self {
        let activations = if architecture.is_relu() { Vec::new() } else { architecture.activations };
        Self { widths: architecture.widths, batch_norm_eps: architecture.batch_norm, activations }
    }
}
