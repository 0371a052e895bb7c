use std::path::Path;

use clap::Args;
use klayer_cli::{DataArgs, Interrupt, Terminal, load_images};
use klayer_dataset::{Dataset, Dimensions, Format, Options, Source};
use klayer_train::model::ModelInfo;

use crate::Error;

/// Options that select the dataset and how to load it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
#[command(mut_arg("data", |data| data
    .help("Folder, archive or file of a dataset [default: CIFAR-10 in $CIFAR10_DIR, data/, ../shared/, or a download]")
    .long_help("Folder, archive or file of a dataset [default: CIFAR-10 in $CIFAR10_DIR, data/, ../shared/, or a \
        download]\n\nAccepts CIFAR-10 and CIFAR-100 (the folder or the .tar.gz archive of the binary or the Python \
        version, or a folder that contains one of these), MNIST and other datasets in its IDX format (a folder with \
        the four files, plain or .gz), and a folder of pictures with a folder for each class: train/, optional val/ \
        and test/, or the classes directly. Without --data, klayer looks for data/ and ../shared/ relative to the \
        current directory; downloads go to data/. --dataset cifar100 searches $CIFAR100_DIR and the same folders.")))]
pub(crate) struct DatasetArgs {
    #[command(flatten)]
    place: DataArgs,

    /// Format: cifar10, cifar100, cifar100-coarse, idx or pictures [default: detected from the files]
    ///
    /// cifar100-coarse is CIFAR-100 with its 20 coarse labels.
    #[arg(long, value_name = "FORMAT", conflicts_with = "synthetic")]
    dataset: Option<Format>,

    /// Number of training images to use for validation [default: 5000 of CIFAR, a tenth of other datasets]
    ///
    /// 0 trains on all images. The images are the last ones of CIFAR; of other datasets they are drawn with the seed,
    /// for each class in proportion to its images. klayer evaluate and klayer inspect default to the --dataset,
    /// --validation and --size that the model was trained with.
    #[arg(long, value_name = "IMAGES")]
    validation: Option<usize>,

    /// Height and width to which pictures are resized [default: 32]
    #[arg(long, value_name = "PIXELS", conflicts_with = "synthetic")]
    size: Option<usize>,

    /// Fail if a picture cannot be read, instead of skipping it
    #[arg(long, conflicts_with = "synthetic")]
    strict: bool,
}

impl DatasetArgs {
    /// The dimensions of the dataset, if they are known before it is loaded: settings can then be checked at once.
    pub(crate) fn dimensions(&self) -> Option<Dimensions> {
        let format = match (&self.place.data, self.dataset) {
            (_, Some(format)) => format,
            (None, None) => Format::Cifar10,
            (Some(path), None) => Some(path).filter(|path| path.is_dir()).and_then(|path| Format::detect(path).ok())?,
        };
        format.dimensions(self.validation)
    }

    /// Where the dataset is, and how to load it; `seed` draws its validation images.
    pub(crate) fn source(&self, seed: u64) -> Source {
        let Options { size, .. } = Options::default();
        let options =
            Options { validation: self.validation, seed, size: self.size.unwrap_or(size), strict: self.strict };
        self.place.source(Path::new("."), self.dataset, options)
    }

    /// Loads the dataset, shows progress, and warns about generated images.
    pub(crate) fn load(&self, seed: u64, terminal: &Terminal, interrupt: &Interrupt) -> Result<Dataset, Error> {
        self.load_from(&self.source(seed), terminal, interrupt)
    }

    /// Loads the dataset like [`load`](Self::load), in the way in which the images of a model were loaded, unless the
    /// options say otherwise.
    pub(crate) fn load_for(
        &self,
        info: &ModelInfo,
        terminal: &Terminal,
        interrupt: &Interrupt,
    ) -> Result<Dataset, Error> {
        let images = &info.images;
        // Files of another format are loaded as such, to report how they differ.
        let fits = |format: &Format| match self.place().map(Format::detect) {
            Some(Ok(found)) => found == *format || found.variable().is_some_and(|dir| Some(dir) == format.variable()),
            _ => !self.place.synthetic,
        };
        let format = images.format.as_deref().and_then(|format| format.parse().ok()).filter(fits);
        let like_model = Self {
            dataset: self.dataset.or(format),
            validation: self.validation.or(images.validation),
            size: self.size.or(Some(images.shape.height)),
            ..self.clone()
        };
        let mut source = like_model.source(info.config.seed);
        match self.load_from(&source, terminal, interrupt) {
            // Another dataset, from which the model's number of validation images cannot be taken.
            Err(Error::Dataset(
                klayer_dataset::Error::Validation { .. } | klayer_dataset::Error::ValidationGiven { .. },
            )) if self.validation.is_none() => {
                source.options.validation = None;
                self.load_from(&source, terminal, interrupt)
            }
            loaded => loaded,
        }
    }

    /// The place given with `--data`.
    pub(crate) fn place(&self) -> Option<&Path> {
        self.place.data.as_deref()
    }

    fn load_from(&self, source: &Source, terminal: &Terminal, interrupt: &Interrupt) -> Result<Dataset, Error> {
        let dataset = load_images(source, terminal, interrupt)?;
        let unused = [("--size", self.size.is_some()), ("--strict", self.strict)];
        match unused.into_iter().find(|(_, given)| *given && dataset.format() != Some(Format::Pictures)) {
            Some((switch, _)) => Err(Error::PicturesAlone { switch, dataset: dataset.name().to_owned() }),
            None => Ok(dataset),
        }
    }

    /// The options as command-line arguments that load the same dataset, except for its place.
    pub(crate) fn arguments(&self, dataset: &Dataset) -> Vec<String> {
        let values = [
            ("--dataset", dataset.format().map(|format| format.to_string())),
            ("--validation", self.validation.map(|images| images.to_string())),
            ("--size", self.size.map(|size| size.to_string())),
        ];
        let values = values.into_iter().filter_map(|(switch, value)| Some([switch.to_owned(), value?])).flatten();
        values.chain(self.strict.then(|| "--strict".to_owned())).collect()
    }
}
