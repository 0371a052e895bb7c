//! Generates the seeds of all targets: run `cargo run --example seeds` in this folder. The result is deterministic.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use klayer_dataset::{Shape, Shuffle};
use klayer_experiments::gradients::{GradientConfig, GradientRecord, GradientRow};
use klayer_fuzz::archive::{files, gzip};
use klayer_fuzz::model::Notes;
use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::{ColMajor, Par, RowMajor, Scalar};
use klayer_nn::model_file::{self, MODEL};
use klayer_nn::{Network, Workspace};
use klayer_train::checkpoint::{CHECKPOINT, State};
use klayer_train::record::{Divergence, Point, RunRecord};
use klayer_train::{
    Activation, Activations, AugmentConfig, BatchConfig, DatasetInfo, Environment, Evaluation, Init, Normalize,
    OptimizerConfig, RunConfig, ScheduleKind,
};
use serde::Serialize;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    cifar()?;
    idx()?;
    archive()?;
    model()?;
    checkpoint()?;
    record()?;
    paper()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> Done {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

/// Images of one color each.
fn idx() -> Done {
    let header = |magic: u32, sizes: &[u32]| -> Vec<u8> {
        [magic].iter().chain(sizes).flat_map(|number| number.to_be_bytes()).collect()
    };
    let both = |images: &[u8], labels: &[u8]| [images, b"END", labels].concat();
    let images = [header(0x803, &[4, 2, 3]), (0..24).collect()].concat();
    let labels = [header(0x801, &[4]), vec![0, 1, 9, 1]].concat();
    write("idx", "empty.bin", &[])?;
    write("idx", "four.bin", &both(&images, &labels))?;
    write("idx", "few_labels.bin", &both(&images, &labels[..11]))?;
    write("idx", "huge.bin", &both(&header(0x803, &[u32::MAX, 65_536, 65_536]), &labels))?;
    write("idx", "one_class.bin", &both(&images, &[header(0x801, &[4]), vec![7; 4]].concat()))
}

fn cifar() -> Done {
    let records = |labels: &[&[u8]]| {
        let record = |(i, labels): (usize, &&[u8])| [*labels, &[85 * i as u8; Shape::CIFAR.features()]].concat();
        labels.iter().enumerate().flat_map(record).collect::<Vec<u8>>()
    };
    write("cifar", "empty.bin", &[])?;
    write("cifar", "cifar10.bin", &records(&[&[0], &[9]]))?;
    write("cifar", "cifar100.bin", &records(&[&[0, 99], &[19, 0]]))?;
    write("cifar", "label_10.bin", &records(&[&[10]]))?;
    write("cifar", "partial.bin", &records(&[&[3]])[..1000])
}

fn archive() -> Done {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes)
    };
    add("photos/", tar::EntryType::Directory, &[])?;
    add("photos/readme.html", tar::EntryType::Regular, b"<p>hello</p>")?;
    for (name, bytes) in files() {
        add(&format!("photos/{name}"), tar::EntryType::Regular, &bytes)?;
    }
    let whole = tar.into_inner()?;
    write("archive", "whole.tar", &whole)?;
    write("archive", "whole.tar.gz", &compressed(&whole)?)?;
    write("archive", "stored.tar.gz", &gzip(&whole))?;

    // A name too long for a header, an extended header, a link, and a binary size.
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    tar.append_data(&mut header, format!("photos/{}", "x".repeat(120)), &b"two"[..])?;
    write("archive", "long_name.tar", &tar.into_inner()?)?;
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_pax_extensions([("path", &b"photos/two.bin"[..]), ("size", b"3")])?;
    tar.append_data(&mut tar::Header::new_ustar(), "photos/one.bin", &b""[..])?;
    write("archive", "extended.tar", &tar.into_inner()?)?;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    tar.append_link(&mut header, "photos/one.bin", "/etc/passwd")?;
    write("archive", "link.tar", &tar.into_inner()?)?;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_path("photos/two.bin")?;
    header.set_size(1 << 40);
    header.set_cksum();
    tar.append(&header, &b"two"[..])?;
    write("archive", "large.tar", &tar.into_inner()?)
}

fn compressed(tar: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(tar)?;
    encoder.finish()
}

fn model() -> Done {
    let one = |name: &str, bytes: Vec<u8>| write("model", name, &bytes);
    one("trained_f32", network::<f32>(config(&[3], true), true)?)?;
    one("trained_f64", network::<f64>(config(&[3, 2], true), true)?)?;
    one("fresh_f32", network::<f32>(config(&[2], true), false)?)?;
    one("plain_f32", network::<f32>(config(&[2], false), true)?)?;
    one("one_layer_f64", network::<f64>(config(&[], true), false)?)?;
    one("all_settings_f32", network::<f32>(all_settings(), true)?)
}

fn network<T: Scalar>(config: RunConfig, trained: bool) -> Result<Vec<u8>, Box<dyn Error>> {
    let network = small::<T>(&config, trained)?;
    let notes = Notes {
        config,
        dataset: dataset(),
        classes: vec!["cat".to_owned(), "dog".to_owned()],
        test_accuracy: trained.then_some(0.5),
    };
    Ok(model_file::encode(&MODEL, &network, &[], &notes)?)
}

fn small<T: Scalar>(config: &RunConfig, trained: bool) -> Result<Network<T>, Box<dyn Error>> {
    let architecture = config.network.architecture(4, 2)?;
    let mut network = Network::<T>::new(&architecture, Init::He, &mut stream(7, "init"))?;
    if trained {
        let mut rows = RowMajor::zeros(4, 6);
        fill_normal(&mut rows, 1.0, &mut stream(7, "images"));
        let mut x = ColMajor::zeros(4, 6);
        for j in 0..6 {
            for (i, row) in rows.rows().enumerate() {
                x.col_mut(j)[i] = row[j];
            }
        }
        network.forward_train(x.as_ref(), &mut Workspace::new(&architecture, 6, Par::Seq))?;
    }
    Ok(network)
}

