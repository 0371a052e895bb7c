//! Trained networks as files, with everything needed to use them.

use std::fs::File;
use std::path::Path;

use klayer_dataset::Normalization;
use klayer_nn::Network;
use klayer_nn::model_file::{self, MODEL, MODEL_1};
use klayer_store::files;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::data::DatasetInfo;
use crate::model_1::Info1;
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
    let bytes = model_file::encode(&MODEL, network, &[], info).map_err(Error::model(path))?;
    Ok(files::write(path, &bytes)?)
}

/// Reads the file `path`.
///
/// # Errors
/// [`Error::Store`], and [`Error::Model`] if the file is not a valid model or its network, normalization and classes
/// do not match.
pub fn load(path: &Path) -> Result<(Network<f32>, ModelInfo), Error> {
    let (kind, bytes) = network_file::read(&[MODEL, MODEL_1], path, |path| File::open(path))?;
    let (network, info) = if kind == MODEL_1 {
        let (network, info) = model_file::decode_1::<f32, Info1>(&bytes).map_err(Error::model(path))?;
        (network, current(info)?)
    } else {
        let (network, _, info) = model_file::decode(&MODEL, &bytes).map_err(Error::model(path))?;
        (network, info)
    };
    let (inputs, classes) = (network.architecture().inputs(), network.architecture().classes());
    if info.normalization.features() != inputs || info.classes.len() != classes {
        let reason = format!(
            "the metadata has {} features and {} classes, but the network has {inputs} inputs and {classes} classes",
            info.normalization.features(),
            info.classes.len()
        );
        return Err(Error::model(path)(klayer_nn::Error::Format { what: MODEL.name, reason, offset: 0 }));
    }
    Ok((network, info))
}

/// The metadata of a file of layout 1 in their current form.
fn current(info: Info1) -> Result<ModelInfo, Error> {
    Ok(ModelInfo {
        config: info.config.current(),
        dataset: info.dataset,
        normalization: Normalization::new(info.normalization.mean, info.normalization.deviation)?,
        classes: info.classes,
        validation_accuracy: info.validation_accuracy,
        test_accuracy: info.test_accuracy,
    })
}
