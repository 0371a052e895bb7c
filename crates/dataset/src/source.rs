use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::place;
use crate::{Archive, Dataset, Error, Kind, Patience, Progress, Sizes};

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
/// CIFAR-100 is not downloaded. If no dataset is found, [`load`] fails and
/// [`load_or_generate`] generates images.
#[derive(Clone, Debug)]
pub struct Source {
    /// The dataset to load.
    pub kind: Kind,
    /// Folder given by the user.
    pub dir: Option<PathBuf>,
    /// Folder given by the environment; see [`Kind::variable`].
    pub environment: Option<PathBuf>,
    /// The folder to which the default paths are relative: the current directory, or the checkout.
    pub root: PathBuf,
    /// Generate the stand-in without searching for a dataset.
    pub synthetic: bool,
    /// Never download.
    pub offline: bool,
    /// Seed of the stand-in.
    pub seed: u64,
    /// The archive to download.
    pub archive: Archive,
    /// Timeouts and retries of the download.
    pub patience: Patience,
}

impl Source {
    /// Loads `kind` for the checkout at `root` and ignores the environment; the stand-in's seed is 42.
    pub fn new(kind: Kind, root: impl Into<PathBuf>) -> Self {
        Self {
            kind,
            dir: None,
            environment: None,
            root: root.into(),
            synthetic: false,
            offline: false,
            seed: 42,
            archive: Archive::cifar10(),
            patience: Patience::default(),
        }
    }

    /// Like [`new`](Self::new), with the folder in the environment variable [`Kind::variable`] if it is set and not
    /// empty.
    pub fn from_environment(kind: Kind, root: impl Into<PathBuf>) -> Self {
        let folder = env::var_os(kind.variable()).filter(|value| !value.is_empty());
        Self { environment: folder.map(PathBuf::from), ..Self::new(kind, root) }
    }

    /// The folder or archive to load, if one is given or found in a default place.
    fn place(&self) -> Option<PathBuf> {
        let named = self.dir.as_ref().or(self.environment.as_ref());
        named.cloned().or_else(|| {
            [self.data(), self.root.join("..").join("shared")].iter().find_map(|place| {
                let folder = place.join(self.kind.folder());
                if is_there(&folder) { Some(folder) } else { Some(place::recognize(self.kind, place)?.0) }
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
/// downloaded.
pub fn load(source: &Source, progress: &dyn Progress) -> Result<Dataset, Error> {
    if source.synthetic {
        return generate(source, "requested", progress);
    }
    Dataset::open(source.kind, &locate(source, progress)?, progress)
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
        Ok(folder) => Dataset::open(source.kind, &folder, progress),
        Err(error @ (Error::Offline { .. } | Error::Unavailable { .. })) => {
            generate(source, &error.to_string(), progress)
        }
        Err(error) => Err(error),
    }
}

fn generate(source: &Source, reason: &str, progress: &dyn Progress) -> Result<Dataset, Error> {
    Dataset::generate(source.seed, Sizes::CIFAR, reason, progress)
}

/// Finds or downloads the dataset described by `source`, verifies every file and returns its folder.
///
/// Ignores [`Source::synthetic`].
///
/// # Errors
/// The errors of [`load`].
pub fn fetch(source: &Source, progress: &dyn Progress) -> Result<PathBuf, Error> {
    let folder = locate(source, progress)?;
    Dataset::open(source.kind, &folder, progress)?;
    Ok(folder)
}

/// The dataset's folder or archive, downloaded if none exists.
fn locate(source: &Source, progress: &dyn Progress) -> Result<PathBuf, Error> {
    if let Some(place) = source.place() {
        return Ok(place);
    }
    let path = source.data().join(source.kind.folder());
    match source.kind {
        Kind::Cifar100 => Err(Error::Missing { path }),
        Kind::Cifar10 if source.offline => Err(Error::Offline { path }),
        Kind::Cifar10 => source.archive.fetch(&source.data(), &source.patience, progress).map_err(|error| {
            // Fails if the folder holds anything, such as a partial download.
            let _ = fs::remove_dir(source.data());
            let reason = match error {
                Error::Cancelled => return error,
                Error::Download { reason, .. } => reason,
                error => error.to_string(),
            };
            Error::Unavailable { url: source.archive.url.clone(), reason }
        }),
    }
}
