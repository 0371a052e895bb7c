use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use klayer_experiments::{files, model};
use klayer_export::safetensors;
use serde_json::json;

use crate::Error;
use crate::export::join;
use crate::outputs;

/// Bytes of the longest file that is read.
const LONGEST: u64 = 1 << 30;

/// The switches of `klayer import`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  klayer import model.safetensors --out model.klayer\n\n\
    What klayer export has written comes back to the bit.")]
pub(crate) struct ImportArgs {
    /// A safetensors file that `klayer export` has written, or that keeps its tensors and its metadata
    file: PathBuf,
    /// Model file to write
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    /// Print one line of JSON in place of a sentence
    #[arg(long)]
    json: bool,
}

impl ImportArgs {
    pub(crate) fn run(self) -> Result<(), Error> {
        outputs::check([self.file.as_path()], [self.out.as_path()])?;
        let model = safetensors::decode(&files::read(&self.file, LONGEST)?)
            .map_err(|error| Error::Export { path: self.file.clone(), error })?;
        let (network, info) = join(model);
        let architecture = network.architecture();
        if info.config.hidden != architecture.hidden()
            || info.config.batch_norm != architecture.batch_norm_eps().is_some()
        {
            return Err(Error::OtherSettings { path: self.file, network: architecture.to_string() });
        }
        model::save(&self.out, &network, &info)?;
        let report = if self.json {
            json!({ "file": self.out.to_string_lossy(), "widths": architecture.widths() }).to_string()
        } else {
            format!("written to {}: a network of {architecture}", self.out.display())
        };
        writeln!(io::stdout(), "{report}").map_err(Error::Output)
    }
}
