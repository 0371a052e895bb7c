//! The exported model and its validation.

use klayer_dataset::Normalization;
use klayer_nn::{Architecture, Network};

use crate::Error;

/// A trained network with everything needed to use it.
#[derive(Debug, Clone)]
pub struct Model<M> {
    /// The network.
    pub network: Network<f32>,
    /// The normalization of its inputs.
    pub normalization: Normalization,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// Further metadata, such as training settings and results. Stored as JSON.
    pub training: M,
}

/// A parameter or running statistic of a network.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// The values, row by row.
    pub(crate) values: Vec<f32>,
}

/// A tensor of a layer, as in PyTorch's `torch.nn.Linear` (fc) or `torch.nn.BatchNorm1d` (bn).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Part {
    Weight,
    Bias,
    Gamma,
    Beta,
    RunningMean,
    RunningVariance,
}

const AFFINE: [Part; 2] = [Part::Weight, Part::Bias];
const BATCH_NORM: [Part; 4] = [Part::Gamma, Part::Beta, Part::RunningMean, Part::RunningVariance];

impl Part {
    /// The tensor's name in layer `layer`, which counts from 0; the numbers in names count from 1.
    pub(crate) fn name(self, layer: usize) -> String {
        let (module, tensor) = match self {
            Self::Weight => ("fc", "weight"),
            Self::Bias => ("fc", "bias"),
            Self::Gamma => ("bn", "weight"),
            Self::Beta => ("bn", "bias"),
            Self::RunningMean => ("bn", "running_mean"),
            Self::RunningVariance => ("bn", "running_var"),
        };
        format!("{module}{}.{tensor}", layer + 1)
    }

    fn shape(self, inputs: usize, outputs: usize) -> Vec<usize> {
        if self == Self::Weight { vec![outputs, inputs] } else { vec![outputs] }
    }
}

/// The tensors of a network, layer by layer: the index of the layer, the part and the shape.
pub(crate) fn parts(architecture: &Architecture) -> impl Iterator<Item = (usize, Part, Vec<usize>)> {
    let last = architecture.depth() - 1;
    let batch_norm = architecture.batch_norm_eps().is_some();
    architecture.layers().enumerate().flat_map(move |(l, (inputs, outputs))| {
        let norm = if batch_norm && l < last { &BATCH_NORM[..] } else { &[] };
        AFFINE.iter().chain(norm).map(move |&part| (l, part, part.shape(inputs, outputs)))
    })
}

/// Checks that all values are finite, and unless `signed`, that none is negative.
pub(crate) fn check_values<T: Copy + Into<f64>>(
    name: &str,
    shape: &[usize],
    values: &[T],
    signed: bool,
) -> Result<(), Error> {
    let fits = |value: f64| value.is_finite() && (signed || value >= 0.0);
    match values.iter().map(|&value| value.into()).enumerate().find(|&(_, value)| !fits(value)) {
        None => Ok(()),
        Some((position, value)) => Err(Error::Value {
            name: name.to_owned(),
            shape: shape.to_vec(),
            position,
            value,
            needed: if signed { "a finite number" } else { "a finite number of at least 0" },
        }),
    }
}

/// Checks that there is one name per class.
pub(crate) fn check_classes(classes: &[String], architecture: &Architecture) -> Result<(), Error> {
    match (classes.len(), architecture.classes()) {
        (named, classes) if named != classes => Err(Error::Classes { named, classes }),
        _ => Ok(()),
    }
}

impl<M> Model<M> {
    /// Returns all tensors of the network, layer by layer. Fails if the network is untrained or invalid.
    pub(crate) fn tensors(&self) -> Result<Vec<Tensor>, Error> {
        let architecture = self.network.architecture();
        check_classes(&self.classes, architecture)?;
        let (features, inputs) = (self.normalization.mean().len(), architecture.inputs());
        if features != inputs {
            let name = "normalization.mean".to_owned();
            return Err(Error::Shape { name, found: vec![features], expected: vec![inputs] });
        }
        parts(architecture).map(|(l, part, shape)| self.tensor(l, part, shape)).collect()
    }

    fn tensor(&self, l: usize, part: Part, shape: Vec<usize>) -> Result<Tensor, Error> {
        let (layer, name) = (&self.network.layers()[l], part.name(l));
        let untrained = || Error::Untrained { name: format!("bn{}", l + 1) };
        let norm = || layer.batch_norm.as_ref().ok_or_else(untrained);
        let running = || norm()?.running.as_ref().ok_or_else(untrained);
        let values = match part {
            Part::Weight => layer.affine.weight.rows().flatten().copied().collect(),
            Part::Bias => layer.affine.bias.clone(),
            Part::Gamma => norm()?.gamma.clone(),
            Part::Beta => norm()?.beta.clone(),
            Part::RunningMean => running()?.mean.clone(),
            Part::RunningVariance => running()?.variance.clone(),
        };
        if values.len() != shape.iter().product::<usize>() {
            return Err(Error::Shape { name, found: vec![values.len()], expected: shape });
        }
        check_values(&name, &shape, &values, part != Part::RunningVariance)?;
        Ok(Tensor { name, shape, values })
    }
}
