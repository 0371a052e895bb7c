//! Models as [safetensors](https://huggingface.co/docs/safetensors) files: a JSON header followed by the raw bytes of
//! the tensors. The reference implementation, the crate `safetensors`, reads and writes them.
//!
//! | tensor | shape | type |
//! | --- | --- | --- |
//! | `fc1.weight`, `fc2.weight`, ... | outputs x inputs | F32 |
//! | `fc1.bias`, ... | outputs | F32 |
//! | `bn1.weight` (gamma), `bn1.bias` (beta), ... | outputs | F32 |
//! | `bn1.running_mean`, `bn1.running_var`, ... | outputs | F32 |
//! | `normalization.mean`, `normalization.std` | inputs | F64, of pixel / 255 |
//!
//! The names are those of a `torch.nn.Sequential` with `torch.nn.Linear` modules named `fc1`, `fc2`, ... and
//! `torch.nn.BatchNorm1d` modules named `bn1`, `bn2`, ... The metadata has one entry, `klayer`: a JSON object with the
//! layout version, the widths, the activations (if not all are ReLU), eps of batch norm, the class names, the
//! normalization (if it is not by feature), and [`Model::training`].

use std::collections::{HashMap, HashSet};

use ::safetensors::tensor::{Dtype, TensorView};
use ::safetensors::{SafeTensorError, SafeTensors};
use klayer_dataset::{Normalization, Normalize};
use klayer_linalg::RowMajor;
use klayer_nn::batch_norm::Statistics;
use klayer_nn::{Architecture, Layer, Network};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{Part, check_classes, check_values, parts};
use crate::{Error, Model};

/// The key of the metadata entry.
const ENTRY: &str = "klayer";
/// The layout version, incremented with every change of the names or the metadata.
const VERSION: u64 = 1;

const MEAN: &str = "normalization.mean";
const DEVIATION: &str = "normalization.std";
/// A counter that PyTorch adds to batch norm. It is ignored.
const COUNT: &str = "num_batches_tracked";

#[derive(Serialize, Deserialize)]
struct Metadata<M> {
    version: u64,
    architecture: Architecture,
    classes: Vec<String>,
    /// The whole normalization, if it is more than a mean and a deviation of each feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    normalization: Option<Normalization>,
    training: M,
}

/// The version in the metadata, decoded before the rest.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// A tensor of any number type, as bytes.
struct Stored {
    name: String,
    shape: Vec<usize>,
    numbers: Dtype,
    bytes: Vec<u8>,
}

/// Encodes `model` as a safetensors file. Equal models give equal bytes.
///
/// # Errors
/// [`Error::Untrained`], [`Error::Value`], [`Error::Classes`] and [`Error::Shape`] for an invalid model;
/// [`Error::Metadata`] if JSON cannot represent [`Model::training`], for example because it contains a NaN.
pub fn encode<M: Serialize + DeserializeOwned + PartialEq>(model: &Model<M>) -> Result<Vec<u8>, Error> {
    let single = |tensor: crate::model::Tensor| Stored {
        name: tensor.name,
        shape: tensor.shape,
        numbers: Dtype::F32,
        bytes: tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let double = |name: &str, values: &[f64]| Stored {
        name: name.to_owned(),
        shape: vec![values.len()],
        numbers: Dtype::F64,
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let mut tensors: Vec<Stored> = model.tensors()?.into_iter().map(single).collect();
    tensors.push(double(MEAN, model.normalization.mean()));
    tensors.push(double(DEVIATION, model.normalization.deviation()));
    let metadata = Metadata {
        version: VERSION,
        architecture: model.network.architecture().clone(),
        classes: model.classes.clone(),
        normalization: Some(&model.normalization)
            .filter(|normalization| normalization.normalize() != Normalize::Feature)
            .cloned(),
        training: &model.training,
    };
    let text = serde_json::to_string(&metadata).map_err(refuse_metadata)?;
    let read: Metadata<M> = serde_json::from_str(&text).map_err(refuse_metadata)?;
    if read.training != model.training {
        return Err(Error::Metadata { reason: "JSON cannot represent it; all numbers must be finite".to_owned() });
    }
    // A single entry, because the order of several would be arbitrary.
    file(&tensors, Some(HashMap::from([(ENTRY.to_owned(), text)])))
}

/// Decodes a model from the `bytes` of a safetensors file. Restores the model given to [`encode`] exactly.
///
/// Ignores the tensors `num_batches_tracked`, which PyTorch adds to batch norm.
///
/// # Errors
/// [`Error::Format`], [`Error::Foreign`], [`Error::Version`] and [`Error::Metadata`] if the file is not one of klayer,
/// or is damaged; [`Error::Missing`], [`Error::Unexpected`], [`Error::Shape`], [`Error::Type`] and [`Error::Value`] if
/// a tensor does not match the architecture in the metadata; [`Error::Classes`].
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<Model<M>, Error> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(refuse_file)?;
    let entries = header.metadata().as_ref();
    let text = entries.and_then(|entries| entries.get(ENTRY)).ok_or(Error::Foreign)?;
    let Version { version } = serde_json::from_str(text).map_err(refuse_metadata)?;
    if version != VERSION {
        return Err(Error::Version { found: version, known: VERSION });
    }
    let metadata: Metadata<M> = serde_json::from_str(text).map_err(refuse_metadata)?;
    let architecture = &metadata.architecture;
    check_classes(&metadata.classes, architecture)?;

    let file = SafeTensors::deserialize(bytes).map_err(refuse_file)?;
    let inputs = [architecture.inputs()];
    let mean = doubles(&file, MEAN, &inputs, true)?;
    let deviation = doubles(&file, DEVIATION, &inputs, false)?;
    let mut known = HashSet::from([MEAN.to_owned(), DEVIATION.to_owned()]);
    // Checks all tensors before allocating a network of the size that the metadata declares.
    for (l, part, shape) in parts(architecture) {
        let name = part.name(l);
        view(&file, &name, &shape, Dtype::F32)?;
        if part == Part::Gamma {
            known.insert(format!("bn{}.{COUNT}", l + 1));
        }
        known.insert(name);
    }
    if let Some(name) = file.names().into_iter().filter(|&name| !known.contains(name)).min() {
        return Err(Error::Unexpected { name: name.to_owned() });
    }

    let mut network = Network::zeros(architecture);
    for (l, part, shape) in parts(architecture) {
        let values = singles(&file, &part.name(l), &shape, part != Part::RunningVariance)?;
        put(&mut network, l, part, &shape, values);
    }
    let normalization = match metadata.normalization {
        Some(normalization) => normalization,
        None => Normalization::new(mean, deviation).map_err(|error| Error::Metadata { reason: error.to_string() })?,
    };
    Ok(Model { network, normalization, classes: metadata.classes, training: metadata.training })
}

/// Encodes the logits of a network and the labels of the images as a safetensors file with two tensors: `logits`
/// (images x classes, F32) and `labels` (images, U8).
///
/// # Shapes
/// `logits` images x classes, `labels` images.
///
/// # Errors
/// [`Error::Shape`] if the numbers of labels and images differ.
pub fn encode_logits(logits: &RowMajor<f32>, labels: &[u8]) -> Result<Vec<u8>, Error> {
    let images = logits.nrows();
    if labels.len() != images {
        return Err(Error::Shape { name: "labels".to_owned(), found: vec![labels.len()], expected: vec![images] });
    }
    let logits = Stored {
        name: "logits".to_owned(),
        shape: vec![images, logits.ncols()],
        numbers: Dtype::F32,
        bytes: logits.rows().flatten().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let labels = Stored { name: "labels".to_owned(), shape: vec![images], numbers: Dtype::U8, bytes: labels.to_vec() };
    file(&[logits, labels], None)
}

fn file(tensors: &[Stored], metadata: Option<HashMap<String, String>>) -> Result<Vec<u8>, Error> {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.numbers, tensor.shape.clone(), &tensor.bytes).map_err(refuse_file)?;
        Ok((tensor.name.as_str(), view))
    });
    ::safetensors::serialize(views.collect::<Result<Vec<_>, Error>>()?, metadata).map_err(refuse_file)
}

