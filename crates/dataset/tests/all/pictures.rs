//! Folders of pictures with a folder for each class.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use image::{GrayImage, Luma, Rgb, RgbImage};
use klayer_dataset::{Dataset, Error, Format, Options, Progress, Shape, Skipped, Split, picture};
use tempfile::TempDir;

/// Draws `count` pictures of one color in `folder`, of various sizes.
fn draw(folder: &Path, count: u32, colour: [u8; 3]) {
    fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        let name = folder.join(format!("{i}.{}", ["png", "bmp", "tiff", "webp"][i as usize % 4]));
        RgbImage::from_pixel(4 + 3 * i, 5 + i, Rgb(colour)).save(name).unwrap();
    }
}

fn open(folder: &Path, options: Options) -> Result<Dataset, Error> {
    Dataset::open_with(&options, Format::Pictures, folder, &())
}

fn size(size: usize) -> Options {
    Options { size, ..Options::default() }
}

/// Collects what is reported.
#[derive(Default)]
struct Watch {
    skipped: Mutex<Vec<Skipped>>,
    done: Mutex<Vec<(usize, usize)>>,
}

impl Progress for Watch {
    fn decoding(&self, images: usize, total: usize) {
        self.done.lock().unwrap().push((images, total));
    }

    fn skipping(&self, file: &Skipped) {
        self.skipped.lock().unwrap().push(file.clone());
    }
}

#[test]
fn class_folders_with_subfolders_spaces_and_a_broken_file_are_loaded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    draw(&path.join("red things"), 10, [255, 0, 0]);
    draw(&path.join("Blue/deep/deeper"), 12, [0, 0, 200]);
    draw(&path.join("green"), 20, [0, 90, 0]);
    draw(&path.join(".hidden"), 1, [1, 2, 3]);
    fs::write(path.join("green/notes.txt"), "not a picture").unwrap();
    fs::write(path.join("read me.txt"), "not a class").unwrap();
    let broken = path.join("Blue/a broken picture.png");
    fs::write(&broken, b"\x89PNG\r\n\x1a\nbroken").unwrap();
    let watch = Watch::default();
    assert_eq!(Format::detect(path).unwrap(), Format::Pictures);
    let dataset = Dataset::open_with(&size(8), None, path, &watch).unwrap();
    assert_eq!(dataset.class_names(), ["Blue", "green", "red things"]);
    assert_eq!(dataset.shape(), Shape { channels: 3, height: 8, width: 8 });
    assert_eq!((dataset.training().len(), dataset.validation().len(), dataset.test().len()), (38, 4, 0));
    assert_eq!(dataset.split(), Split::Drawn { seed: 42 });
    let mut labels = dataset.validation().labels().to_vec();
    labels.sort();
    assert_eq!(labels, [0, 1, 1, 2], "4 of 42, in proportion to 12, 20 and 10");
    for subset in [dataset.training(), dataset.validation()] {
        for (image, &label) in subset.images().zip(subset.labels()) {
            let expected = [[0, 0, 200], [0, 90, 0], [255, 0, 0]][usize::from(label)];
            assert_eq!([image[0], image[64], image[191]], expected);
        }
    }
    assert_eq!(dataset.skipped(), &*watch.skipped.lock().unwrap());
    let [notes, picture] = dataset.skipped() else { panic!("{:?}", dataset.skipped()) };
    assert!(notes.path.ends_with("green/notes.txt") && picture.path == broken, "{:?}", dataset.skipped());
    assert_eq!(watch.done.lock().unwrap().last(), Some(&(43, 43)));

    let strict = open(path, Options { strict: true, ..size(8) });
    assert!(matches!(strict, Err(Error::Picture { path, .. }) if path == broken));
    assert_eq!(dataset.sha256(), open(path, size(8)).unwrap().sha256());
    assert_ne!(dataset.sha256(), open(path, size(9)).unwrap().sha256());
}

