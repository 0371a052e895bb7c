use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use klayer_export::{Model, onnx, safetensors};
use klayer_nn::Network;
use klayer_store::files;
use klayer_train::model::{self, ImageInfo, ModelInfo};
use klayer_train::{DatasetInfo, RunConfig};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Error;
use crate::outputs;

/// The file name extensions of the supported formats.
pub(crate) const ENDINGS: &str = ".safetensors or .onnx";

/// Options of `klayer export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    klayer export model.klayer --out model.safetensors           for PyTorch or klayer import\n  \
    klayer export model.klayer --out pixels.onnx --input pixels  the graph takes raw bytes and normalizes them\n  \
    klayer export model.klayer --out folded.onnx --fold-bn       merge batch norm into the affine layers\n\n\
    See docs/export.md for the file formats and how to load them.")]
pub(crate) struct ExportArgs {
    /// Model file written by klayer train
    model: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Output format [default: inferred from the file name]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Merge batch norm into the affine layers (ONNX only)
    #[arg(long)]
    fold_bn: bool,
    /// Input of the graph (ONNX only) [default: normalized]
    #[arg(long, value_enum)]
    input: Option<Input>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// Tensors with PyTorch's names
    Safetensors,
    /// Graph for ONNX runtimes
    Onnx,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Input {
    /// Normalized floats
    Normalized,
    /// Raw pixels, one byte each; the graph normalizes them
    Pixels,
}

/// Metadata of an exported model besides its tensors and class names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Training {
    config: RunConfig,
    dataset: DatasetInfo,
    #[serde(default)]
    images: ImageInfo,
    validation_accuracy: Option<f64>,
    test_accuracy: Option<f64>,
}

impl ExportArgs {
    pub(crate) fn run(self) -> Result<(), Error> {
        let format = self.format.or_else(|| Format::of(&self.out)).ok_or(Error::NoFormat { path: self.out.clone() })?;
        let ours = format == Format::Safetensors;
        if let Some(switch) = [(self.fold_bn, "--fold-bn"), (self.input.is_some(), "--input")]
            .into_iter()
            .find_map(|(given, switch)| (ours && given).then_some(switch))
        {
            return Err(Error::OnnxAlone { switch });
        }
        outputs::check([self.model.as_path()], [self.out.as_path()])?;
        let (network, info) = model::load(&self.model)?;
        let widths = network.architecture().widths().to_vec();
        let synthetic = info.dataset.synthetic;
        let model = split(network, info);
        let input = match self.input {
            Some(Input::Pixels) => onnx::Input::Pixels,
            Some(Input::Normalized) | None => onnx::Input::Normalized,
        };
        let bytes = match format {
            Format::Safetensors => safetensors::encode(&model),
            Format::Onnx => onnx::encode(&model, onnx::Options { fold_batch_norm: self.fold_bn, input }),
        };
        let bytes = bytes.map_err(|error| Error::Export { path: self.model, error })?;
        files::write(&self.out, &bytes)?;
        let report = if self.json {
            json!({
                "file": self.out.to_string_lossy(),
                "format": format.name(),
                "bytes": bytes.len(),
                "widths": widths,
                "synthetic": synthetic,
                "fold_bn": self.fold_bn,
                "input": (!ours).then_some(if input == onnx::Input::Pixels { "pixels" } else { "normalized" }),
            })
            .to_string()
        } else {
            format!("wrote {} ({}, {} bytes)", self.out.display(), format.name(), bytes.len())
        };
        writeln!(io::stdout(), "{report}").map_err(Error::Output)
    }
}

impl Format {
    /// Infers the format from the extension of a file name.
    fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?;
        Self::value_variants().iter().copied().find(|format| ending.eq_ignore_ascii_case(format.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Onnx => "onnx",
        }
    }
}

/// Converts the content of a model file for export.
fn split(network: Network<f32>, info: ModelInfo) -> Model<Training> {
    let ModelInfo { config, dataset, images, normalization, classes, validation_accuracy, test_accuracy } = info;
    let training = Training { config, dataset, images, validation_accuracy, test_accuracy };
    Model { network, normalization, classes, training }
}

/// Converts an exported `model` back to the content of a model file.
pub(crate) fn join(model: Model<Training>) -> (Network<f32>, ModelInfo) {
    let Model { network, normalization, classes, training } = model;
    let Training { config, dataset, images, validation_accuracy, test_accuracy } = training;
    (network, ModelInfo { config, dataset, images, normalization, classes, validation_accuracy, test_accuracy })
}
