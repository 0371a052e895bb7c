use klayer_linalg::Scalar;

use super::{Rule, Step};

/// Plain gradient descent, p <- p - eta dJ/dp. With the gradient 2 lambda w of the penalty, that is
/// w <- (1 - 2 eta lambda) w - eta dL/dw for a weight, where L is the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sgd;

impl Sgd {
    /// The factor (1 - 2 eta lambda) of p and the factor eta of its gradient.
    pub(crate) fn coefficients<T: Scalar>(self, step: Step) -> (T, T) {
        (T::from_f64(1.0 - 2.0 * step.rate * step.l2.lambda()), T::from_f64(step.rate))
    }
}

impl Rule for Sgd {
    #[inline(always)]
    fn update<T: Scalar>(&self, step: Step, p: &mut [T], g: &[T], _: &mut [T]) {
        let (decay, rate) = self.coefficients::<T>(step);
        for (p, &g) in p.iter_mut().zip(g) {
            *p = decay * *p - rate * g;
        }
    }

    fn as_sgd(&self) -> Option<Sgd> {
        Some(*self)
    }
}
