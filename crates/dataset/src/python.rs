//! The Python version of CIFAR-10, as torchvision and Keras store it: pickled dictionaries with the images as an
//! array.
//!
//! A batch is `{"data": uint8 array 10000 x 3072, "labels": list of 10000, ...}`, with rows in the order of the
//! binary version's records. A file is decoded only if its MD5 matches the official one, so untrusted pickles are
//! never decoded. The result is then verified against the SHA-256 of the same file of the binary version.

use std::path::Path;

use md5::{Digest, Md5};
use serde_pickle::{DeOptions, HashableValue, Value};

use crate::{Error, FEATURES, checksum};

/// Maximum size of a batch file in bytes; the official ones have about 31,035,000.
pub(crate) const LONGEST: u64 = 32 << 20;

/// File names of the batches with their official MD5.
pub(crate) const FILES: [(&str, &str); 6] = [
    ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
    ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
    ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
    ("data_batch_4", "634d18415352ddfa80567beed471001a"),
    ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ("test_batch", "40351d587109b95175f43aff81a1287e"),
];

/// Decodes the batch in `bytes` to the records of the binary version. `md5` is the expected MD5; `path` is only used
/// in errors.
///
/// # Errors
/// [`Error::Checksum`], or [`Error::Pickle`] for an invalid batch.
pub(crate) fn records(path: &Path, md5: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    checksum::compare(path, "MD5", md5, checksum::hex(&Md5::digest(bytes)))?;
    decode(bytes).map_err(|reason| Error::Pickle { path: path.to_path_buf(), reason })
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, String> {
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
    let Value::List(labels) = take("labels")? else { return Err("\"labels\" is not a list".to_owned()) };
    if pixels.len() != labels.len() * FEATURES {
        return Err(format!("{} pixels do not match {} labels", pixels.len(), labels.len()));
    }
    let mut records = Vec::with_capacity(pixels.len() + labels.len());
    for (label, pixels) in labels.iter().zip(pixels.chunks_exact(FEATURES)) {
        let Value::I64(label @ 0..=255) = label else { return Err(format!("invalid label {label}")) };
        records.push(*label as u8);
        records.extend_from_slice(pixels);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, cifar};

    /// A batch as Python 2 pickles it: protocol 2, with the array as `_reconstruct` and its state.
    fn pickled(labels: &[u8], pixels: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03".to_vec();
        bytes.extend(b"cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01");
        bytes.extend(
            b"M\x10\x27M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff",
        );
        bytes.extend(b"J\xff\xff\xff\xffK\x00tb\x89T");
        bytes.extend((pixels.len() as u32).to_le_bytes());
        bytes.extend(pixels);
        bytes.extend(b"tbU\x06labelsq\x08]q\x09(");
        bytes.extend(labels.iter().flat_map(|&label| [b'K', label]));
        bytes.extend(b"eu.");
        bytes
    }

    fn md5(bytes: &[u8]) -> String {
        checksum::hex(&Md5::digest(bytes))
    }

    #[test]
    fn a_pickled_batch_decodes_to_records_of_the_binary_version() {
        let labels = [6, 9, 0, 255];
        let pixels: Vec<u8> = (0..4 * FEATURES).map(|i| (i % 251) as u8).collect();
        let bytes = pickled(&labels, &pixels);
        let records = records(Path::new("x"), &md5(&bytes), &bytes).expect("a batch");
        let expected: Vec<_> = labels
            .iter()
            .zip(pixels.chunks(FEATURES))
            .flat_map(|(&label, pixels)| [&[label], pixels].concat())
            .collect();
        assert!(records == expected);
    }

    #[test]
    fn the_python_version_equals_the_binary_version() {
        let Some(binary) = klayer_tests::cifar10() else { return };
        let parent = tempfile::TempDir::new().expect("a temporary folder");
        let folder = parent.path().join("cifar-10-batches-py");
        std::fs::create_dir(&folder).expect("a folder");
        let sums = FILES.map(|(name, _)| {
            let records = std::fs::read(binary.join(name).with_extension("bin")).expect("a batch");
            let (labels, pixels): (Vec<u8>, Vec<&[u8]>) =
                records.chunks(1 + FEATURES).map(|record| (record[0], &record[1..])).unzip();
            let bytes = pickled(&labels, &pixels.concat());
            std::fs::write(folder.join(name), &bytes).expect("written");
            (name, md5(&bytes))
        });
        let archive = parent.path().join("cifar-10-batches-py-target_archive");
        let output = std::fs::File::create(&archive).expect("a file");
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(output, flate2::Compression::none()));
        tar.append_dir_all("cifar-10-batches-py", &folder).expect("a folder");
        tar.into_inner().and_then(|encoder| encoder.finish()).expect("written");

        let read = |path: &Path, sums: &[(&str, &str)]| cifar::read_with(Kind::Cifar10, path, &(), sums);
        let expected = read(&binary, &FILES).expect("the binary version");
        let pickles = sums.each_ref().map(|(name, md5)| (*name, md5.as_str()));
        for path in [&folder, &archive] {
            let found = read(path, &pickles).expect("the Python version");
            assert!(found.training == expected.training && found.test == expected.test, "{}", path.display());
            assert_eq!((found.sha256, &found.place), (expected.sha256.clone(), path));
        }
        // Another batch with a matching MD5 is not the official one.
        let swapped = [folder.join("data_batch_1"), folder.join("data_batch_2")];
        std::fs::copy(&swapped[1], &swapped[0]).expect("a copy");
        let mut pickles = pickles;
        pickles[0].1 = pickles[1].1;
        match read(&folder, &pickles).err().expect("refused") {
            Error::Checksum { path, algorithm: "SHA-256", .. } => assert_eq!(path, swapped[0]),
            error => panic!("{error}"),
        }
    }

    #[test]
    fn invalid_batches_are_rejected() {
        let good = pickled(&[1, 2], &vec![7; 2 * FEATURES]);
        let refused = |bytes: &[u8], md5: &str| records(Path::new("x"), md5, bytes).expect_err("refused").to_string();
        assert!(refused(&good, "0").starts_with("x: wrong MD5: expected 0, found "));
        for (bytes, reason) in [
            (pickled(&[1], &vec![7; 2 * FEATURES]), "6144 pixels do not match 1 labels"),
            (b"}.".to_vec(), "missing key \"data\""),
            (b"].".to_vec(), "not a dictionary"),
            (good[..good.len() - 1].to_vec(), "x: not a valid CIFAR-10 batch: "),
            (good[..100].to_vec(), "x: not a valid CIFAR-10 batch: "),
        ] {
            let error = refused(&bytes, &md5(&bytes));
            assert!(error.contains(reason), "{error}");
        }
    }
}
