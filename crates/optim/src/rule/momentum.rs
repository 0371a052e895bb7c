use klayer_linalg::Scalar;
use serde::{Deserialize, Serialize};

use super::{Rule, Sgd, Step};
use crate::Error;

/// Gradient descent with momentum, as in Sutskever et al. (2013) and PyTorch. With the gradient g of the cost J, which
/// for weights includes 2 lambda w:
/// - m <- mu m + g
/// - p <- p - eta m (the heavy ball of Polyak), or p <- p - eta (g + mu m) (Nesterov)
///
/// The state is m. With mu = 0, this is plain gradient descent, to the bit.
///
/// ```
/// use klayer_optim::Momentum;
///
/// let nesterov = Momentum::new(0.9, true)?;
/// assert_eq!((nesterov.mu(), nesterov.nesterov()), (0.9, true));
/// assert!(Momentum::new(1.0, false).is_err());
/// # Ok::<(), klayer_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Momentum {
    mu: f64,
    nesterov: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    mu: f64,
    nesterov: bool,
}

impl Momentum {
    /// Creates the rule with the factor `mu`, in the form of Nesterov or the heavy ball.
    ///
    /// # Errors
    /// [`Error::Momentum`] unless 0 <= mu < 1.
    pub fn new(mu: f64, nesterov: bool) -> Result<Self, Error> {
        if (0.0..1.0).contains(&mu) { Ok(Self { mu, nesterov }) } else { Err(Error::Momentum { mu }) }
    }

    /// The factor mu of the old m.
    pub fn mu(self) -> f64 {
        self.mu
    }

    /// Whether this is the form of Nesterov.
    pub fn nesterov(self) -> bool {
        self.nesterov
    }
}

impl Rule for Momentum {
    #[inline(always)]
    fn update<T: Scalar>(&self, step: Step, p: &mut [T], g: &[T], m: &mut [T]) {
        let Self { mu, nesterov } = *self;
        let (mu, rate, l2) = (T::from_f64(mu), T::from_f64(step.rate), step.l2);
        for ((p, &g), m) in p.iter_mut().zip(g).zip(m) {
            let g = g + l2.gradient(*p);
            *m = mu * *m + g;
            *p -= rate * if nesterov { g + mu * *m } else { *m };
        }
    }

    fn as_sgd(&self) -> Option<Sgd> {
        (self.mu == 0.0).then_some(Sgd)
    }
}

impl TryFrom<Unchecked> for Momentum {
    type Error = Error;

    fn try_from(Unchecked { mu, nesterov }: Unchecked) -> Result<Self, Error> {
        Self::new(mu, nesterov)
    }
}

impl From<Momentum> for Unchecked {
    fn from(Momentum { mu, nesterov }: Momentum) -> Self {
        Self { mu, nesterov }
    }
}
