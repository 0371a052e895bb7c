use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::{Archive, Dataset, Error, Format, Options, Patience, Progress, Sizes};

/// Where to load a dataset from: the first of these that applies.
///
/// 1. [`synthetic`](Self::synthetic): generate the stand-in;
/// 2. [`dir`](Self::dir), the folder given by the user;
/// 3. [`environment`](Self::environment), the folder given by an environment variable;
/// 4. `data` under [`root`](Self::root);
/// 5. `shared` beside [`root`](Self::root), so that several checkouts share one copy;
/// 6. unless [`offline`](Self::offline), the official archive, downloaded to `data` under [`root`](Self::root).
///
/// A missing or invalid folder given by the user or the environment is an error. The default places may hold whatever
/// may be given, and are skipped if they hold none of it; an invalid `cifar-10-batches-bin` in them is an error.
/// CIFAR-100 is not downloaded; datasets of other formats are only loaded from a folder given by the user. If no dataset
/// is found, [`load`] fails and [`load_or_generate`] generates images.
#[derive(Clone, Debug)]
pub struct Source {
    /// The format of the dataset; `None` for that of the files in a folder given by the user, and for CIFAR-10 in all
    /// other places.
    pub format: Option<Format>,
    /// How to load it. The seed is also that of the stand-in.
    pub options: Options,
    /// Folder given by the user.
    pub dir: Option<PathBuf>,
    /// Folder given by the environment; see [`Format::variable`].
    pub environment: Option<PathBuf>,
    /// The folder to which the default paths are relative: the current directory, or the checkout.
    pub root: PathBuf,
    /// Generate the stand-in without searching for a dataset.
    pub synthetic: bool,
    /// Never download.
    pub offline: bool,
    /// The archive to download.
    pub archive: Archive,
    /// Timeouts and retries of the download.
    pub patience: Patience,
}

impl Source {
    /// Loads a dataset of `format` for the checkout at `root` and ignores the environment, with the default options.
    pub fn new(format: impl Into<Option<Format>>, root: impl Into<PathBuf>) -> Self {
        Self {
            format: format.into(),
            options: Options::default(),
            dir: None,
            environment: None,
            root: root.into(),
            synthetic: false,
            offline: false,
            archive: Archive::cifar10(),
            patience: Patience::default(),
        }
    }

    /// Like [`new`](Self::new), with the folder in the environment variable [`Format::variable`] if it is set and not
    /// empty.
    pub fn from_environment(format: impl Into<Option<Format>>, root: impl Into<PathBuf>) -> Self {
        let source = Self::new(format, root);
        let folder = source.searched().variable().and_then(env::var_os).filter(|value| !value.is_empty());
        Self { environment: folder.map(PathBuf::from), ..source }
    }

    /// The format to search for in the usual places.
    fn searched(&self) -> Format {
        self.format.unwrap_or(Format::Cifar10)
    }

    /// The format of the dataset in the folder that is loaded.
    fn expected(&self) -> Option<Format> {
        if self.dir.is_some() { self.format } else { Some(self.searched()) }
    }

    /// The folder or archive to load, if one is given or found in a default place.
    fn place(&self) -> Option<PathBuf> {
        let named = self.dir.as_ref().or(self.environment.as_ref());
        named.cloned().or_else(|| {
            [self.data(), self.root.join("..").join("shared")].iter().find_map(|place| {
                let folder = place.join(self.searched().folder()?);
                if is_there(&folder) { Some(folder) } else { self.searched().recognize(place) }
            })
        })
    }

    fn data(&self) -> PathBuf {
        self.root.join("data")
    }
}

/// Whether anything exists at `path`, valid or not: loading it reports what is wrong.
fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap_or_else(|error| error.kind() != ErrorKind::NotADirectory)
}

/// Loads the dataset described by `source`, downloading it if necessary.
///
/// # Errors
/// The errors of [`Dataset::open`] for a given or default folder. [`Error::Cancelled`]. [`Error::Missing`] if
/// CIFAR-100 is not found. [`Error::Offline`] or [`Error::Unavailable`] if CIFAR-10 is not found and cannot be
/// downloaded. [`Error::NoFolder`] for other formats without a folder.
pub fn load(source: &Source, progress: &dyn Progress) -> Result<Dataset, Error> {
    if source.synthetic {
        return generate(source, "requested", progress);
    }
    open(source, &locate(source, progress)?, progress)
}

/// Loads the dataset described by `source`, or generates images if CIFAR-10 is not found and cannot be downloaded.
///
/// [`Dataset::synthetic_reason`] then gives the reason; callers must report it with every result on these images.
///
/// # Errors
/// The errors of [`load`], except for [`Error::Offline`] and [`Error::Unavailable`].
pub fn load_or_generate(source: &Source, progress: &dyn Progress) -> Result<Dataset, Error> {
    if source.synthetic {
        return load(source, progress);
    }
    match locate(source, progress) {
        Ok(folder) => open(source, &folder, progress),
        Err(error @ (Error::Offline { .. } | Error::Unavailable { .. })) => {
            generate(source, &error.to_string(), progress)
        }
        Err(error) => Err(error),
    }
}

fn open(source: &Source, folder: &Path, progress: &dyn Progress) -> Result<Dataset, Error> {
    Dataset::open_with(&source.options, source.expected(), folder, progress)
}

fn generate(source: &Source, reason: &str, progress: &dyn Progress) -> Result<Dataset, Error> {
    let Options { seed, validation, .. } = source.options;
    match validation {
        Some(images) if images != Sizes::CIFAR.validation => Dataset::generate_split(seed, images, reason, progress),
        _ => Dataset::generate(seed, Sizes::CIFAR, reason, progress),
    }
}

/// Finds or downloads the dataset described by `source`, verifies every file and returns its folder.
///
/// Ignores [`Source::synthetic`].
///
/// # Errors
/// The errors of [`load`].
pub fn fetch(source: &Source, progress: &dyn Progress) -> Result<PathBuf, Error> {
    let folder = locate(source, progress)?;
    open(source, &folder, progress)?;
    Ok(folder)
}

/// The dataset's folder or archive, downloaded if none exists.
fn locate(source: &Source, progress: &dyn Progress) -> Result<PathBuf, Error> {
    if let Some(place) = source.place() {
        return Ok(place);
    }
    let format = source.searched();
    let Some(folder) = format.folder() else { return Err(Error::NoFolder { format }) };
    let path = source.data().join(folder);
    match format {
        Format::Cifar10 if source.offline => Err(Error::Offline { path }),
        Format::Cifar10 => source.archive.fetch(&source.data(), &source.patience, progress).map_err(|error| {
            // Fails if the folder holds anything, such as a partial download.
            let _ = fs::remove_dir(source.data());
            let reason = match error {
                Error::Cancelled => return error,
                Error::Download { reason, .. } => reason,
                error => error.to_string(),
            };
            Error::Unavailable { url: source.archive.url.clone(), reason }
        }),
        _ => Err(Error::Missing { path }),
    }
}
