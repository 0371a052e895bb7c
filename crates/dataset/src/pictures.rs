//! A folder of pictures with a folder for each class.

use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;
use std::{fs, thread};

use walkdir::WalkDir;

use crate::loader::{Loaded, Loader};
use crate::parts::check_classes;
use crate::{Error, Options, Part, Parts, Progress, Shape, Skipped, Split, picture};

/// The folder of the training images.
const TRAINING: &str = "train";
/// The folder of the validation images.
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];
/// The folder of the test images.
const TEST: &str = "test";
/// Maximum height and width of an image, in pixels.
const LARGEST: usize = 1024;
/// Maximum size of all images, in bytes.
const MOST: usize = 16 << 30;
/// Maximum number of threads that decode pictures.
const THREADS: usize = 16;
/// Extensions of pictures that cannot be read.
const UNSUPPORTED: [&str; 12] = ["avif", "heic", "heif", "jxl", "jp2", "svg", "psd", "tga", "ico", "dng", "cr2", "nef"];
/// Pictures that each thread decodes before the progress is reported.
const TOGETHER: usize = 8;

pub(crate) const PICTURES: Loader = Loader {
    name: "pictures",
    expected: "a folder of pictures with a folder for each class",
    // An invalid folder of parts is reported when it is loaded.
    found: |path| path.is_dir() && Folders::find(path).map_or(true, |folders| folders.has_pictures()),
    load,
    usual: None,
    dimensions: |_| None,
};

/// The folders with a folder for each class.
struct Folders {
    training: PathBuf,
    validation: Option<PathBuf>,
    test: Option<PathBuf>,
}

/// Pictures and their labels.
type Listed = Vec<(PathBuf, u8)>;

impl Folders {
    /// The folders of the parts, in any spelling of case, or `path` itself.
    ///
    /// # Errors
    /// [`Error::Folder`] if a folder beside them may hold a class, or there is a test or validation part alone.
    fn find(path: &Path) -> Result<Self, Error> {
        let mut found = [None, None, None];
        let mut others = Vec::new();
        for (name, folder) in classes(path)? {
            let is = |names: &[&str]| names.iter().any(|part| name.eq_ignore_ascii_case(part));
            match [is(&[TRAINING]), is(&VALIDATION), is(&[TEST])].iter().position(|&is| is) {
                Some(part) if found[part].is_none() => found[part] = Some(folder),
                _ => others.push(name),
            }
        }
        let refuse = |reason| Err(Error::Folder { path: path.to_path_buf(), reason });
        match (found, others.first()) {
            ([None, None, None], _) => Ok(Self { training: path.to_path_buf(), validation: None, test: None }),
            ([Some(_), ..], Some(other)) => {
                refuse(format!("found a folder {other:?} beside {TRAINING}/, which must hold all classes"))
            }
            ([Some(training), validation, test], None) => Ok(Self { training, validation, test }),
            // A class may have such a name.
            (_, Some(_)) => Ok(Self { training: path.to_path_buf(), validation: None, test: None }),
            _ => refuse(format!("found no folder {TRAINING}/ with the training images")),
        }
    }

    /// Whether a class has a picture.
    fn has_pictures(&self) -> bool {
        let classes = classes(&self.training).unwrap_or_default();
        classes.iter().any(|(_, folder)| files(folder).any(|file| file.is_ok_and(|file| picture::is_one(&file))))
    }
}

