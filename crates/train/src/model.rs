//! Trained networks as files, with everything needed to use them.

use std::fs::File;
use std::path::Path;

use klayer_dataset::{Normalization, Shape, Split};
use klayer_nn::Network;
use klayer_nn::model_file::{self, MODEL, MODEL_1};
use klayer_store::files;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::data::{Data, DatasetInfo};
use crate::model_1::Info1;
use crate::train::Trained;
use crate::{Error, network_file};

/// The metadata of a model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Training settings.
    pub config: RunConfig,
    /// Training dataset.
    pub dataset: DatasetInfo,
    /// The images, and how they were loaded.
    #[serde(default)]
    pub images: ImageInfo,
    /// Normalization of the inputs.
    pub normalization: Normalization,
    /// Class names.
    pub classes: Vec<String>,
    /// Validation accuracy, if there were validation images.
    pub validation_accuracy: Option<f64>,
    /// Test accuracy, if the network was tested.
    pub test_accuracy: Option<f64>,
}

/// The images that a model takes, and how they were loaded, so that the same images can be loaded again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Shape of an image.
    pub shape: Shape,
    /// Format of the dataset: the name of a [`Format`](klayer_dataset::Format). `None` if it was not loaded.
    pub format: Option<String>,
    /// Number of validation images that were taken from the training images; `None` if they were given.
    pub validation: Option<usize>,
}

impl Default for ImageInfo {
    /// The shape of CIFAR-10's images, which all models without this entry take.
    fn default() -> Self {
        Self { shape: Shape::CIFAR, format: None, validation: None }
    }
}

impl ModelInfo {
    /// Checks that the normalization, the images and the classes are those of `network`.
    fn check(&self, network: &Network<f32>) -> Result<(), klayer_nn::Error> {
        let (inputs, classes) = (network.architecture().inputs(), network.architecture().classes());
        let (features, shape) = (self.normalization.features(), self.images.shape);
        if (features, shape.features(), self.classes.len()) == (inputs, inputs, classes) {
            return Ok(());
        }
        let named = self.classes.len();
        let reason = format!(
            "the metadata has {features} features, images of {shape} and {named} classes, but the network has {inputs} \
             inputs and {classes} classes"
        );
        Err(klayer_nn::Error::Format { what: MODEL.name, reason, offset: 0 })
    }

    /// The metadata of the network that `config` trained on `data`.
    pub fn new<T>(config: &RunConfig, data: &Data, trained: &Trained<T>) -> Self {
        let dataset = &data.dataset;
        Self {
            config: config.clone(),
            dataset: data.info(),
            images: ImageInfo {
                shape: dataset.shape(),
                format: dataset.format().map(|format| format.to_string()),
                validation: (dataset.split() != Split::Given).then(|| dataset.validation().len()),
            },
            normalization: data.normalization.clone(),
            classes: dataset.class_names().to_vec(),
            validation_accuracy: trained.curve.last().and_then(|point| point.validation_accuracy),
            test_accuracy: trained.test.as_ref().map(|test| test.accuracy),
        }
    }
}

/// Writes `network` and `info` to the file `path`.
///
/// # Errors
/// [`Error::Store`], and [`Error::Model`] if the network, normalization, images and classes do not match.
pub fn save(path: &Path, network: &Network<f32>, info: &ModelInfo) -> Result<(), Error> {
    info.check(network).map_err(Error::model(path))?;
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
    info.check(&network).map_err(Error::model(path))?;
    Ok((network, info))
}

/// The metadata of a file of layout 1 in their current form.
fn current(info: Info1) -> Result<ModelInfo, Error> {
    Ok(ModelInfo {
        config: info.config.current(),
        dataset: info.dataset,
        images: ImageInfo::default(),
        normalization: Normalization::new(info.normalization.mean, info.normalization.deviation)?,
        classes: info.classes,
        validation_accuracy: Some(info.validation_accuracy),
        test_accuracy: info.test_accuracy,
    })
}
