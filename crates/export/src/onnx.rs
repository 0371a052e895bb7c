//! Models as [ONNX](https://onnx.ai/onnx/intro/concepts.html) graphs.
//!
//! | | name | shape | type |
//! | --- | --- | --- | --- |
//! | input | `input` | batch x inputs | normalized floats |
//! | or | `pixels` | batch x inputs | bytes, 1024 of red, then of green, then of blue |
//! | output | `logits` | batch x classes | floats, before softmax |
//!
//! The batch size is dynamic. A layer is a [`Gemm`](https://onnx.ai/onnx/operators/onnx__Gemm.html) node, followed in
//! hidden layers by [`BatchNormalization`](https://onnx.ai/onnx/operators/onnx__BatchNormalization.html), if the
//! network has batch norm, and the activation: `Relu`; GELU as x (0.5 + 0.5 `Erf`(x / sqrt 2)); modulus as the square
//! root of `ReduceSumSquare` over pairs, plus 0.001. The tensors have the same names as in a
//! [safetensors](crate::safetensors) file.
//!
//! Pixels are normalized by `Cast`, `Sub` and `Mul`, with exactly the numbers of
//! [`Normalizer`](klayer_dataset::Normalizer). Whitening is folded into the weights of the first layer, whose input is
//! then the pixels, minus their means: see [`Normalization::fold`].
//!
//! The metadata contains the class names (`classes`), [`Model::training`] (`training`) and, for a graph with normalized
//! input, `normalization.mean` and `normalization.std` in units of pixel / 255, all as JSON.

mod proto;

use klayer_dataset::Normalization;
use klayer_linalg::RowMajor;
use klayer_nn::{Activation, Layer};
use prost::Message;
use serde::Serialize;

use crate::model::{Part, Tensor, check_values};
use crate::{Error, Model};
use proto::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, Attribute, Dimension, Entry, Extent, FLOAT, INT64, Node, UINT8,
    ValueInfo,
};

/// Options of an exported graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether to fold batch norm into the affine maps before it instead of exporting it as separate nodes.
    pub fold_batch_norm: bool,
    /// The input of the graph.
    pub input: Input,
}

/// The input of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Normalized floats.
    Normalized,
    /// Bytes, which the graph normalizes.
    Pixels,
}

/// Builds a graph node by node.
#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    tensors: Vec<proto::Tensor>,
}

/// Encodes `model` as an ONNX file. Equal models and options give equal bytes.
///
/// # Errors
/// [`Error::Untrained`], [`Error::Value`], [`Error::Classes`] and [`Error::Shape`] for an invalid model;
/// [`Error::Value`] also for a folded weight that overflows `f32`; [`Error::Metadata`] if JSON cannot represent the
/// metadata.
pub fn encode<M: Serialize>(model: &Model<M>, options: Options) -> Result<Vec<u8>, Error> {
    let mut tensors = model.tensors()?;
    if options.fold_batch_norm {
        for (l, layer) in model.network.layers().iter().enumerate() {
            fold(l, layer, &mut tensors)?;
        }
        tensors.retain(|tensor| tensor.name.starts_with("fc"));
    }
    let architecture = model.network.architecture();
    let mut builder = Builder::default();
    let whitens = model.normalization.whitening().is_some();
    let (name, numbers, about) = match options.input {
        Input::Normalized if whitens => ("input", FLOAT, "pixel / 255 - mean, where mean is that of the channel"),
        Input::Normalized => ("input", FLOAT, "(pixel / 255 - mean) / std, or 0 where std is 0"),
        Input::Pixels => ("pixels", UINT8, "channel by channel, such as red, green and blue, each row by row"),
    };
    if whitens {
        whiten(model, options.input, &mut tensors)?;
    }
    let mut x = name.to_owned();
    if options.input == Input::Pixels {
        x = builder.normalize(&x, &model.normalization)?;
    }
    for tensor in tensors {
        builder.tensor(tensor);
    }
    for (l, layer) in model.network.layers().iter().enumerate() {
        let last = l == architecture.depth() - 1;
        let norm = layer.batch_norm.as_ref().filter(|_| !options.fold_batch_norm);
        x = builder.affine(l, &x, last);
        if let Some(norm) = norm {
            x = builder.batch_norm(l, &x, norm.eps());
        }
        if !last {
            x = builder.activation(l, &x, architecture.activations()[l], architecture.hidden()[l]);
        }
    }

    let graph = proto::Graph {
        node: builder.nodes,
        name: "klayer".to_owned(),
        initializer: builder.tensors,
        input: vec![value(name, numbers, architecture.inputs(), about)],
        output: vec![value("logits", FLOAT, architecture.classes(), "one per class, before softmax")],
    };
    let file = proto::Model {
        ir_version: proto::IR_VERSION,
        producer_name: "klayer".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: proto::OPSET }],
        metadata_props: metadata(model, options.input)?,
    };
    Ok(file.encode_to_vec())
}

