//! Trained networks as files, with everything needed to use them.

use std::fs::File;
use std::path::Path;

use klayer_dataset::Normalization;
use klayer_nn::Network;
use klayer_nn::model_file::{self, MODEL};
use klayer_store::files;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::data::DatasetInfo;
use crate::{Error, network_file};

/// The metadata of a model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Training settings.
    pub config: RunConfig,
    /// Training dataset.
    pub dataset: DatasetInfo,
    /// Normalization of the inputs.
    pub normalization: Normalization,
    /// Class names.
    pub classes: Vec<String>,
    /// Validation accuracy.
    pub validation_accuracy: f64,
    /// Test accuracy, if the network was tested.
    pub test_accuracy: Option<f64>,
}

/// Writes `network` and `info` to the file `path`.
///
/// # Errors
/// [`Error::Store`], [`Error::Model`].
pub fn save(path: &Path, network: &Network<f32>, info: &ModelInfo) -> Result<(), Error> {
    let bytes = model_file::encode(&MODEL, network, info).map_err(Error::model(path))?;
    Ok(files::write(path, &bytes)?)
}

/// Reads the file `path`.
///
/// # Errors
/// [`Error::Store`], and [`Error::Model`] if the file is not a valid model or its network, normalization and classes
/// do not match.
pub fn load(path: &Path) -> Result<(Network<f32>, ModelInfo), Error> {
    let (network, info): (Network<f32>, ModelInfo) =
        model_file::decode(&MODEL, &network_file::read(&MODEL, path, |path| File::open(path))?).map_err(Error::model(path))?;
    let (inputs, classes) = (network.architecture().inputs(), network.architecture().classes());
    if info.normalization.mean().len() != inputs || info.classes.len() != classes {
        let reason = format!(
            "the metadata has {} features and {} classes, but the network has {inputs} inputs and {classes} classes",
            info.normalization.mean().len(),
            info.classes.len()
        );
        return Err(Error::model(path)(klayer_nn::Error::Format { what: MODEL.name, reason, offset: 0 }));
    }
    Ok((network, info))
}
