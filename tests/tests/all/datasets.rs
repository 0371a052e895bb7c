//! Datasets other than CIFAR-10: from training to export, with small files.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use klayer_tests::{end, folder, klayer};

use crate::interrupts::{spawn, wait_until};
use crate::{array, line};

/// Steps enough for a checkpoint before the end.
const TRAIN: &str = "train --hidden 12 --batch 20 --n-s 6000 --cycles 1 --eta-max 0.05 --validate-every 4000 \
                     --checkpoint-every 0.05 --threads 1";

/// A pattern of the class `class` that a small network can learn, with some variation: a bright bar.
fn bar(class: usize, variant: usize, x: usize, y: usize) -> u8 {
    let noise = (31 * variant + 7 * x + 13 * y + x * y) % 40;
    (noise + if y / 4 == class { 180 } else { 0 }) as u8
}

/// Writes `count` images of 28 x 28 in 7 classes, and their labels, in the IDX format.
fn idx(folder: &Path, name: &str, count: usize) {
    let header = |magic: u32, sizes: &[u32]| -> Vec<u8> {
        [magic].iter().chain(sizes).flat_map(|number| number.to_be_bytes()).collect()
    };
    let (mut images, mut labels) = (header(0x803, &[count as u32, 28, 28]), header(0x801, &[count as u32]));
    for i in 0..count {
        labels.push((i % 7) as u8);
        images.extend((0..28 * 28).map(|at| bar(i % 7, i, at % 28, at / 28)));
    }
    fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).expect("written");
    fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).expect("written");
}

/// Trains on `data`, killed and resumed, and uses the model with every command. `picture` shows `class`, and the
/// dataset has `test` test images.
fn use_every_command(folder: &Path, data: &str, picture: &Path, class: &str, test: usize) {
    let run = |arguments: &str| end(&mut klayer(folder, arguments)).well();
    run(&format!("{TRAIN} {data} --out whole.klayer"));
    let mut child = spawn(&mut klayer(folder, &format!("{TRAIN} {data} --out model.klayer")), &folder.join("log"));
    wait_until(&mut child, "its first checkpoint", || folder.join("model.klayer.checkpoint").exists());
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    run(&format!("{TRAIN} {data} --out model.klayer --resume"));
    let read = |name: &str| fs::read(folder.join(name)).expect("a file");
    assert!(read("model.klayer") == read("whole.klayer"), "a resumed run gives the same model");

    // The validation images are those of the training, although the options are not given again.
    let place = data.split(" --").next().expect("a place");
    let validated = line(&run(&format!("evaluate model.klayer {place} --part validation --json")));
    let inspected = line(&run(&format!("inspect model.klayer {place} --dead --weights w.png --json")));
    assert_eq!(validated["accuracy"], inspected["validation_accuracy"]);
    assert!(validated["accuracy"].as_f64() > Some(0.8), "{validated}");
    if test > 0 {
        let evaluated = line(&run(&format!("evaluate model.klayer {place} --json")));
        assert_eq!(evaluated["images"], test);
    } else {
        let refused = end(&mut klayer(folder, &format!("evaluate model.klayer {place}")));
        assert!(
            refused.code == Some(1)
                && refused.stderr.contains("error: the dataset has no test images; --part validation uses")
        );
    }

    let nine = line(&run(&format!("evaluate model.klayer {place} --part validation --views=9 --json")));
    assert!(nine["views"] == 9 && nine["accuracy"].as_f64() > Some(0.5), "{nine}");

    for views in ["", " --views"] {
        let predicted = end(klayer(folder, &format!("predict model.klayer --top 1 --json{views}")).arg(picture)).well();
        assert_eq!(array(&line(&predicted)["predictions"])[0]["class"], class);
    }

    run("export model.klayer --out model.onnx --input pixels");
    run("export model.klayer --out model.safetensors");
    run("import model.safetensors --out back.klayer");
    assert!(read("back.klayer") == read("model.klayer"));
}

