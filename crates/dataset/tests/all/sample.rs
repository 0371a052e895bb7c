//! Small archives for the tests, well-formed and not.

use std::io::Write;

use flate2::Compression;
use klayer_dataset::{Archive, ExpectedFile};
use md5::Md5;
use sha2::{Digest, Sha256};

/// A small archive and the files in it.
pub(crate) struct Sample {
    pub(crate) archive: Archive,
    pub(crate) bytes: Vec<u8>,
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
}

impl Sample {
    /// A folder `photos` with two incompressible files, so that the archive is large enough to resume.
    pub(crate) fn new() -> Self {
        let files = vec![("one.bin", pseudo_random(150_000, 1)), ("two.bin", pseudo_random(70_000, 2))];
        let mut tar = Tar::new();
        tar.add("photos/", tar::EntryType::Directory, &[]);
        tar.add("photos/readme.html", tar::EntryType::Regular, b"<p>hello</p>");
        for (name, bytes) in &files {
            tar.add(&format!("photos/{name}"), tar::EntryType::Regular, bytes);
        }
        let bytes = tar.gzip(Compression::fast());
        let expected = |(name, bytes): &(&str, Vec<u8>)| ExpectedFile {
            name: (*name).to_owned(),
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
        };
        let archive = Archive {
            url: "http://127.0.0.1:9/photos.tar.gz".to_owned(),
            bytes: bytes.len() as u64,
            md5: hex(&Md5::digest(&bytes)),
            name: "photos.tar.gz".to_owned(),
            folder: "photos".to_owned(),
            files: files.iter().map(expected).collect(),
            ignored: vec!["readme.html".to_owned()],
        };
        Self { archive, bytes, files }
    }
}

/// A tar file with arbitrary paths and entry types.
pub(crate) struct Tar {
    builder: tar::Builder<Vec<u8>>,
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self { builder: tar::Builder::new(Vec::new()) }
    }

    pub(crate) fn add(&mut self, path: &str, kind: tar::EntryType, bytes: &[u8]) {
        self.add_claiming(path, kind, bytes.len() as u64, bytes);
    }

    /// Adds an entry whose header has a size different from its content's.
    pub(crate) fn add_claiming(&mut self, path: &str, kind: tar::EntryType, size: u64, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        // Write the path into the header directly: `set_path` would reject it.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        if kind == tar::EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        self.builder.append(&header, bytes).unwrap();
    }

    pub(crate) fn gzip(self, level: Compression) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(&self.builder.into_inner().unwrap()).unwrap();
        encoder.finish().unwrap()
    }
}

pub(crate) fn pseudo_random(len: usize, seed: u64) -> Vec<u8> {
    use rand::Rng;
    let mut bytes = vec![0; len];
    klayer_linalg::random::stream(seed, "test").fill_bytes(&mut bytes);
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
