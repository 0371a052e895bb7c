use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use klayer_experiments::model::{self, ModelInfo};
use klayer_experiments::{DatasetInfo, RunConfig, files};
use klayer_export::{Model, onnx, safetensors};
use klayer_nn::Network;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Error;
use crate::outputs;

/// The endings of names that tell a format.
pub(crate) const ENDINGS: &str = ".safetensors or .onnx";

/// The switches of `klayer export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    klayer export model.klayer --out model.safetensors          for PyTorch, and back with klayer import\n  \
    klayer export model.klayer --out model.onnx --input pixels  raw bytes go in, the graph normalizes them\n  \
    klayer export model.klayer --out model.onnx --fold-bn       batch norm as part of the affine layers\n\n\
    docs/export.md describes the files and how to load them.")]
pub(crate) struct ExportArgs {
    /// A network that `klayer train --out` has written
    model: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The format, where the file's name does not tell it by .safetensors or .onnx
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// For ONNX: make batch norm part of the affine layers, in place of nodes of its own
    #[arg(long)]
    fold_bn: bool,
    /// For ONNX: what goes in [default: normalized]
    #[arg(long, value_enum)]
    input: Option<Input>,
    /// Print one line of JSON in place of a sentence
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// Tensors by the names that PyTorch gives them
    Safetensors,
    /// A graph that runtimes can run
    Onnx,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Input {
    /// Floats that are normalized already
    Normalized,
    /// Raw pixels, a byte each; the graph normalizes them
    Pixels,
}

/// What an exported file says of a model beside its tensors and the names of its classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Training {
    config: RunConfig,
    dataset: DatasetInfo,
    validation_accuracy: f64,
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
                "fold_bn": self.fold_bn,
                "input": (!ours).then_some(if input == onnx::Input::Pixels { "pixels" } else { "normalized" }),
            })
            .to_string()
        } else {
            format!("written to {}, {} bytes of {}", self.out.display(), bytes.len(), format.name())
        };
        writeln!(io::stdout(), "{report}").map_err(Error::Output)
    }
}

impl Format {
    /// That which the name of a file tells.
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

/// A model file's content as it is exported.
fn split(network: Network<f32>, info: ModelInfo) -> Model<Training> {
    let ModelInfo { config, dataset, normalization, classes, validation_accuracy, test_accuracy } = info;
    let training = Training { config, dataset, validation_accuracy, test_accuracy };
    Model { network, normalization, classes, training }
}

/// The content of the model file that was exported as `model`.
pub(crate) fn join(model: Model<Training>) -> (Network<f32>, ModelInfo) {
    let Model { network, normalization, classes, training } = model;
    let Training { config, dataset, validation_accuracy, test_accuracy } = training;
    (network, ModelInfo { config, dataset, normalization, classes, validation_accuracy, test_accuracy })
}
