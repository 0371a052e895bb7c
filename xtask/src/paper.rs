//! The paper's numbers, from `data/paper.toml`.

use serde::Deserialize;

/// Every number of the paper, by its section.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paper {
    /// Section 1.
    pub(crate) dataset: PaperDataset,
    /// Section 3.1, a table per network, both with batch norm.
    pub(crate) gradients: Vec<PaperGradients>,
    /// Section 3.2.
    pub(crate) loss: PaperLoss,
    /// Section 3.3.
    pub(crate) coarse: PaperSearch,
    /// Section 3.4.
    pub(crate) fine: PaperSearch,
    /// Section 3.5.
    #[serde(rename = "final")]
    pub(crate) final_: PaperFinal,
    /// Section 3.6.
    pub(crate) sensitivity: PaperSensitivity,
}

/// The paper's dataset.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaperDataset {
    /// Number of images.
    pub(crate) images: usize,
    /// Pixels in a row.
    pub(crate) width: usize,
    /// Rows of pixels.
    pub(crate) height: usize,
    /// Number of classes.
    pub(crate) classes: usize,
    /// Images of each class.
    pub(crate) images_per_class: usize,
}

/// A table of section 3.1.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaperGradients {
    /// "2-layer" or "3-layer".
    pub(crate) network: String,
    /// The columns of the table, first layer first.
    pub(crate) layers: Vec<PaperLayer>,
}

/// A column of a table of section 3.1: sums over the parameters of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaperLayer {
    /// Numerical gradient of the weights.
    pub(crate) numerical_w: f64,
    /// Numerical gradient of the biases.
    pub(crate) numerical_b: f64,
    /// Analytic gradient of the weights.
    pub(crate) analytic_w: f64,
    /// Analytic gradient of the biases.
    pub(crate) analytic_b: f64,
    /// Relative errors of the weights.
    pub(crate) error_w: f64,
    /// Relative errors of the biases.
    pub(crate) error_b: f64,
}

/// The settings of section 3.2.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaperLoss {
    /// Smallest learning rate.
    pub(crate) eta_min: f64,
    /// Largest learning rate.
    pub(crate) eta_max: f64,
    /// The weight of the L2 penalty, as printed.
    pub(crate) lambda: f64,
    /// The weight of the L2 penalty that was probably intended.
    pub(crate) assumed_lambda: f64,
    /// Update steps of half a cycle.
    pub(crate) n_s: u64,
    /// Cycles trained.
    pub(crate) cycles: u64,
    /// The networks of Figures 1 and 2, in this order.
    pub(crate) networks: Vec<String>,
}

/// A search for lambda.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaperSearch {
    /// Smallest lambda of the range.
    pub(crate) from: f64,
    /// Largest lambda of the range.
    pub(crate) to: f64,
    /// Cycles that each trial trained.
    pub(crate) cycles: u64,
    /// The three best trials in the order of the paper, the best one last.
    pub(crate) top: Vec<PaperTrial>,
}

/// A trial in the paper.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaperTrial {
    /// The weight of the L2 penalty.
    pub(crate) lambda: f64,
    /// Fraction of the validation images classified correctly.
    pub(crate) accuracy: f64,
}

/// The final result.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaperFinal {
    /// The weight of the L2 penalty.
    pub(crate) lambda: f64,
    /// Cycles trained.
    pub(crate) cycles: u64,
    /// Fraction of the test images classified correctly.
    pub(crate) accuracy: f64,
}

/// The settings of section 3.6.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaperSensitivity {
    /// The network.
    pub(crate) network: String,
    /// Standard deviations of the initial weights, one per figure: Figures 3, 4 and 5.
    pub(crate) sigmas: Vec<f64>,
    /// Cycles trained.
    pub(crate) cycles: u64,
}

/// The text of `data/paper.toml` at the time of the build.
const EMBEDDED: &str = include_str!("../../data/paper.toml");

impl Paper {
    /// Reads the numbers from TOML.
    ///
    /// # Errors
    ///
    /// If the text is not TOML, or a field is missing, unknown or of the wrong type; the error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The numbers of `data/paper.toml`, embedded in the program.
    ///
    /// # Errors
    ///
    /// If the embedded file is invalid; a test checks that it is valid.
    pub(crate) fn embedded() -> Result<Self, toml::de::Error> {
        Self::parse(EMBEDDED)
    }
}

impl PaperSearch {
    /// The trial with the highest accuracy.
    pub(crate) fn best(&self) -> Option<&PaperTrial> {
        self.top.iter().max_by(|a, b| a.accuracy.total_cmp(&b.accuracy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_numbers_match_the_paper() {
        let paper = Paper::embedded().unwrap();
        assert_eq!(paper.gradients[0].layers[0].analytic_w, -5.457_094_368_783_721_4);
        assert_eq!(paper.gradients[1].layers.len(), 3);
        assert_eq!(paper.coarse.best().unwrap().lambda, 1.117_361_11e-5);
        assert_eq!(paper.fine.best().unwrap().lambda, paper.final_.lambda);
        assert_eq!(paper.final_.accuracy, 0.5344);
        assert_eq!(paper.dataset.classes * paper.dataset.images_per_class, paper.dataset.images);
    }

    #[test]
    fn errors_name_an_unknown_or_missing_field() {
        let unknown = EMBEDDED.replace("n_s = 2250", "n_s = 2250\nn_t = 1");
        assert!(Paper::parse(&unknown).unwrap_err().to_string().contains("n_t"));
        let missing = EMBEDDED.replace("n_s = 2250", "");
        assert!(Paper::parse(&missing).unwrap_err().to_string().contains("n_s"));
    }
}