fn load(path: &Path, options: &Options, progress: &dyn Progress) -> Result<Loaded, Error> {
    let refuse = |path: &Path, reason: String| Error::Folder { path: path.to_path_buf(), reason };
    let size = options.size;
    if !(1..=LARGEST).contains(&size) {
        return Err(refuse(path, format!("cannot resize pictures to {size} x {size}: must be from 1 to {LARGEST}")));
    }
    let folders = Folders::find(path)?;
    if let (Some(images), Some(folder)) = (options.validation, &folders.validation) {
        return Err(Error::ValidationGiven { folder: folder.clone(), images });
    }
    let mut skipped = Vec::new();
    let names: Vec<String> = classes(&folders.training)?.into_iter().map(|(name, _)| name).collect();
    check_classes(&names).map_err(|reason| refuse(&folders.training, reason))?;
    let mut listed = [Listed::new(), Listed::new(), Listed::new()];
    let places = [Some(&folders.training), folders.validation.as_ref(), folders.test.as_ref()];
    for (listed, place) in listed.iter_mut().zip(places) {
        if let Some(place) = place {
            *listed = list(place, &names, options, progress, &mut skipped)?;
        }
    }
    let total: usize = listed.iter().map(Vec::len).sum();
    let shape = Shape { channels: Shape::CIFAR.channels, height: size, width: size };
    if total.saturating_mul(shape.features()) > MOST {
        return Err(refuse(path, format!("{total} pictures of {shape} are too many: must be at most {MOST} bytes")));
    }
    let mut decoder = Decoder { shape, total, done: 0, options, progress, skipped };
    let [training, validation, test] = listed;
    let [mut training, validation, test] =
        [decoder.decode(training)?, decoder.decode(validation)?, decoder.decode(test)?];
    for (label, &count) in training.counts(names.len()).iter().enumerate() {
        if count == 0 {
            return Err(refuse(&folders.training.join(&names[label]), "no pictures that can be read".to_owned()));
        }
    }
    let (validation, split) = match folders.validation {
        Some(_) => (validation, Split::Given),
        None => {
            let images = options.validation.unwrap_or_else(|| training.tenth(names.len()));
            (training.draw(images, names.len(), options.seed)?, Split::Drawn { seed: options.seed })
        }
    };
    let mut parts = Parts { training, validation, test };
    let all = [&mut parts.training, &mut parts.validation, &mut parts.test];
    if all.iter().all(|part| is_gray(part)) {
        all.into_iter().for_each(keep_gray);
    }
    Ok(Loaded {
        name: "pictures",
        classes: names,
        split: Split::of(&parts.validation, split),
        parts,
        sha256: None,
        folder: path.to_path_buf(),
        skipped: decoder.skipped,
    })
}

/// The folders in `folder` that are not hidden, sorted by their names.
fn classes(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut classes = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let path = entry.map_err(|error| Error::io(folder, error))?.path();
        let Some(name) = path.file_name().filter(|_| path.is_dir()) else { continue };
        match name.to_str() {
            Some(name) if name.starts_with('.') => {}
            Some(name) => classes.push((name.to_owned(), path.clone())),
            None => return Err(Error::Folder { path, reason: "the name of a class is not valid UTF-8".to_owned() }),
        }
    }
    classes.sort();
    Ok(classes)
}

/// The files in a folder and the folders in it, without hidden ones, in the order of their names.
fn files(folder: &Path) -> impl Iterator<Item = Result<PathBuf, walkdir::Error>> {
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    let entries = entries.filter_entry(move |entry| entry.depth() == 0 || !hidden(entry.file_name()));
    entries.filter_map(|entry| match entry {
        Ok(entry) => Some(Ok(entry.into_path())).filter(|path| path.as_ref().is_ok_and(|path| path.is_file())),
        Err(error) => Some(Err(error)),
    })
}

/// Lists the pictures of each class in `folder`; files that are no pictures are skipped.
fn list(
    folder: &Path,
    names: &[String],
    options: &Options,
    progress: &dyn Progress,
    skipped: &mut Vec<Skipped>,
) -> Result<Listed, Error> {
    let mut listed = Vec::new();
    for (name, class) in classes(folder)? {
        let Some(label) = names.iter().position(|known| *known == name) else {
            return Err(Error::Folder { path: class, reason: "the training images have no such class".to_owned() });
        };
        for file in files(&class) {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            match file {
                Ok(file) if picture::is_one(&file) => listed.push((file, label as u8)),
                Ok(path) => {
                    let reason = "not a picture of a supported format".to_owned();
                    // Other files, such as notes, are no failure.
                    let options = &Options { strict: options.strict && is_unsupported(&path), ..options.clone() };
                    skip(Error::Picture { path, reason }, options, progress, skipped)?;
                }
                Err(error) => {
                    let path = error.path().unwrap_or(&class).to_path_buf();
                    skip(Error::Picture { path, reason: error.to_string() }, options, progress, skipped)?;
                }
            }
        }
    }
    Ok(listed)
}

