//! `klayer predict`.

use std::fs;
use std::path::Path;

use image::{DynamicImage, Rgb, RgbImage};
use klayer_tests::{Ended, cifar10, end, files, folder, images, klayer};
use serde_json::Value;

use crate::{array, assert_no_nan, line};

/// Trains `model.klayer` in `folder` for a few steps.
fn train(folder: &Path) {
    end(klayer(folder, "train --n-s 50 --cycles 1 --out model.klayer").args(images())).well();
}

/// Parses the lines of JSON printed by a command.
fn lines(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Converts an image in CIFAR-10's layout to a picture.
fn picture(pixels: &[u8]) -> RgbImage {
    RgbImage::from_fn(32, 32, |x, y| {
        let at = (32 * y + x) as usize;
        Rgb([pixels[at], pixels[1024 + at], pixels[2048 + at]])
    })
}

/// Label and probability of the most probable class of a line.
fn best(line: &Value) -> (u64, f64) {
    let best = &array(&line["predictions"])[0];
    (best["label"].as_u64().expect("a label"), best["probability"].as_f64().expect("a probability"))
}

#[test]
fn predict_and_evaluate_agree_on_cifar10_images() {
    const COUNT: usize = 1_000;
    let Some(data) = cifar10() else { return };
    let (_guard, folder) = folder();
    train(&folder);
    let test = fs::read(data.join("test_batch.bin")).expect("test images");
    fs::create_dir(folder.join("test")).expect("a folder");
    for (i, record) in test.chunks_exact(3073).take(COUNT).enumerate() {
        picture(&record[1..]).save(folder.join(format!("test/{i:04}.png"))).expect("a picture");
    }
    let predicted = lines(&end(&mut klayer(&folder, "predict model.klayer test --json")).well());
    assert_eq!(predicted.len(), COUNT);

    // `inspect` must list the same mistakes, with the same confidence, as the predictions.
    let arguments = "inspect model.klayer --mistakes mistakes.png --most 10000 --json";
    let inspected = line(&end(klayer(&folder, arguments).arg("--data").arg(&data)).well());
    let evaluated = line(&end(klayer(&folder, "evaluate model.klayer --json").arg("--data").arg(&data)).well());
    let accuracy = evaluated["accuracy"].as_f64().expect("an accuracy");
    let mistakes = array(&inspected["mistakes"]);
    assert_eq!(10_000 - mistakes.len(), (1e4 * accuracy).round() as usize);
    let views =
        |command: &str| line(&end(klayer(&folder, &format!("{command} --views=9")).arg("--data").arg(&data)).well());
    let (evaluated_views, inspected_views) = (views("evaluate model.klayer --json"), views(arguments));
    let accuracy = evaluated_views["accuracy"].as_f64().expect("an accuracy");
    assert_eq!(10_000 - array(&inspected_views["mistakes"]).len(), (1e4 * accuracy).round() as usize);
    assert_ne!(inspected["mistakes"], inspected_views["mistakes"]);
    let classes = array(&evaluated["classes"]);
    let mut wrong = 0;
    for (i, line) in predicted.iter().enumerate() {
        assert_eq!(line["image"], format!("test/{i:04}.png"));
        let (label, probability) = best(line);
        let mistake = mistakes.iter().find(|mistake| mistake["index"] == i);
        match mistake {
            Some(mistake) => {
                wrong += 1;
                assert_eq!(mistake["predicted"], classes[label as usize], "image {i}");
                assert_eq!(mistake["confidence"].as_f64(), Some(probability), "image {i}, to the bit");
            }
            None => assert_eq!(label, u64::from(test[i * 3073]), "image {i}"),
        }
    }
    assert!(wrong > 100, "a network of a hundred steps makes mistakes: {wrong}");
    let alone = lines(&end(&mut klayer(&folder, "predict model.klayer test/0007.png --json --threads 1")).well());
    assert_eq!(alone[0], predicted[7], "an image alone");
}

/// Inserts EXIF data with an orientation after the first two bytes of a JPEG.
fn on_its_side(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

#[test]
fn predict_handles_every_size_and_format_and_walks_folders_in_order() {
    let (_guard, folder) = folder();
    train(&folder);
    fs::create_dir_all(folder.join("photos/more")).expect("folders");
    fs::create_dir_all(folder.join("photos/.hidden")).expect("folders");
    let scene = DynamicImage::from(RgbImage::from_fn(300, 200, |x, y| {
        Rgb([(x * 255 / 300) as u8, (y * 255 / 200) as u8, if x > 150 { 200 } else { 20 }])
    }));
    let save = |picture: &DynamicImage, name: &str| picture.save(folder.join("photos").join(name)).expect("written");
    for name in ["b.jpg", "a.png", "more/d.bmp", "more/c.tiff", "e.webp", "f.gif", ".hidden/x.png"] {
        save(&scene, name);
    }
    save(&scene.to_luma8().into(), "i.png");
    save(&scene.to_rgba16().into(), "j.png");
    std::os::unix::fs::symlink("more", folder.join("photos/linked")).expect("a link");
    fs::write(folder.join("photos/notes.txt"), "no picture").expect("written");
    fs::copy(folder.join("photos/a.png"), folder.join("photos/k")).expect("a picture without an ending");

    let ended = end(&mut klayer(&folder, "predict model.klayer photos --json --top 20")).well();
    assert_no_nan(&ended.stdout);
    assert_eq!(ended.stderr, "photos: skipped 1 file that is not a picture\n");
    let told = lines(&ended);
    let names: Vec<_> = told.iter().map(|line| line["image"].as_str().expect("a name")).collect();
    let expected = "a.png b.jpg e.webp f.gif i.png j.png k linked/c.tiff linked/d.bmp more/c.tiff more/d.bmp";
    assert_eq!(names, expected.split(' ').map(|name| format!("photos/{name}")).collect::<Vec<_>>());
    for line in &told {
        let probabilities: Vec<_> =
            array(&line["predictions"]).iter().map(|guess| guess["probability"].as_f64().expect("a number")).collect();
        assert_eq!(probabilities.len(), 10);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9 && probabilities.is_sorted_by(|a, b| a >= b));
    }
    for same in ["photos/e.webp", "photos/k", "photos/more/c.tiff", "photos/more/d.bmp"] {
        let line = told.iter().find(|line| line["image"] == same).expect("it is told");
        assert_eq!(line["predictions"], told[0]["predictions"], "{same} holds the same pixels");
    }

    let table = end(&mut klayer(&folder, "predict model.klayer photos/a.png photos/b.jpg")).well().stdout;
    let rows: Vec<_> = table.lines().collect();
    assert!(rows.len() == 2 && rows[0].starts_with("photos/a.png ") && rows[0].matches('%').count() == 3, "{table}");
    assert!(rows[0].contains(array(&told[0]["predictions"])[0]["class"].as_str().expect("a class")), "{table}");

    // Cameras store pictures unrotated, with the orientation in the EXIF data.
    let jpeg = fs::read(folder.join("photos/b.jpg")).expect("a picture");
    fs::write(folder.join("turned.jpg"), on_its_side(&jpeg, 3)).expect("written");
    let read = image::load_from_memory(&jpeg).expect("a picture");
    read.rotate180().save(folder.join("upright.png")).expect("written");
    let both =
        lines(&end(&mut klayer(&folder, "predict model.klayer turned.jpg upright.png photos/b.jpg --json")).well());
    assert_eq!(both[0]["predictions"], both[1]["predictions"]);
    assert_ne!(both[0]["predictions"], both[2]["predictions"], "what is upside down looks different");
}

/// A tiny PNG whose header claims to be `side` pixels wide and high.
fn bomb(side: u32) -> Vec<u8> {
    let mut png = Vec::new();
    let small = RgbImage::from_pixel(1, 1, Rgb([1, 2, 3]));
    DynamicImage::from(small).write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).expect("a PNG");
    // The header chunk starts at byte 12; its checksum is at byte 29.
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let sum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png
}

