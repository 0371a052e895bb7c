//! The Python version of CIFAR-10 and CIFAR-100, as torchvision and Keras store it: pickled dictionaries with the
//! images as an array.
//!
//! A batch is `{"data": uint8 array 10000 x 3072, "labels": list of 10000, ...}`, with rows in the order of the
//! binary version's records; CIFAR-100 has `"coarse_labels"` and `"fine_labels"` instead. A file is decoded only if its
//! MD5 matches the official one, so untrusted pickles are never decoded. The result of CIFAR-10 is then verified against
//! the SHA-256 of the same file of the binary version.

use std::path::Path;

use md5::{Digest, Md5};
use serde_pickle::{DeOptions, HashableValue, Value};

use crate::{Error, Shape, checksum};

/// A file of the Python version.
pub(crate) struct Pickle {
    /// File name.
    pub(crate) name: &'static str,
    /// Official MD5.
    pub(crate) md5: &'static str,
    /// Maximum size in bytes.
    pub(crate) most: u64,
    /// The keys of the labels, in the order of the binary version's records.
    labels: &'static [&'static str],
}

/// The batches of CIFAR-10; each has about 31,035,000 bytes.
pub(crate) const CIFAR10: [Pickle; 6] = [
    batch("data_batch_1", "c99cafc152244af753f735de768cd75f"),
    batch("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
    batch("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
    batch("data_batch_4", "634d18415352ddfa80567beed471001a"),
    batch("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    batch("test_batch", "40351d587109b95175f43aff81a1287e"),
];

/// The files of CIFAR-100; the larger one has about 155,250,000 bytes.
pub(crate) const CIFAR100: [Pickle; 2] =
    [fine("train", "16019d7e3df5f24257cddd939b257f8d"), fine("test", "f0ef6b0ae62326f3e7ffdfab6717acfc")];

const fn batch(name: &'static str, md5: &'static str) -> Pickle {
    Pickle { name, md5, most: 32 << 20, labels: &["labels"] }
}

const fn fine(name: &'static str, md5: &'static str) -> Pickle {
    Pickle { name, md5, most: 160 << 20, labels: &["coarse_labels", "fine_labels"] }
}

/// Decodes the content `bytes` of the file `pickle` to the records of the binary version. `path` is only used in
/// errors.
///
/// # Errors
/// [`Error::Checksum`], or [`Error::Pickle`] for an invalid batch.
pub(crate) fn records(pickle: &Pickle, path: &Path, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    checksum::compare(path, "MD5", pickle.md5, checksum::hex(&Md5::digest(bytes)))?;
    decode(pickle, bytes).map_err(|reason| Error::Pickle { path: path.to_path_buf(), reason })
}

fn decode(pickle: &Pickle, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let features = Shape::CIFAR.features();
    // Keep the state of an array; its class is not needed.
    let options = DeOptions::new().replace_unresolved_globals().keep_restore_state();
    let value = serde_pickle::value_from_slice(bytes, options).map_err(|error| error.to_string())?;
    let Value::Dict(mut batch) = value else { return Err("not a dictionary".to_owned()) };
    let mut take = |name: &str| {
        let keys = [HashableValue::Bytes(name.into()), HashableValue::String(name.to_owned())];
        keys.iter().find_map(|key| batch.remove(key)).ok_or_else(|| format!("missing key {name:?}"))
    };
    // The state of an array: version, shape, type, whether it is in column-major order, and its bytes.
    let pixels = match take("data")? {
        Value::Tuple(state) => match state.into_iter().last() {
            Some(Value::Bytes(pixels)) => pixels,
            _ => return Err("\"data\" is not an array of bytes".to_owned()),
        },
        _ => return Err("\"data\" is not an array".to_owned()),
    };
    let mut labels = Vec::new();
    for key in pickle.labels {
        let Value::List(list) = take(key)? else { return Err(format!("{key:?} is not a list")) };
        if pixels.len() != list.len() * features {
            return Err(format!("{} pixels do not match {} labels", pixels.len(), list.len()));
        }
        labels.push(list);
    }
    let mut records = Vec::with_capacity(pixels.len() + pixels.len() / features * labels.len());
    for (i, pixels) in pixels.chunks_exact(features).enumerate() {
        for labels in &labels {
            let Value::I64(label @ 0..=255) = labels[i] else { return Err(format!("invalid label {}", labels[i])) };
            records.push(label as u8);
        }
        records.extend_from_slice(pixels);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cifar;
    use crate::kind::Kind;

    const FEATURES: usize = Shape::CIFAR.features();

    /// A batch as Python 2 pickles it: protocol 2, with the array as `_reconstruct` and its state.
    fn pickled(lists: &[(&str, &[u8])], pixels: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03".to_vec();
        bytes.extend(b"cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01");
        bytes.extend(
            b"M\x10\x27M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff",
        );
        bytes.extend(b"J\xff\xff\xff\xffK\x00tb\x89T");
        bytes.extend((pixels.len() as u32).to_le_bytes());
        bytes.extend(pixels);
        bytes.extend(b"tb");
        for (name, labels) in lists {
            bytes.extend([b'U', name.len() as u8]);
            bytes.extend(name.as_bytes());
            bytes.extend(b"](");
            bytes.extend(labels.iter().flat_map(|&label| [b'K', label]));
            bytes.push(b'e');
        }
        bytes.extend(b"u.");
        bytes
    }

    /// A file of CIFAR-10 or, with fine labels, CIFAR-100, whose official MD5 is that of `bytes`.
    fn official(bytes: &[u8], fine: bool) -> Pickle {
        let like = if fine { &CIFAR100[0] } else { &CIFAR10[0] };
        Pickle { md5: checksum::hex(&Md5::digest(bytes)).leak(), ..*like }
    }

    #[test]
    fn a_pickled_batch_decodes_to_records_of_the_binary_version() {
        let (coarse, fine) = ([3, 19, 0, 7], [6, 9, 0, 255]);
        let pixels: Vec<u8> = (0..4 * FEATURES).map(|i| (i % 251) as u8).collect();
        let record = |labels: &[u8], i: usize| [labels, &pixels[i * FEATURES..][..FEATURES]].concat();
        let bytes = pickled(&[("labels", &fine)], &pixels);
        let found = records(&official(&bytes, false), Path::new("x"), &bytes).expect("a batch");
        assert!(found == (0..4).flat_map(|i| record(&[fine[i]], i)).collect::<Vec<_>>());
        let bytes = pickled(&[("fine_labels", &fine), ("coarse_labels", &coarse)], &pixels);
        let found = records(&official(&bytes, true), Path::new("x"), &bytes).expect("images with two labels");
        assert!(found == (0..4).flat_map(|i| record(&[coarse[i], fine[i]], i)).collect::<Vec<_>>());
    }

    #[test]
    fn the_python_version_equals_the_binary_version() {
        let Some(binary) = klayer_tests::cifar10() else { return };
        let parent = tempfile::TempDir::new().expect("a temporary folder");
        let folder = parent.path().join("cifar-10-batches-py");
        std::fs::create_dir(&folder).expect("a folder");
        let pickles = CIFAR10.map(|pickle| {
            let records = std::fs::read(binary.join(pickle.name).with_extension("bin")).expect("a batch");
            let (labels, pixels): (Vec<u8>, Vec<&[u8]>) =
                records.chunks(1 + FEATURES).map(|record| (record[0], &record[1..])).unzip();
            let bytes = pickled(&[("labels", &labels)], &pixels.concat());
            std::fs::write(folder.join(pickle.name), &bytes).expect("written");
            Pickle { name: pickle.name, ..official(&bytes, false) }
        });
        let archive = parent.path().join("cifar-10-batches-py-target_archive");
        let output = std::fs::File::create(&archive).expect("a file");
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(output, flate2::Compression::none()));
        tar.append_dir_all("cifar-10-batches-py", &folder).expect("a folder");
        tar.into_inner().and_then(|encoder| encoder.finish()).expect("written");

        let read = |path: &Path, pickles: &[Pickle]| cifar::read(Kind::Cifar10, path, &(), pickles);
        let expected = read(&binary, &pickles).expect("the binary version");
        for path in [&folder, &archive] {
            let found = read(path, &pickles).expect("the Python version");
            assert!(found.training == expected.training && found.test == expected.test, "{}", path.display());
            assert_eq!((found.sha256, &found.place), (expected.sha256.clone(), path));
        }
        // Another batch with a matching MD5 is not the official one.
        let swapped = [folder.join("data_batch_1"), folder.join("data_batch_2")];
        std::fs::copy(&swapped[1], &swapped[0]).expect("a copy");
        let mut pickles = pickles;
        pickles[0].md5 = pickles[1].md5;
        match read(&folder, &pickles).err().expect("refused") {
            Error::Checksum { path, algorithm: "SHA-256", .. } => assert_eq!(path, swapped[0]),
            error => panic!("{error}"),
        }
    }

    #[test]
    fn invalid_batches_are_rejected() {
        let pixels = vec![7; 2 * FEATURES];
        let good = pickled(&[("labels", &[1, 2])], &pixels);
        let refused =
            |pickle: &Pickle, bytes: &[u8]| records(pickle, Path::new("x"), bytes).expect_err("refused").to_string();
        let told = refused(&CIFAR10[0], &good);
        assert!(told.starts_with("x: wrong MD5: expected c99cafc152244af753f735de768cd75f, found "), "{told}");
        for (bytes, fine, reason) in [
            (pickled(&[("labels", &[1])], &pixels), false, "6144 pixels do not match 1 labels"),
            (pickled(&[("coarse_labels", &[1, 2])], &pixels), true, "missing key \"fine_labels\""),
            (pickled(&[("coarse_labels", &[1, 2]), ("fine_labels", &[1])], &pixels), true, "do not match 1 labels"),
            (b"}.".to_vec(), false, "missing key \"data\""),
            (b"].".to_vec(), false, "not a dictionary"),
            (good[..good.len() - 1].to_vec(), false, "x: not a valid batch of CIFAR images: "),
            (good[..100].to_vec(), false, "x: not a valid batch of CIFAR images: "),
        ] {
            let error = refused(&official(&bytes, fine), &bytes);
            assert!(error.contains(reason), "{error}");
        }
    }
}