fn checkpoint() -> Done {
    let cases = [
        ("start", config(&[2], true), 0),
        ("middle", config(&[3, 2], true), 3),
        ("one_layer", config(&[], true), 4),
        ("momentum", all_settings(), 3),
    ];
    for (name, config, done) in cases {
        let mut shuffle = Shuffle::new(stream(7, "shuffle"), 7, 2)?;
        for _ in 0..done {
            shuffle.next_batch();
        }
        let network = small::<f32>(&config, done > 0)?;
        let numbers = if config.optimizer.momentum > 0.0 { network.architecture().parameters() } else { 0 };
        let state = State {
            key: "0123456789abcdef".repeat(2),
            environment: environment(done > 0),
            config,
            dataset: dataset(),
            done,
            shuffle,
            curve: (0..done).map(|step| point(step, (step > 0).then_some(2.25))).collect(),
            batch_losses: 4.5,
            seconds: 1.25,
        };
        write("checkpoint", name, &model_file::encode(&CHECKPOINT, &network, &vec![0.25; numbers], &state)?)?;
    }
    Ok(())
}

fn config(hidden: &[usize], batch_norm: bool) -> RunConfig {
    let mut config = RunConfig {
        validate_every: Some(10),
        training_sample: batch_norm.then_some(1000),
        test: batch_norm,
        ..RunConfig::default()
    };
    config.network.hidden = hidden.to_vec().into();
    config.network.batch_norm = batch_norm;
    config.network.init = if batch_norm { Init::He } else { Init::Normal { sigma: 0.01 } };
    config.schedule.n_s = 20;
    config
}

/// Settings that all differ from their defaults.
fn all_settings() -> RunConfig {
    let mut config = config(&[4, 2], true);
    config.network.activation = Activations(vec![Activation::Modulus, Activation::Gelu]);
    config.network.dropout = 0.1;
    config.schedule.kind = ScheduleKind::Cosine;
    config.schedule.epochs = Some(2.5);
    config.schedule.warmup = 0.25;
    config.batch.normalize = Normalize::WHITEN;
    config.batch.label_smoothing = 0.1;
    config.augment = AugmentConfig { flip: true, shift: 2 };
    config.optimizer = OptimizerConfig { momentum: 0.9, nesterov: true };
    config
}

/// The environment of a run, with or without the kernels.
fn environment(kernels: bool) -> Environment {
    Environment {
        version: "0.1.0".to_owned(),
        processor: "a processor".to_owned(),
        cores: 2,
        threads: 1,
        system: "linux x86_64".to_owned(),
        kernels,
    }
}

fn dataset() -> DatasetInfo {
    DatasetInfo { name: "CIFAR-10".to_owned(), sha256: "0123456789abcdef".repeat(4), synthetic: false }
}

fn point(step: u64, training: Option<f64>) -> Point {
    Point {
        step,
        training_loss: training,
        training_cost: training.map(|loss| loss + 0.25),
        validation_loss: Some(1.5),
        validation_cost: Some(1.75),
        validation_accuracy: Some(0.4375),
    }
}

fn record() -> Done {
    let finished = RunRecord {
        config: config(&[50, 50], true),
        dataset: dataset(),
        environment: environment(true),
        seconds: 1.25,
        curve: vec![point(0, Some(2.25)), point(10, Some(2.0))],
        diverged: None,
        test: Some(Evaluation { loss: 1.5, accuracy: 0.75, confusion: vec![vec![3, 1], vec![0, 0]] }),
    };
    let diverged = RunRecord {
        config: config(&[50], false),
        curve: vec![point(0, None)],
        diverged: Some(Divergence { step: 7, rate: 1e6, largest_weight: Some(1e30) }),
        test: None,
        ..finished.clone()
    };
    let gradients = GradientRecord {
        config: GradientConfig {
            network: config(&[50], true).network,
            batch: BatchConfig { size: 20, ..BatchConfig::default() },
            step: 1e-5,
            floor: 1e-4,
            lambdas: vec![0.0, 0.005],
            seed: 42,
            features: None,
        },
        dataset: dataset(),
        environment: environment(true),
        seconds: 0.5,
        rows: vec![GradientRow {
            lambda: 0.005,
            layer: 1,
            parameter: "gamma".to_owned(),
            checked: 50,
            kinks: 1,
            sum_numerical: -2.5,
            sum_analytic: -2.25,
            sum_relative_error: 1e-9,
            max_relative_error: 1e-10,
            max_absolute_error: 1e-12,
        }],
    };
    let all = RunRecord { config: all_settings(), ..finished.clone() };
    json("finished.json", &finished)?;
    json("all_settings.json", &all)?;
    json("diverged.json", &diverged)?;
    json("gradients.json", &gradients)
}

fn json(name: &str, record: &impl Serialize) -> Done {
    write("record", name, &serde_json::to_vec_pretty(record)?)
}

/// The file itself, and the same numbers as inline tables.
fn paper() -> Done {
    let text = include_str!("../../data/paper.toml");
    write("paper", "paper.toml", text.as_bytes())?;
    // JSON with `=` instead of `:` is an inline table.
    let table: toml::Table = toml::from_str(text)?;
    let mut inline = String::new();
    for (name, value) in &table {
        inline += &format!("{name} = {}\n", serde_json::to_string(value)?.replace(':', "="));
    }
    assert_eq!(toml::from_str::<toml::Table>(&inline)?, table);
    write("paper", "inline.toml", inline.as_bytes())
}