#[test]
fn an_idx_dataset_works_with_every_command() {
    let (_guard, folder) = folder();
    fs::create_dir(folder.join("fashion")).expect("a folder");
    idx(&folder.join("fashion"), "train", 350);
    idx(&folder.join("fashion"), "t10k", 70);
    let picture = folder.join("gray.png");
    image::GrayImage::from_fn(28, 28, |x, y| image::Luma([bar(3, 5, x as usize, y as usize)]))
        .save(&picture)
        .expect("a picture");
    use_every_command(&folder, "--data fashion --validation 49 --seed 7", &picture, "3", 70);

    // Another dataset of the same format.
    let small: Vec<u8> = [0x803_u32, 4, 4, 4].iter().flat_map(|number| number.to_be_bytes()).chain(0..64).collect();
    let labels: Vec<u8> = [0x801_u32, 4].iter().flat_map(|number| number.to_be_bytes()).chain([0, 1, 0, 1]).collect();
    fs::create_dir(folder.join("small")).expect("a folder");
    fs::write(folder.join("small/train-images-idx3-ubyte"), small).expect("written");
    fs::write(folder.join("small/train-labels-idx1-ubyte"), labels).expect("written");

    let run = |arguments: &str| end(&mut klayer(&folder, arguments));
    let shown = line(&run("data --data fashion --json").well());
    assert_eq!((&shown["shape"], &shown["parts"]["training"]["images"]), (&"1 x 28 x 28".into(), &315.into()));
    let all =
        run("train --data fashion --validation 0 --hidden 4 --batch 50 --epochs 2 --schedule cosine --json").well();
    assert!(all.stderr.contains("training on all 350 training images without validation"), "{all:#?}");
    assert!(line(&all)["val_acc"].is_null() && line(&all)["test_acc"].is_f64());
    run("gradcheck --data fashion --hidden 3 --batch 10 --features 50").well();
    run("lr-range --data fashion --hidden 3 --batch 50 --steps 10").well();
    run("search --data fashion --hidden 3 --batch 50 --n-s 7 --cycles 1 --trials 2 --store trials").well();
    for (arguments, reason) in [
        ("search --data fashion --validation 0 --store none", "a search needs validation images"),
        ("lr-range --data fashion --validation 0 --steps 10", "a range test needs at least 1"),
        ("train --data fashion --validation 350", "cannot use 350 training images for validation: must be at most 343"),
        ("train --data fashion --size 20", "--size applies only to pictures, but the dataset is IDX images"),
        ("train --data fashion --dataset cifar100", "fashion: no CIFAR-100 dataset: found a folder with t10k-images"),
        ("train --dataset idx", "pass its path with --data"),
        ("evaluate model.klayer --synthetic", "the images are synthetic stand-in"),
        ("train --data fashion --batch 400", "it must be at most 315, the number of training images"),
        ("train --data fashion --warmup 0.3", "--warmup is 0.3, but it applies only to --schedule cosine"),
        ("evaluate model.klayer --data small --views", "IDX images of 1 x 28 x 28 in 7 classes"),
        ("inspect model.klayer --data small --dead", "but the images are IDX images of 1 x 4 x 4 in 2 classes (0, 1)"),
        ("search --data fashion --batch 400 --store none", "it must be at most 315"),
    ] {
        let refused = run(arguments);
        assert!(refused.code == Some(1) && refused.stderr.contains(reason), "{arguments}: {refused:#?}");
    }
}

/// `KLAYER_VECTOR_BITS` limits the vectors: to single numbers, or to those of AVX2. The two networks use all kernels and
/// all methods.
#[test]
fn every_vector_width_trains_to_the_same_bits() {
    let (_guard, folder) = folder();
    idx(&folder, "train", 350);
    idx(&folder, "t10k", 70);
    for methods in [
        "--hidden 20,10 --batch 30 --n-s 10",
        "--hidden 140,140,8 --batch 200 --n-s 2 --activation modulus,gelu --dropout 0.1 --label-smoothing 0.1 \
         --momentum 0.9 --nesterov --schedule cosine --flip --shift 3 --normalize whiten",
    ] {
        let trained = ["32", "256", "512"].map(|bits| {
            let train = format!("train --data . --cycles 2 {methods} --out model.klayer --json");
            let result = line(&end(klayer(&folder, &train).env("KLAYER_VECTOR_BITS", bits)).well());
            (fs::read(folder.join("model.klayer")).expect("a model"), result["val_loss"].clone())
        });
        assert!(trained.iter().all(|one| *one == trained[0]), "{methods}");
    }
}

