//! `klayer data`.

use klayer_tests::{cifar10, end, folder, images, klayer};

use crate::{array, line, numbers};

#[test]
fn data_counts_and_shows_images_per_class() {
    let (_guard, folder) = folder();
    let told = line(&end(klayer(&folder, "data --json --sheet s.png").args(images())).well());
    for (part, expected) in [("training", 45_000.0), ("validation", 5_000.0), ("test", 10_000.0)] {
        let classes = numbers(&told["parts"][part]["classes"]);
        assert_eq!((classes.len(), classes.iter().sum::<f64>()), (10, expected), "{part}");
        assert_eq!(told["parts"][part]["images"].as_f64(), Some(expected));
    }
    let sheet = image::open(folder.join("s.png")).expect("a picture");
    assert_eq!((sheet.width(), sheet.height()), (3 * (10 * 33 + 1), 3 * (10 * 33 + 1)));
    if let Some(data) = cifar10() {
        assert_eq!((told["name"].as_str(), told["folder"].as_str()), (Some("CIFAR-10"), data.to_str()));
        assert_eq!(array(&told["classes"])[3], "cat");
        assert_eq!(numbers(&told["parts"]["test"]["classes"]), [1_000.0; 10]);
        let red = &told["pixels"]["red"];
        // Known means of CIFAR-10's training images are 0.491, 0.482 and 0.447; the deviations are about 0.247.
        assert!((red["mean"].as_f64().expect("a number") / 255.0 - 0.491).abs() < 2e-3, "{red}");
        assert!((red["deviation"].as_f64().expect("a number") / 255.0 - 0.247).abs() < 2e-3, "{red}");
    }
    let table = end(klayer(&folder, "data").args(images())).well().stdout;
    assert!(table.contains(told["sha256"].as_str().expect("a checksum")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("all ") && line.ends_with("10000")), "{table}");

    let synthetic = end(&mut klayer(&folder, "data --synthetic")).well().stdout;
    assert!(synthetic.starts_with("synthetic stand-in\nfrom        generated (requested)\n"), "{synthetic}");
    let ended = end(&mut klayer(&folder, "data --data nowhere"));
    assert_eq!((ended.code, ended.stderr.starts_with("error: nowhere: not found")), (Some(1), true), "{ended:?}");
}