/// Folds the whitening of pixels minus their means into the affine map of the first layer, whose tensors come first.
/// The means are subtracted before, because the products of large pixels would cancel with a loss of precision.
fn whiten<M>(model: &Model<M>, input: Input, tensors: &mut [Tensor]) -> Result<(), Error> {
    let [weight, bias, ..] = tensors else { return Ok(()) };
    let w = RowMajor::from_rows(weight.shape[0], weight.shape[1], &weight.values);
    let white = if input == Input::Pixels { 255.0 } else { 1.0 };
    let (w, b) = model.normalization.fold(&w, &bias.values, white);
    let mean = model.normalization.mean();
    for (i, (row, bias)) in w.rows().zip(&mut bias.values).enumerate() {
        let shift: f64 = row.iter().zip(mean).map(|(&w, mean)| f64::from(w) * mean * white).sum();
        *bias = (f64::from(b[i]) + shift) as f32;
    }
    weight.values = w.rows().flatten().copied().collect();
    check_values(&weight.name, &weight.shape, &weight.values, true)?;
    check_values(&bias.name, &bias.shape, &bias.values, true)
}

/// Folds the batch norm of layer `l`, if any, into its affine map. With k = gamma / sqrt(variance + eps),
/// gamma ((W x + b) - mean) / sqrt(variance + eps) + beta = (k W) x + (k (b - mean) + beta). Computes in `f64` and
/// rounds once.
fn fold(l: usize, layer: &Layer<f32>, tensors: &mut [Tensor]) -> Result<(), Error> {
    let Some((norm, running)) = layer.batch_norm.as_ref().and_then(|norm| Some((norm, norm.running.as_ref()?))) else {
        return Ok(());
    };
    let scale = |i: usize| {
        let deviation = (f64::from(running.variance[i]) + f64::from(norm.eps())).sqrt();
        f64::from(norm.gamma[i]) / deviation
    };
    let (weight, bias) = (Part::Weight.name(l), Part::Bias.name(l));
    for tensor in tensors.iter_mut().filter(|tensor| tensor.name == weight || tensor.name == bias) {
        let row = tensor.values.len() / norm.gamma.len();
        for (i, values) in tensor.values.chunks_mut(row).enumerate() {
            let (scale, mean, beta) = if tensor.name == weight {
                (scale(i), 0.0, 0.0)
            } else {
                (scale(i), f64::from(running.mean[i]), f64::from(norm.beta[i]))
            };
            for value in values {
                *value = (scale * (f64::from(*value) - mean) + beta) as f32;
            }
        }
        check_values(&tensor.name, &tensor.shape, &tensor.values, true)?;
    }
    Ok(())
}

