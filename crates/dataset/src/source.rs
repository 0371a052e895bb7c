use std::env;
use std::path::{Path, PathBuf};

use crate::{Archive, Dataset, Error, Kind, Patience, Progress, Sizes};

/// Where data come from: the first of these that there is.
///
/// 1. [`synthetic`](Self::synthetic): the stand-in, asked for outright;
/// 2. [`dir`](Self::dir), a folder that the user named;
/// 3. [`environment`](Self::environment), a folder that the environment names;
/// 4. `data/cifar-10-batches-bin` under [`root`](Self::root);
/// 5. `shared/cifar-10-batches-bin` beside [`root`](Self::root), so that several checkouts share one copy;
/// 6. unless [`offline`](Self::offline), the official archive, downloaded to `data` under [`root`](Self::root);
///
/// A folder that was named must be good: if it is missing or a file in it is wrong, that is an error. So it is if one
/// of the two usual folders is there but wrong. CIFAR-100 is looked for in `cifar-100-binary` and is not
/// downloaded. [`load`] fails where there are no data; [`load_or_generate`] generates images in their place.
#[derive(Clone, Debug)]
pub struct Source {
    /// What is wanted.
    pub kind: Kind,
    /// The folder given by the user.
    pub dir: Option<PathBuf>,
    /// The folder given by the environment; see [`Kind::variable`].
    pub environment: Option<PathBuf>,
    /// The checkout, or whatever holds `data`.
    pub root: PathBuf,
    /// Take the stand-in at once.
    pub synthetic: bool,
    /// Never download.
    pub offline: bool,
    /// Determines the stand-in.
    pub seed: u64,
    /// What is downloaded.
    pub archive: Archive,
    /// How patiently it is downloaded.
    pub patience: Patience,
}

impl Source {
    /// `kind` for the checkout at `root`, whatever the environment says; the stand-in's seed is 42.
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

    /// As [`new`](Self::new), with the folder that [`Kind::variable`] names, if that is set and not empty.
    pub fn from_environment(kind: Kind, root: impl Into<PathBuf>) -> Self {
        let folder = env::var_os(kind.variable()).filter(|value| !value.is_empty());
        Self { environment: folder.map(PathBuf::from), ..Self::new(kind, root) }
    }

    /// The folder that the data are read from, if one was named or is in a usual place.
    fn folder(&self) -> Option<PathBuf> {
        let named = self.dir.as_ref().or(self.environment.as_ref());
        named.cloned().or_else(|| self.usual().into_iter().find(|folder| is_there(folder)))
    }

    /// The places where the folder usually is.
    fn usual(&self) -> [PathBuf; 2] {
        let name = self.kind.folder();
        [self.data().join(name), self.root.join("..").join("shared").join(name)]
    }

    fn data(&self) -> PathBuf {
        self.root.join("data")
    }
}

/// Whether something is there, be it a folder or not, readable or not: what is wrong with it is told on reading.
fn is_there(path: &Path) -> bool {
    !matches!(path.try_exists(), Ok(false))
}

/// Loads the data that `source` describes, downloading them if need be.
///
/// # Errors
/// Whatever is wrong with a folder that was named or found: see [`Dataset::open`]. [`Error::Cancelled`].
/// [`Error::Missing`] if CIFAR-100 does not exist. [`Error::Offline`], [`Error::Download`], [`Error::Archive`] or
/// [`Error::Io`] if CIFAR-10 does not exist and cannot be downloaded.
pub fn load(source: &Source, progress: &dyn Progress) -> Result<Dataset, Error> {
    if source.synthetic {
        return generate(source, "asked for", progress);
    }
    Dataset::open(source.kind, &locate(source, progress)?, progress)
}

/// Loads the data that `source` describes, or generates images if CIFAR-10 does not exist and cannot be downloaded.
///
/// [`Dataset::synthetic_reason`] then says why; callers must say so wherever figures from them appear.
///
/// # Errors
/// Those of [`load`], but for a download that fails.
pub fn load_or_generate(source: &Source, progress: &dyn Progress) -> Result<Dataset, Error> {
    if source.synthetic {
        return load(source, progress);
    }
    match locate(source, progress) {
        Ok(folder) => Dataset::open(source.kind, &folder, progress),
        Err(error) if source.kind == Kind::Cifar10 && !matches!(error, Error::Cancelled) => {
            generate(source, &error.to_string(), progress)
        }
        Err(error) => Err(error),
    }
}

fn generate(source: &Source, reason: &str, progress: &dyn Progress) -> Result<Dataset, Error> {
    Dataset::generate(source.seed, Sizes::CIFAR, reason, progress)
}

/// Finds the data that `source` describes, or downloads them, and verifies every file; returns their folder.
///
/// The stand-in plays no part in this: [`Source::synthetic`] is not looked at.
///
/// # Errors
/// Those of [`load`].
pub fn fetch(source: &Source, progress: &dyn Progress) -> Result<PathBuf, Error> {
    let folder = locate(source, progress)?;
    Dataset::open(source.kind, &folder, progress)?;
    Ok(folder)
}

/// The folder of the data, downloaded if there is none.
fn locate(source: &Source, progress: &dyn Progress) -> Result<PathBuf, Error> {
    if let Some(folder) = source.folder() {
        return Ok(folder);
    }
    let path = source.data().join(source.kind.folder());
    match source.kind {
        Kind::Cifar100 => Err(Error::Missing { path }),
        Kind::Cifar10 if source.offline => Err(Error::Offline { path }),
        Kind::Cifar10 => source.archive.fetch(&source.data(), &source.patience, progress),
    }
}
