//! An archive for the unpacker, and tar files with valid checksums.

use flate2::Crc;
use klayer_dataset::{Archive, ExpectedFile};
use sha2::{Digest, Sha256};

/// Size of a block of a tar file, in bytes.
const BLOCK: usize = 512;

/// The files of the archive: one larger than a block, one smaller.
pub fn files() -> [(&'static str, Vec<u8>); 2] {
    [("one.bin", b"klayer".repeat(100)), ("two.bin", b"two".to_vec())]
}

/// The archive of [`files`] in the folder `photos`.
pub fn archive() -> Archive {
    let expected = |(name, bytes): (&str, Vec<u8>)| ExpectedFile {
        name: name.to_owned(),
        bytes: bytes.len() as u64,
        sha256: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    Archive {
        name: "photos.tar.gz".to_owned(),
        folder: "photos".to_owned(),
        files: files().map(expected).to_vec(),
        ..Archive::cifar10()
    }
}

/// Returns `tar` with a valid checksum in every block that a reader takes for a header.
pub fn with_right_sums(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..).and_then(|rest| rest.get_mut(..BLOCK)) {
        at += BLOCK;
        // A block of zeros ends a tar file; a checksum would turn it into a header.
        if block.iter().all(|&byte| byte == 0) {
            continue;
        }
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let size = header.entry_size().unwrap_or(0);
        at = at.saturating_add(size.min(1 << 40) as usize).next_multiple_of(BLOCK);
    }
    tar
}

/// Returns `tar` as a gzip file of stored blocks (RFC 1951 and 1952), because compression would take most of the time.
pub fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for block in tar.chunks(usize::from(u16::MAX)) {
        let length = block.len() as u16;
        bytes.push(0);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&(!length).to_le_bytes());
        bytes.extend_from_slice(block);
    }
    // The last block is empty.
    bytes.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    let mut crc = Crc::new();
    crc.update(tar);
    bytes.extend_from_slice(&crc.sum().to_le_bytes());
    bytes.extend_from_slice(&(tar.len() as u32).to_le_bytes());
    bytes
}
