//! Evaluates ONNX graphs by the definitions of the [operators](https://onnx.ai/onnx/operators/), in double precision.
//!
//! It knows the operators of a klayer graph alone and panics on any other. `tests/interop` runs the same graphs in
//! onnxruntime.

#[path = "../../src/onnx/proto.rs"]
#[allow(dead_code)]
mod proto;

use std::collections::HashMap;

use klayer_dataset::Subset;
use prost::Message;
use proto::{FLOAT, INT64, Node, UINT8};

/// The input of a graph, images x features.
pub(crate) enum Batch<'a> {
    /// For a graph that normalizes.
    Pixels(Subset<'a>),
    /// For a graph that expects normalized floats.
    Normalized(&'a [f32]),
}

/// A matrix, row by row; a vector has one row.
#[derive(Clone)]
struct Matrix {
    columns: usize,
    values: Vec<f64>,
}

/// The logits of the graph in `bytes` for `batch`, images x classes.
pub(crate) fn logits(bytes: &[u8], batch: &Batch<'_>) -> Vec<f32> {
    let model = proto::Model::decode(bytes).expect("an ONNX file");
    assert_eq!((model.ir_version, model.opset_import[0].version), (proto::IR_VERSION, proto::OPSET));
    let graph = model.graph.expect("a graph");
    let [input] = &graph.input[..] else { panic!("{} inputs", graph.input.len()) };
    let kind = input.kind.as_ref().and_then(|kind| kind.tensor_type.as_ref()).expect("a tensor");
    let (expected, values): (i32, Vec<f64>) = match batch {
        Batch::Pixels(images) => (UINT8, images.images().flatten().map(|&pixel| f64::from(pixel)).collect()),
        Batch::Normalized(values) => (FLOAT, values.iter().map(|&value| f64::from(value)).collect()),
    };
    assert_eq!(kind.elem_type, expected);
    let extent = |extent: &proto::Dimension| match extent.extent.as_ref().expect("an extent") {
        proto::Extent::Value(value) => *value as usize,
        proto::Extent::Parameter(name) => panic!("{name} is not a number"),
    };
    let shape = &kind.shape.as_ref().expect("a shape").dim;
    assert!(shape.len() == 2 && matches!(shape[0].extent, Some(proto::Extent::Parameter(_))), "any number of images");

    let mut found = HashMap::from([(input.name.clone(), Matrix { columns: extent(&shape[1]), values })]);
    for tensor in &graph.initializer {
        let float = |bytes: &[u8]| f64::from(f32::from_le_bytes(bytes.try_into().expect("four bytes")));
        let integer = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().expect("eight bytes")) as f64;
        let values: Vec<_> = match tensor.data_type {
            FLOAT => tensor.raw_data.chunks(4).map(float).collect(),
            INT64 => tensor.raw_data.chunks(8).map(integer).collect(),
            other => panic!("{}: data type {other}", tensor.name),
        };
        assert_eq!(values.len() as i64, tensor.dims.iter().product::<i64>(), "{}", tensor.name);
        let columns = *tensor.dims.last().expect("a dimension") as usize;
        found.insert(tensor.name.clone(), Matrix { columns, values });
    }
    for node in &graph.node {
        let inputs: Vec<_> = node.input.iter().map(|name| found.get(name).expect("an earlier output")).collect();
        let output = apply(node, &inputs);
        found.insert(node.output[0].clone(), output);
    }
    found[&graph.output[0].name].values.iter().map(|&value| value as f32).collect()
}

/// The dot product, in eight sums that are independent so that it is quick.
fn dot(x: &[f64], w: &[f64]) -> f64 {
    let (x, w) = (x.as_chunks::<8>(), w.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (x, w) in x.0.iter().zip(w.0) {
        for (sum, (x, w)) in sums.iter_mut().zip(x.iter().zip(w)) {
            *sum += x * w;
        }
    }
    sums.iter().sum::<f64>() + x.1.iter().zip(w.1).map(|(x, w)| x * w).sum::<f64>()
}

fn apply(node: &Node, inputs: &[&Matrix]) -> Matrix {
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let integer = |name: &str| attribute(name).and_then(|attribute| attribute.i);
    match (node.op_type.as_str(), inputs) {
        ("Cast", [x]) => {
            assert_eq!(integer("to"), Some(i64::from(FLOAT)));
            (*x).clone()
        }
        ("Sub", [x, row]) => by_column(x, |value, j| value - row.values[j]),
        ("Mul", [x, other]) if other.values.len() == x.values.len() => {
            let values = x.values.iter().zip(&other.values).map(|(x, other)| x * other).collect();
            Matrix { columns: x.columns, values }
        }
        ("Mul", [x, row]) => by_column(x, |value, j| value * row.values[j % row.values.len()]),
        ("Add", [x, row]) => by_column(x, |value, j| value + row.values[j % row.values.len()]),
        ("Sqrt", [x]) => by_column(x, |value, _| value.sqrt()),
        ("Erf", [x]) => by_column(x, |value, _| erf(value)),
        // Only as a reshape to images x 2 x n, whose sum over the pairs follows.
        ("Reshape", [x, shape]) => {
            assert_eq!(shape.values[..], [0.0, 2.0, (x.columns / 2) as f64]);
            (*x).clone()
        }
        ("ReduceSumSquare", [x]) => {
            let axes = attribute("axes").map(|attribute| attribute.ints.clone());
            assert_eq!((axes, integer("keepdims")), (Some(vec![1]), Some(0)));
            let half = x.columns / 2;
            let sums =
                |row: &[f64]| -> Vec<f64> { (0..half).map(|j| row[j].powi(2) + row[half + j].powi(2)).collect() };
            Matrix { columns: half, values: x.values.chunks(x.columns).flat_map(sums).collect() }
        }
        ("Relu", [x]) => by_column(x, |value, _| value.max(0.0)),
        ("Gemm", [x, weight, bias]) => {
            assert_eq!(integer("transB"), Some(1), "the weight is outputs x inputs");
            let outputs = |x: &[f64]| -> Vec<f64> {
                let rows = weight.values.chunks(weight.columns);
                rows.zip(&bias.values).map(|(w, b)| dot(x, w) + b).collect()
            };
            assert_eq!(x.columns, weight.columns);
            Matrix { columns: bias.values.len(), values: x.values.chunks(x.columns).flat_map(outputs).collect() }
        }
        ("BatchNormalization", [x, gamma, beta, mean, variance]) => {
            let eps = f64::from(attribute("epsilon").and_then(|attribute| attribute.f).unwrap_or(1e-5));
            by_column(x, |value, j| {
                gamma.values[j] * (value - mean.values[j]) / (variance.values[j] + eps).sqrt() + beta.values[j]
            })
        }
        (operator, inputs) => panic!("{operator} of {} inputs", inputs.len()),
    }
}

/// `f` of each value of `x` and its column.
fn by_column(x: &Matrix, f: impl Fn(f64, usize) -> f64) -> Matrix {
    let values = x.values.iter().enumerate().map(|(i, &value)| f(value, i % x.columns)).collect();
    Matrix { columns: x.columns, values }
}

/// The error function, by its Taylor series or, for large `x`, its limit.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
