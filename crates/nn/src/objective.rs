//! What training minimizes besides the plain cross-entropy.

use crate::Error;
use crate::dropout::Dropout;

/// The objective of training: dropout of hidden outputs, and smoothing of the labels. By default, neither.
///
/// ```
/// use klayer_linalg::Par;
/// use klayer_nn::{Architecture, Objective, Workspace};
///
/// let mut workspace = Workspace::<f32>::new(&Architecture::new(4, &[8], 3, true)?, 2, Par::Seq);
/// workspace.set_objective(Objective::default().with_dropout(0.1, 42)?.with_smoothing(0.1)?);
/// for step in 0..10 {
///     workspace.set_step(step); // draws other masks in each step
/// }
/// # Ok::<(), klayer_nn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Objective {
    pub(crate) dropout: Option<Dropout>,
    pub(crate) smoothing: f64,
}

impl Objective {
    /// Sets each output of a hidden layer to 0 with probability `rate`, and divides the others by 1 - `rate`, in
    /// training mode only. Whether it does depends on `seed`, the step of the workspace, the layer, the output and the
    /// position of the image in the mini-batch alone. A rate of 0 means no dropout.
    ///
    /// # Errors
    /// [`Error::Fraction`] unless 0 <= `rate` < 1.
    pub fn with_dropout(self, rate: f64, seed: u64) -> Result<Self, Error> {
        check_fraction("the dropout rate", rate)?;
        Ok(Self { dropout: (rate > 0.0).then_some(Dropout { rate, seed }), ..self })
    }

    /// Replaces the labels in the objective by (1 - `amount`) onehot + `amount` / classes. The losses that
    /// [`Logits::cross_entropy`](crate::Logits::cross_entropy) returns stay the plain cross-entropy.
    ///
    /// # Errors
    /// [`Error::Fraction`] unless 0 <= `amount` < 1.
    pub fn with_smoothing(self, amount: f64) -> Result<Self, Error> {
        check_fraction("the label smoothing", amount)?;
        Ok(Self { smoothing: amount, ..self })
    }

    /// The dropout rate; 0 without dropout.
    pub fn dropout(self) -> f64 {
        self.dropout.map_or(0.0, |dropout| dropout.rate)
    }

    /// The amount of label smoothing.
    pub fn smoothing(self) -> f64 {
        self.smoothing
    }
}

fn check_fraction(name: &'static str, value: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&value) { Ok(()) } else { Err(Error::Fraction { name, value }) }
}