/// Whether the name is that of a picture of a format that cannot be read.
fn is_unsupported(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    UNSUPPORTED.contains(&extension.as_str())
}

/// Skips the file of `error`, or fails if nothing may be skipped.
fn skip(error: Error, options: &Options, progress: &dyn Progress, skipped: &mut Vec<Skipped>) -> Result<(), Error> {
    match error {
        Error::Picture { path, reason } if !options.strict => {
            let file = Skipped { path, reason };
            progress.skipping(&file);
            skipped.push(file);
            Ok(())
        }
        error => Err(error),
    }
}

/// Decodes pictures on several threads, and reports their number.
struct Decoder<'a> {
    shape: Shape,
    total: usize,
    done: usize,
    options: &'a Options,
    progress: &'a dyn Progress,
    skipped: Vec<Skipped>,
}

impl Decoder<'_> {
    /// Decodes pictures in order.
    fn decode(&mut self, listed: Listed) -> Result<Part, Error> {
        let (shape, threads) = (self.shape, thread::available_parallelism().map_or(1, usize::from).min(THREADS));
        let mut part = Part::with_capacity(shape, listed.len(), false);
        for batch in listed.chunks(threads * TOGETHER) {
            if self.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let decoded: Vec<_> = thread::scope(|scope| {
                let decode = |listed: &[(PathBuf, u8)]| -> Vec<_> {
                    listed.iter().map(|(path, _)| picture::read(path, shape)).collect()
                };
                let running: Vec<_> = batch.chunks(TOGETHER).map(|some| scope.spawn(move || decode(some))).collect();
                running.into_iter().map(ScopedJoinHandle::join).collect()
            });
            let decoded = decoded.into_iter().zip(batch.chunks(TOGETHER)).flat_map(|(decoded, some)| {
                // A decoder that panics, on one of these pictures.
                decoded.unwrap_or_else(|_| {
                    let reason = "the decoder failed on this picture or one of its neighbors".to_owned();
                    let failed =
                        |(path, _): &(PathBuf, u8)| Err(Error::Picture { path: path.clone(), reason: reason.clone() });
                    some.iter().map(failed).collect()
                })
            });
            for (pixels, (_, label)) in decoded.zip(batch) {
                match pixels {
                    Ok(pixels) => {
                        part.pixels.extend_from_slice(&pixels);
                        part.labels.push(*label);
                    }
                    Err(error) => skip(error, self.options, self.progress, &mut self.skipped)?,
                }
            }
            self.done += batch.len();
            self.progress.decoding(self.done, self.total);
        }
        Ok(part)
    }
}

/// Whether the three channels of every image are the same.
fn is_gray(part: &Part) -> bool {
    let plane = part.shape.width * part.shape.height;
    part.pixels.chunks_exact(3 * plane).all(|image| {
        let (red, others) = image.split_at(plane);
        red == &others[..plane] && red == &others[plane..]
    })
}

/// Keeps only the first channel of every image.
fn keep_gray(part: &mut Part) {
    let plane = part.shape.width * part.shape.height;
    for image in 0..part.labels.len() {
        part.pixels.copy_within(3 * image * plane..(3 * image + 1) * plane, image * plane);
    }
    part.pixels.truncate(part.labels.len() * plane);
    part.pixels.shrink_to_fit();
    part.shape.channels = 1;
}