#[test]
fn a_folder_of_pictures_works_with_every_command() {
    let (_guard, folder) = folder();
    let classes = ["big bars", "middle", "small"];
    for (class, name) in classes.iter().enumerate() {
        for i in 0..67 {
            let place = folder.join("my pictures").join(name).join(if i % 2 == 0 { "first half" } else { "." });
            fs::create_dir_all(&place).expect("a folder");
            let ending = ["png", "jpg", "bmp", "gif", "webp", "tiff"][i % 6];
            let (width, height) = [(28, 28), (40, 28), (28, 56)][i % 3];
            let picture = RgbImage::from_fn(width, height, |x, y| {
                Rgb([bar(class, i, x as usize, (28 * y / height) as usize), 20, 60])
            });
            picture.save(place.join(format!("picture {i}.{ending}"))).expect("a picture");
        }
    }
    fs::write(folder.join("my pictures/middle/broken.png"), b"\x89PNG\r\n\x1a\nnothing").expect("written");
    // The command line of a test is split at spaces.
    fs::rename(folder.join("my pictures"), folder.join("pictures")).expect("renamed");
    let picture = folder.join("pictures/small/picture 1.jpg");
    use_every_command(&folder, "--data pictures --size 28 --validation 30", &picture, "small", 0);

    let told = end(&mut klayer(&folder, "data --data pictures")).well();
    assert!(told.stderr.contains("warning: pictures/middle/broken.png: "), "{told:#?}");
    assert!(told.stdout.contains("big bars"), "{told:#?}");
    // Pictures of the same classes in folders of their own.
    for part in ["train", "Val", "test"] {
        for class in classes {
            let (from, to) = (folder.join("pictures").join(class), folder.join("parts").join(part).join(class));
            fs::create_dir_all(&to).expect("a folder");
            for i in 1..5 {
                let name = format!("picture {}.{}", 2 * i - 1, ["jpg", "gif", "tiff", "jpg"][i - 1]);
                fs::copy(from.join(&name), to.join(&name)).expect("a copy");
            }
        }
    }
    let evaluated = line(&end(&mut klayer(&folder, "evaluate model.klayer --data parts --json")).well());
    assert_eq!(evaluated["images"], 12);
    fs::create_dir(folder.join("parts/bus")).expect("a folder");
    let refused = end(&mut klayer(&folder, "train --data parts"));
    let reason = "parts: found a folder \"bus\" beside train/, which must hold all classes";
    assert!(refused.code == Some(1) && refused.stderr.contains(reason), "{refused:#?}");

    let strict = |reason: &str| {
        let refused = end(&mut klayer(&folder, "train --data pictures --strict"));
        assert!(refused.code == Some(1) && refused.stderr.contains(reason), "{reason}: {refused:#?}");
    };
    strict("error: pictures/middle/broken.png: ");
    for name in ["new.heic", "notes.txt"] {
        fs::write(folder.join("pictures/small").join(name), "").expect("written");
        let told = end(&mut klayer(&folder, "data --data pictures")).well();
        let reason = format!("warning: pictures/small/{name}: not a picture of a supported format");
        assert!(told.stderr.contains(&reason), "{told:#?}");
    }
    strict("error: pictures/small/new.heic: not a picture");
}

/// Writes a file of CIFAR-100 with the official size: bars in 4 classes, after one image of each class.
fn cifar100(path: &Path, count: usize) {
    let mut bytes = vec![0; 3074 * count];
    for (i, record) in bytes.chunks_exact_mut(3074).enumerate() {
        (record[0], record[1]) =
            if i < 100 { ((i % 20) as u8, i as u8) } else { ((i % 4) as u8, (25 * (i % 4)) as u8) };
        for (at, pixel) in record[2..].iter_mut().enumerate() {
            *pixel = bar(i % 4, i, at % 32, at / 32 % 32);
        }
    }
    fs::write(path, bytes).expect("written");
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn a_cifar_100_folder_works_with_every_command() {
    let (_guard, folder) = folder();
    fs::create_dir(folder.join("hundred")).expect("a folder");
    cifar100(&folder.join("hundred/train.bin"), 50_000);
    cifar100(&folder.join("hundred/test.bin"), 10_000);
    let picture = folder.join("bar.png");
    RgbImage::from_fn(32, 32, |x, y| Rgb([bar(2, 5, x as usize, y as usize); 3])).save(&picture).expect("a picture");
    // Fine class 50, and coarse class 2.
    use_every_command(&folder, "--data hundred", &picture, "mouse", 10_000);
    let coarse = "--data hundred --dataset cifar100-coarse --validation 1000";
    use_every_command(&folder, coarse, &picture, "flowers", 10_000);
}
