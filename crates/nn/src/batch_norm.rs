//! Batch norm (Ioffe and Szegedy, 2015), for each unit over the mini-batch.
//!
//! Training, for each unit over the n images, with the mean mu and the (biased) variance v of the batch:
//! - s_hat = (s - mu) / sqrt(v + eps), s_tilde = gamma s_hat + beta
//! - running mean and variance: a * running + (1 - a) * batch, with a = 0.9; the first mini-batch initializes them
//!
//! Evaluation uses the running mean and variance instead of those of the batch.
//!
//! Backward pass in closed form, with g = dJ/ds_tilde:
//! - dJ/dbeta = sum g, dJ/dgamma = sum g s_hat
//! - dJ/ds = gamma / sqrt(v + eps) * (g - dJ/dbeta / n - s_hat dJ/dgamma / n)
//!
//! The two subtracted means are the contributions of mu and v, which depend on every image.

use klayer_linalg::{Par, RowMajor, Scalar, for_rows, reduce};

/// The decay a of the running mean and variance.
pub const RUNNING_DECAY: f64 = 0.9;

/// The scale, shift and running statistics of one layer.
#[derive(Debug, Clone)]
pub struct BatchNorm<T> {
    /// gamma, m.
    pub gamma: Vec<T>,
    /// beta, m.
    pub beta: Vec<T>,
    /// The running mean and variance; `None` before the first mini-batch.
    pub running: Option<Statistics<T>>,
    eps: T,
}

/// The mean and variance of each unit.
#[derive(Debug, Clone)]
pub struct Statistics<T> {
    /// Means, m.
    pub mean: Vec<T>,
    /// Variances (biased: divided by n), m.
    pub variance: Vec<T>,
}

/// Gradients of gamma and beta.
#[derive(Debug, Clone)]
pub struct BatchNormGradient<T> {
    /// dJ/dgamma, m.
    pub gamma: Vec<T>,
    /// dJ/dbeta, m.
    pub beta: Vec<T>,
}

impl<T: Scalar> BatchNorm<T> {
    /// Creates batch norm for `units` units, with gamma 1 and beta 0.
    pub fn new(units: usize, eps: f64) -> Self {
        Self {
            gamma: vec![T::from_f64(1.0); units],
            beta: vec![T::from_f64(0.0); units],
            running: None,
            eps: T::from_f64(eps),
        }
    }

    /// eps, which is added to the variance.
    pub fn eps(&self) -> T {
        self.eps
    }

    /// Normalizes `s` in place, so that it holds s_hat, and writes s_tilde to `out` and the mean and variance of the
    /// batch to `batch`.
    ///
    /// # Shapes
    /// `s` and `out` m x n.
    pub fn forward_train(&self, s: &mut RowMajor<T>, out: &mut RowMajor<T>, batch: &mut Statistics<T>, par: &Par) {
        let n = T::from_f64(s.ncols() as f64);
        let Statistics { mean, variance } = batch;
        for_rows(
            par,
            s.ncols(),
            [s.into(), out.into(), mean.as_mut_slice().into(), variance.as_mut_slice().into()],
            #[inline(always)]
            |i, [s, out, batch_mean, batch_variance]| {
                let mean = reduce::sum(s) / n;
                let variance = reduce::squared_distances(s, mean) / n;
                let inverse = self.inverse_deviation(variance);
                let (gamma, beta) = (self.gamma[i], self.beta[i]);
                for (s, out) in s.iter_mut().zip(out) {
                    *s = (*s - mean) * inverse;
                    *out = gamma * *s + beta;
                }
                (batch_mean[0], batch_variance[0]) = (mean, variance);
            },
        );
    }

    /// Updates the running mean and variance with those of a batch. The first batch initializes them.
    pub fn update_running(&mut self, batch: &Statistics<T>) {
        let Some(running) = &mut self.running else {
            self.running = Some(batch.clone());
            return;
        };
        let (past, new) = (T::from_f64(RUNNING_DECAY), T::from_f64(1.0 - RUNNING_DECAY));
        let means = running.mean.iter_mut().zip(&batch.mean);
        for (running, &batch) in means.chain(running.variance.iter_mut().zip(&batch.variance)) {
            *running = past * *running + new * batch;
        }
    }

    /// Computes `out = gamma (s - mean) / sqrt(variance + eps) + beta` with the running mean and variance, or with mean
    /// 0 and variance 1 before the first mini-batch.
    ///
    /// # Shapes
    /// `s` and `out` m x n.
    pub fn infer(&self, s: &RowMajor<T>, out: &mut RowMajor<T>, par: &Par) {
        for_rows(
            par,
            out.ncols(),
            [out.into()],
            #[inline(always)]
            |i, [out]| {
                let (mean, variance) = match &self.running {
                    Some(running) => (running.mean[i], running.variance[i]),
                    None => (T::from_f64(0.0), T::from_f64(1.0)),
                };
                let scale = self.gamma[i] * self.inverse_deviation(variance);
                let beta = self.beta[i];
                for (&s, out) in s.row(i).iter().zip(out) {
                    *out = (s - mean) * scale + beta;
                }
            },
        );
    }

    /// Turns `g` from dJ/ds_tilde into dJ/ds, in place, and writes the gradients of gamma and beta.
    ///
    /// # Shapes
    /// `s_hat` and `g` m x n; `s_hat` and `batch` as [`BatchNorm::forward_train`] left them.
    pub fn backward(
        &self,
        s_hat: &RowMajor<T>,
        batch: &Statistics<T>,
        g: &mut RowMajor<T>,
        gradient: &mut BatchNormGradient<T>,
        par: &Par,
    ) {
        let n = T::from_f64(g.ncols() as f64);
        for_rows(
            par,
            g.ncols(),
            [g.into(), gradient.gamma.as_mut_slice().into(), gradient.beta.as_mut_slice().into()],
            #[inline(always)]
            |i, [g, gamma_gradient, beta_gradient]| {
                let s_hat = s_hat.row(i);
                let (d_beta, d_gamma) = (reduce::sum(g), reduce::dot(g, s_hat));
                let scale = self.gamma[i] * self.inverse_deviation(batch.variance[i]);
                let (mean, mean_s_hat) = (d_beta / n, d_gamma / n);
                for (g, &s_hat) in g.iter_mut().zip(s_hat) {
                    *g = scale * (*g - mean - s_hat * mean_s_hat);
                }
                (gamma_gradient[0], beta_gradient[0]) = (d_gamma, d_beta);
            },
        );
    }

    #[inline(always)]
    fn inverse_deviation(&self, variance: T) -> T {
        let inverse = T::from_f64(1.0) / (variance + self.eps).root();
        // An infinite variance would turn every output into beta and hide the divergence.
        if inverse > T::from_f64(0.0) { inverse } else { T::from_f64(f64::NAN) }
    }
}

impl<T: Scalar> Statistics<T> {
    /// Statistics of `units` units, all 0.
    pub fn zeros(units: usize) -> Self {
        Self { mean: vec![T::from_f64(0.0); units], variance: vec![T::from_f64(0.0); units] }
    }
}

impl<T: Scalar> BatchNormGradient<T> {
    /// Copies all values from `other`, which must be for the same number of units.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.gamma.copy_from_slice(&other.gamma);
        self.beta.copy_from_slice(&other.beta);
    }

    /// Gradients for `units` units, all 0.
    pub fn zeros(units: usize) -> Self {
        Self { gamma: vec![T::from_f64(0.0); units], beta: vec![T::from_f64(0.0); units] }
    }
}