/// A bitmap of 0 x 0 pixels.
fn bmp_without_pixels() -> Vec<u8> {
    let mut bmp = Vec::new();
    let small = RgbImage::from_pixel(1, 1, Rgb([1, 2, 3]));
    DynamicImage::from(small).write_to(&mut std::io::Cursor::new(&mut bmp), image::ImageFormat::Bmp).expect("a BMP");
    bmp[18..26].fill(0);
    bmp
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[test]
fn invalid_pictures_are_reported_and_the_others_classified() {
    let (_guard, folder) = folder();
    train(&folder);
    let scene = DynamicImage::from(RgbImage::from_fn(90, 80, |x, y| Rgb([x as u8, y as u8, 7])));
    scene.save(folder.join("good.jpg")).expect("written");
    let jpeg = fs::read(folder.join("good.jpg")).expect("a picture");
    fs::create_dir(folder.join("empty")).expect("a folder");
    let bad: [(&str, Vec<u8>); 9] = [
        ("flat.bmp", bmp_without_pixels()),
        ("wide.png", bomb(100_000)),
        ("heavy.png", bomb(30_000)),
        ("short.jpg", jpeg[..jpeg.len() / 8].to_vec()),
        ("half.jpg", jpeg[..jpeg.len() / 2].to_vec()),
        ("endless.jpg", jpeg[..jpeg.len() - 2].to_vec()),
        ("text.png", b"no picture at all".to_vec()),
        ("nothing.gif", Vec::new()),
        ("escape\u{1b}[2J.png", b"GIF89a".to_vec()),
    ];
    for (name, bytes) in &bad {
        fs::write(folder.join(name), bytes).expect("written");
    }
    let before = files(&folder);
    let mut command = klayer(&folder, "predict model.klayer --json");
    command.args(bad.iter().map(|(name, _)| name)).args(["missing.png", "good.jpg", "empty"]);
    let ended = end(&mut command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = lines(&ended);
    assert_eq!(told.len(), bad.len() + 2, "a line for each: {ended:?}");
    let classified: Vec<_> = told.iter().filter(|line| line.get("error").is_none()).collect();
    assert!(classified.len() == 1 && classified[0]["image"] == "good.jpg", "{ended:?}");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), bad.len() + 3, "a sentence each, and one at the end: {}", ended.stderr);
    for (name, _) in &bad[..bad.len() - 1] {
        let found = lines.iter().filter(|line| line.starts_with(&format!("warning: {name}: "))).count();
        assert_eq!(found, 1, "{name} in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains('\u{1b}') && !ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert_eq!(lines.last(), Some(&"error: 11 of 12 inputs could not be read"));
    assert_eq!(files(&folder), before);

    for (arguments, expected) in [
        ("predict model.klayer empty", "error: empty: no pictures found\n"),
        ("predict good.jpg good.jpg", "error: good.jpg: not a klayer model: wrong magic bytes, at byte 0\n"),
        ("inspect good.jpg", "error: good.jpg: not a klayer model: wrong magic bytes, at byte 0\n"),
    ] {
        let ended = end(&mut klayer(&folder, arguments));
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(1), "", expected));
    }
}