impl Builder {
    /// Adds a node with one output of the same name, and returns the name.
    fn node(&mut self, operator: &str, name: &str, inputs: &[&str], attribute: Vec<Attribute>) -> String {
        self.nodes.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute,
        });
        name.to_owned()
    }

    fn tensor(&mut self, Tensor { name, shape, values }: Tensor) {
        self.tensors.push(proto::Tensor {
            dims: shape.iter().map(|&extent| extent as i64).collect(),
            data_type: FLOAT,
            name,
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
    }

    fn normalize(&mut self, x: &str, normalization: &Normalization) -> Result<String, Error> {
        let normalizer = normalization.normalizer::<f32>();
        let parameters = [("normalization.pixel_mean", normalizer.mean()), ("normalization.scale", normalizer.scale())];
        let used = if normalization.whitening().is_some() { 1 } else { 2 };
        for (name, values) in parameters.into_iter().take(used) {
            let shape = vec![values.len()];
            check_values(name, &shape, values, true)?;
            self.tensor(Tensor { name: name.to_owned(), shape, values: values.to_vec() });
        }
        let x = self.node("Cast", "float", &[x], vec![integer("to", i64::from(FLOAT))]);
        let x = self.node("Sub", "centred", &[&x, parameters[0].0], vec![]);
        if normalization.whitening().is_some() {
            return Ok(x);
        }
        Ok(self.node("Mul", "normalized", &[&x, parameters[1].0], vec![]))
    }

    fn affine(&mut self, l: usize, x: &str, last: bool) -> String {
        let name = if last { "logits".to_owned() } else { format!("fc{}", l + 1) };
        let inputs = [x, &Part::Weight.name(l), &Part::Bias.name(l)];
        self.node("Gemm", &name, &inputs, vec![integer("transB", 1)])
    }

    /// The activation of hidden layer `l` with `units` units.
    fn activation(&mut self, l: usize, x: &str, activation: Activation, units: usize) -> String {
        let name = format!("{activation}{}", l + 1);
        let step = |operator: &str| format!("{name}.{operator}");
        match activation {
            Activation::Relu => self.node("Relu", &name, &[x], vec![]),
            Activation::Gelu => {
                let [root, half] = [self.number("sqrt_half", 0.5_f32.sqrt()), self.number("half", 0.5)];
                let erf = self.node("Mul", &step("scaled"), &[x, &root], vec![]);
                let erf = self.node("Erf", &step("erf"), &[&erf], vec![]);
                let erf = self.node("Mul", &step("halved"), &[&erf, &half], vec![]);
                let phi = self.node("Add", &step("phi"), &[&erf, &half], vec![]);
                self.node("Mul", &name, &[x, &phi], vec![])
            }
            Activation::Modulus => {
                let eps = self.number("modulus_eps", 0.001);
                let shape = self.integers(&step("shape"), &[0, 2, (units / 2) as i64]);
                let axes = Attribute { ints: vec![1], kind: ATTRIBUTE_INTS, ..attribute("axes") };
                let pairs = self.node("Reshape", &step("pairs"), &[x, &shape], vec![]);
                let sum = self.node("ReduceSumSquare", &step("sum"), &[&pairs], vec![axes, integer("keepdims", 0)]);
                let sum = self.node("Add", &step("shifted"), &[&sum, &eps], vec![]);
                self.node("Sqrt", &name, &[&sum], vec![])
            }
        }
    }

    /// A tensor of one number, shared by all nodes that need it.
    fn number(&mut self, name: &str, value: f32) -> String {
        if self.tensors.iter().all(|tensor| tensor.name != name) {
            self.tensor(Tensor { name: name.to_owned(), shape: vec![1], values: vec![value] });
        }
        name.to_owned()
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        self.tensors.push(proto::Tensor {
            dims: vec![values.len() as i64],
            data_type: INT64,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        name.to_owned()
    }

    fn batch_norm(&mut self, l: usize, x: &str, eps: f32) -> String {
        let parameters = [Part::Gamma, Part::Beta, Part::RunningMean, Part::RunningVariance].map(|part| part.name(l));
        let inputs: Vec<&str> = [x].into_iter().chain(parameters.iter().map(String::as_str)).collect();
        let epsilon = Attribute { f: Some(eps), kind: ATTRIBUTE_FLOAT, ..attribute("epsilon") };
        self.node("BatchNormalization", &format!("bn{}", l + 1), &inputs, vec![epsilon])
    }
}

fn integer(name: &str, value: i64) -> Attribute {
    Attribute { i: Some(value), kind: ATTRIBUTE_INT, ..attribute(name) }
}

/// An attribute without a value.
fn attribute(name: &str) -> Attribute {
    Attribute { name: name.to_owned(), ..Attribute::default() }
}

/// An input or output of the graph, batch x `width`.
fn value(name: &str, numbers: i32, width: usize, about: &str) -> ValueInfo {
    let extents = [Extent::Parameter("batch".to_owned()), Extent::Value(width as i64)];
    let shape = proto::Shape { dim: extents.map(|extent| Dimension { extent: Some(extent) }).into() };
    let tensor_type = Some(proto::TensorType { elem_type: numbers, shape: Some(shape) });
    ValueInfo { name: name.to_owned(), kind: Some(proto::Type { tensor_type }), doc_string: about.to_owned() }
}

fn metadata<M: Serialize>(model: &Model<M>, input: Input) -> Result<Vec<Entry>, Error> {
    let json = |key: &str, value: serde_json::Result<String>| match value {
        Ok(value) => Ok(Entry { key: key.to_owned(), value }),
        Err(error) => Err(Error::Metadata { reason: error.to_string() }),
    };
    let mut entries = vec![
        json("classes", serde_json::to_string(&model.classes))?,
        json("training", serde_json::to_string(&model.training))?,
    ];
    if input == Input::Normalized {
        entries.push(json("normalization.mean", serde_json::to_string(model.normalization.mean()))?);
        // Whitening, which divides by the deviations, is a part of the first layer.
        let whitens = model.normalization.whitening().is_some();
        let ones = vec![1.0; model.normalization.features()];
        let deviation = if whitens { &ones[..] } else { model.normalization.deviation() };
        entries.push(json("normalization.std", serde_json::to_string(deviation))?);
    }
    Ok(entries)
}
