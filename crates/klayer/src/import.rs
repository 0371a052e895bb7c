use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use klayer_export::safetensors;
use klayer_store::files;
use klayer_train::model;
use serde_json::json;

use crate::Error;
use crate::export::join;
use crate::outputs;

/// Options of `klayer import`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  klayer import model.safetensors --out model.klayer\n\n\
    Exporting a model and importing it again gives an identical model file.")]
pub(crate) struct ImportArgs {
    /// Safetensors file with the tensors and metadata that klayer export writes
    file: PathBuf,
    /// Model file to write
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

impl ImportArgs {
    pub(crate) fn run(self) -> Result<(), Error> {
        outputs::check([self.file.as_path()], [self.out.as_path()])?;
        let model = safetensors::decode(&files::read(&self.file, files::LONGEST)?)
            .map_err(|error| Error::Export { path: self.file.clone(), error })?;
        let (network, info) = join(model);
        let architecture = network.architecture();
        let settings = &info.config.network;
        if settings.hidden.0 != architecture.hidden()
            || settings.batch_norm != architecture.batch_norm_eps().is_some()
            || settings.architecture(architecture.inputs(), architecture.classes())?.activations()
                != architecture.activations()
        {
            return Err(Error::OtherSettings { path: self.file, network: architecture.to_string() });
        }
        model::save(&self.out, &network, &info)?;
        let report = if self.json {
            let synthetic = info.dataset.synthetic;
            json!({ "file": self.out.to_string_lossy(), "widths": architecture.widths(), "synthetic": synthetic })
                .to_string()
        } else {
            format!("wrote {}: network {architecture}", self.out.display())
        };
        writeln!(io::stdout(), "{report}").map_err(Error::Output)
    }
}