/// Returns the tensor `name` of `file` after checking its shape and type.
fn view<'a>(file: &SafeTensors<'a>, name: &str, shape: &[usize], numbers: Dtype) -> Result<TensorView<'a>, Error> {
    let missing = |_| Error::Missing { name: name.to_owned(), expected: shape.to_vec() };
    let view = file.tensor(name).map_err(missing)?;
    if view.shape() != shape {
        return Err(Error::Shape { name: name.to_owned(), found: view.shape().to_vec(), expected: shape.to_vec() });
    }
    if view.dtype() != numbers {
        let expected = if numbers == Dtype::F64 { "F64" } else { "F32" };
        let (shape, found) = (shape.to_vec(), view.dtype().to_string());
        return Err(Error::Type { name: name.to_owned(), shape, found, expected });
    }
    Ok(view)
}

fn singles(file: &SafeTensors<'_>, name: &str, shape: &[usize], signed: bool) -> Result<Vec<f32>, Error> {
    let view = view(file, name, shape, Dtype::F32)?;
    let values: Vec<f32> = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    check_values(name, shape, &values, signed)?;
    Ok(values)
}

fn doubles(file: &SafeTensors<'_>, name: &str, shape: &[usize], signed: bool) -> Result<Vec<f64>, Error> {
    let view = view(file, name, shape, Dtype::F64)?;
    let values: Vec<f64> = view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect();
    check_values(name, shape, &values, signed)?;
    Ok(values)
}

/// Stores the values of a tensor in the network. The shape must be that of the architecture.
fn put(network: &mut Network<f32>, l: usize, part: Part, shape: &[usize], values: Vec<f32>) {
    let Layer { affine, batch_norm } = &mut network.layers_mut()[l];
    let running = |norm: &mut Option<Statistics<f32>>| norm.take().unwrap_or_else(|| Statistics::zeros(0));
    match (part, batch_norm) {
        (Part::Weight, _) => affine.weight = RowMajor::from_rows(shape[0], shape[1], &values),
        (Part::Bias, _) => affine.bias = values,
        (Part::Gamma, Some(norm)) => norm.gamma = values,
        (Part::Beta, Some(norm)) => norm.beta = values,
        (Part::RunningMean, Some(norm)) => {
            norm.running = Some(Statistics { mean: values, ..running(&mut norm.running) });
        }
        (Part::RunningVariance, Some(norm)) => {
            norm.running = Some(Statistics { variance: values, ..running(&mut norm.running) });
        }
        (_, None) => unreachable!("only layers with batch norm have its tensors"),
    }
}

fn refuse_file(error: SafeTensorError) -> Error {
    Error::Format { reason: error.to_string() }
}

fn refuse_metadata(error: serde_json::Error) -> Error {
    Error::Metadata { reason: error.to_string() }
}
