use std::path::{Path, PathBuf};

use clap::Args;
use klayer_dataset::{Dataset, Error, Format, Options, Sizes, Source, Split, fetch, load, load_or_generate};

use crate::{Interrupt, Terminal};

/// Options that select the images.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Folder or archive of CIFAR-10 [default: $CIFAR10_DIR, data/, ../shared/, or a download]
    ///
    /// Accepts the folder or the .tar.gz archive of the binary or the Python version, or a folder that contains one of
    /// these. klayer looks for data/ and ../shared/ relative to the current directory, cargo xtask relative to the
    /// checkout; downloads go to data/.
    #[arg(long, value_name = "PATH", conflicts_with = "synthetic")]
    pub data: Option<PathBuf>,

    /// Use generated images instead of CIFAR-10
    ///
    /// For trying out commands; the results say nothing about CIFAR-10.
    #[arg(long)]
    pub synthetic: bool,

    /// Disable downloads
    #[arg(long)]
    pub offline: bool,
}

impl DataArgs {
    /// The data source given by the options, the environment and the default folders, which are relative to `root`.
    pub fn source(&self, root: &Path, format: impl Into<Option<Format>>, options: Options) -> Source {
        Source {
            dir: self.data.clone(),
            synthetic: self.synthetic,
            offline: self.offline,
            options,
            ..Source::from_environment(format, root)
        }
    }

    /// CIFAR-10; the seed of `options` determines generated images.
    fn cifar10(&self, root: &Path, options: Options) -> Source {
        self.source(root, Format::Cifar10, options)
    }

    /// Loads CIFAR-10, shows progress, and warns about generated images.
    ///
    /// # Errors
    /// Those of [`load`].
    pub fn load(&self, root: &Path, seed: u64, terminal: &Terminal, interrupt: &Interrupt) -> Result<Dataset, Error> {
        load_images(&self.cifar10(root, Options { seed, ..Options::default() }), terminal, interrupt)
    }

    /// Loads the images like [`load`](Self::load), but generates them if CIFAR-10 cannot be found or downloaded.
    ///
    /// # Errors
    /// Those of [`load_or_generate`].
    pub fn load_or_generate(
        &self,
        root: &Path,
        options: Options,
        terminal: &Terminal,
        interrupt: &Interrupt,
    ) -> Result<Dataset, Error> {
        let dataset = load_or_generate(&self.cifar10(root, options), &terminal.data_progress(interrupt))?;
        Ok(describe(dataset, terminal))
    }

    /// Finds or downloads CIFAR-10, verifies every file and returns its folder.
    ///
    /// # Errors
    /// Those of [`fetch`].
    pub fn fetch(&self, root: &Path, terminal: &Terminal, interrupt: &Interrupt) -> Result<PathBuf, Error> {
        fetch(&self.cifar10(root, Options::default()), &terminal.data_progress(interrupt))
    }
}

/// Loads a dataset, shows progress, and warns about generated images.
///
/// # Errors
/// Those of [`load`].
pub fn load_images(source: &Source, terminal: &Terminal, interrupt: &Interrupt) -> Result<Dataset, Error> {
    let dataset = load(source, &terminal.data_progress(interrupt))?;
    Ok(describe(dataset, terminal))
}

/// Warns if the images are generated, states the validation images unless they are CIFAR's usual ones, and prints the
/// dataset's source with `--verbose`.
fn describe(dataset: Dataset, terminal: &Terminal) -> Dataset {
    if let Some(reason) = dataset.synthetic_reason() {
        terminal
            .warn(&format!("using generated images, not CIFAR-10 ({reason}); the results say nothing about CIFAR-10"));
    }
    let sizes = dataset.sizes();
    if dataset.split() != Split::Last || sizes.validation != Sizes::CIFAR.validation {
        let Sizes { training, validation, test } = sizes;
        let (name, classes, split) = (dataset.name(), dataset.class_names().len(), dataset.split());
        terminal.remark(|| match split {
            Split::None => format!(
                "{name}: {classes} classes, training on all {training} training images without validation, {test} test images"
            ),
            split => format!(
                "{name}: {classes} classes, {training} training images, {validation} validation images ({split}), {test} test images"
            ),
        });
    }
    terminal.detail(|| {
        let parts = [dataset.training(), dataset.validation(), dataset.test()].map(|part| part.len().to_string());
        let folder = dataset.folder().map(|folder| format!(" from {}", folder.display())).unwrap_or_default();
        format!("{}{folder}: {} images, SHA-256 {}", dataset.name(), parts.join(" + "), dataset.sha256())
    });
    dataset
}