#[test]
fn given_parts_are_kept_and_gray_pictures_have_one_channel() {
    let folder = TempDir::new().unwrap();
    for (part, count) in [("train", 6), ("val", 2), ("test", 3)] {
        for (class, shade) in [("dark", 20), ("light", 240)] {
            draw(&folder.path().join(part).join(class), count, [shade; 3]);
        }
    }
    GrayImage::from_fn(40, 30, |x, _| Luma([x as u8])).save(folder.path().join("test/dark/a.png")).unwrap();
    let dataset = open(folder.path(), size(5)).unwrap();
    assert_eq!(dataset.shape(), Shape { channels: 1, height: 5, width: 5 });
    assert_eq!((dataset.training().len(), dataset.validation().len(), dataset.test().len()), (12, 4, 7));
    assert_eq!((dataset.split(), dataset.training().image(11)), (Split::Given, &[240; 25][..]));
    // As `predict` reads it for a network with one channel.
    let read = picture::read(&folder.path().join("test/dark/a.png"), dataset.shape()).unwrap();
    assert!(dataset.test().images().any(|image| image == read));

    let options = Options { validation: Some(3), ..size(5) };
    let told = open(folder.path(), options).unwrap_err().to_string();
    assert!(told.ends_with("val: holds the validation images, so 3 others cannot be chosen"), "{told}");
    // One picture with color makes all of them color.
    draw(&folder.path().join("val/dark"), 1, [1, 2, 3]);
    assert_eq!(open(folder.path(), size(5)).unwrap().shape().channels, 3);
    draw(&folder.path().join("test/neither"), 1, [0; 3]);
    let told = open(folder.path(), size(5)).unwrap_err().to_string();
    assert!(told.ends_with("test/neither: the training images have no such class"), "{told}");
}

#[test]
fn pictures_of_extreme_sizes_are_read() {
    let folder = TempDir::new().unwrap();
    for (class, sizes) in [("a", [(1, 1), (20_000, 1)]), ("b", [(1, 20_000), (300, 7)])] {
        fs::create_dir(folder.path().join(class)).unwrap();
        for (i, (width, height)) in sizes.into_iter().enumerate() {
            RgbImage::from_pixel(width, height, Rgb([9, 8, 7]))
                .save(folder.path().join(class).join(format!("{i}.png")))
                .unwrap();
        }
    }
    let dataset = open(folder.path(), Options { validation: Some(0), ..size(3) }).unwrap();
    assert_eq!((dataset.training().len(), dataset.skipped().len()), (4, 0));
    assert!(dataset.training().images().all(|image| image[..9] == [9; 9] && image[18..] == [7; 9]));
    let long = folder.path().join("b/too long.png");
    RgbImage::from_pixel(40_000, 1, Rgb([9, 8, 7])).save(&long).unwrap();
    let dataset = open(folder.path(), size(3)).unwrap();
    assert!(dataset.skipped().len() == 1 && dataset.skipped()[0].path == long);
}

#[test]
fn folders_that_are_no_dataset_are_rejected() {
    let parent = TempDir::new().unwrap();
    let folder = |name: &str, classes: usize| {
        let folder = parent.path().join(name);
        (0..classes).for_each(|class| draw(&folder.join(format!("class {class}")), 1, [0; 3]));
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    let one = folder("one", 1);
    let many = folder("many", 257);
    let (empty, hollow, unreadable) = (folder("empty", 0), folder("hollow", 2), folder("unreadable", 2));
    fs::create_dir(hollow.join("void")).unwrap();
    fs::write(unreadable.join("class 1/0.png"), "").unwrap();
    for (folder, options, expected) in [
        (&one, size(4), "found 1 class, but a dataset must have from 2 to 256"),
        (&many, size(4), "found 257 classes"),
        (&empty, size(4), "found 0 classes"),
        (&hollow, size(4), "void: no pictures that can be read"),
        (&unreadable, size(4), "class 1: no pictures that can be read"),
        (&hollow, size(0), "cannot resize pictures to 0 x 0: must be from 1 to 1024"),
        (&hollow, size(1025), "cannot resize pictures to 1025 x 1025"),
    ] {
        let told = open(folder, options).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
    let told = Dataset::open(None, &empty, &()).unwrap_err().to_string();
    let expected = "empty: no supported dataset: found an empty folder; expected CIFAR-10, CIFAR-100, ";
    assert!(told.contains(expected), "{told}");
    assert!(matches!(Dataset::open(None, &parent.path().join("nowhere"), &()), Err(Error::Missing { .. })));
}
