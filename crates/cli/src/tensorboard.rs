//! Writes event files for TensorBoard: TFRecords of protocol buffers.
//!
//! The messages are the subset of `tensorflow/core/util/event.proto` and `tensorflow/core/framework/summary.proto`
//! needed for scalars. A record consists of its length (8 bytes, little-endian), the masked CRC-32C of the length, the
//! message, and the masked CRC-32C of the message, as in `tensorflow/core/lib/io/record_writer.cc`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use klayer_train::Metrics;
use prost::{Enumeration, Message, Oneof};

/// Event file of one run, created at the first validation.
#[derive(Debug)]
pub(crate) struct TensorBoardRun {
    folder: PathBuf,
    /// The first update step of this process, or 0 before it.
    first: AtomicU64,
    file: Mutex<Option<File>>,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `Summary.Value`.
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(enumeration = "Status", tag = "1")]
    status: i32,
}

/// `SessionLog.SessionStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumeration)]
#[repr(i32)]
enum Status {
    Unspecified = 0,
    Start = 1,
}

impl TensorBoardRun {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, first: AtomicU64::new(0), file: Mutex::new(None) }
    }

    /// Notes the first step, and adds the scalars of each validation.
    pub(crate) fn on(&self, event: &klayer_train::Event<'_>) -> io::Result<()> {
        match event {
            klayer_train::Event::Stepped(step) if self.first.load(Ordering::Relaxed) == 0 => {
                self.first.store(step.step, Ordering::Relaxed);
                Ok(())
            }
            klayer_train::Event::Evaluated(metrics) => self.evaluated(metrics),
            _ => Ok(()),
        }
    }

    fn evaluated(&self, metrics: &Metrics) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            *file = Some(begin(&self.folder, self.first.load(Ordering::Relaxed))?);
        }
        let summary = What::Summary(Summary { value: scalars(metrics) });
        file.as_mut().map_or(Ok(()), |file| file.write_all(&record(metrics.point.step, summary)))
    }
}

/// Creates an event file that starts at the update step `first`. TensorBoard discards events of earlier files in the
/// folder from that step on.
fn begin(folder: &Path, first: u64) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // TensorBoard reads the files of a folder in the order of their names.
    let name = format!("events.out.tfevents.{:010}.{:09}.klayer", now.as_secs(), now.subsec_nanos());
    let mut file = File::create_new(folder.join(name))?;
    let start = What::SessionLog(SessionLog { status: Status::Start.into() });
    file.write_all(&[record(0, What::FileVersion("brain.Event:2".to_owned())), record(first, start)].concat())?;
    Ok(file)
}

fn scalars(metrics: &Metrics) -> Vec<Scalar> {
    let point = &metrics.point;
    let values = [
        ("loss/batch", Some(metrics.batch_loss)),
        ("loss/training", point.training_loss),
        ("loss/validation", point.validation_loss),
        ("cost/training", point.training_cost),
        ("cost/validation", point.validation_cost),
        ("accuracy/validation", point.validation_accuracy),
        ("rate", Some(metrics.rate)),
        ("epoch", Some(metrics.epoch)),
    ];
    let scalar = |(tag, value): (&str, Option<f64>)| Some(Scalar { tag: tag.to_owned(), simple_value: value? as f32 });
    values.into_iter().filter_map(scalar).collect()
}

fn record(step: u64, what: What) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let event = Event { wall_time: now.as_secs_f64(), step: step as i64, what: Some(what) };
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), &message, &masked_crc(&message)].concat()
}

/// A masked CRC-32C: rotated and offset, since computing the CRC of data that contain CRCs is problematic
/// (`tensorflow/core/lib/hash/crc32c.h`).
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first record of every event file that TensorFlow writes, at time 0.
    #[test]
    fn records_match_tensorflow_bytes() {
        let event = Event { wall_time: 0.0, step: 0, what: Some(What::FileVersion("brain.Event:2".to_owned())) };
        assert_eq!(event.encode_to_vec(), b"\x1a\x0dbrain.Event:2");
        // The CRC-32C of 32 zero bytes (RFC 3720, B.4).
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        // Event files start with the length 24: with a time, the message has 24 bytes.
        assert_eq!(masked_crc(&24_u64.to_le_bytes()), [0xa3, 0x7f, 0x4b, 0x22]);
    }
}
