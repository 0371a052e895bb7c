//! Metrics of a run as it goes: a file of JSON Lines, one line a point of the curve.
//!
//! A line is a [`Metrics`] as JSON. The file grows by a line as soon as its point is known, and never changes
//! otherwise while the run is under way. A run that goes on from a checkpoint first drops the lines that it will write
//! again, and one that a kill has cut: every point stands there once, in order.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::record::Point;
use crate::{Error, files};

/// What is known of a run at a point of its curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The point, whose fields are those of the line.
    #[serde(flatten)]
    pub point: Point,
    /// Mean loss of the mini-batches since the point before, each in training mode and before its update step.
    pub batch_loss: f64,
    /// The learning rate of the last update step.
    pub rate: f64,
    /// Passes over the training images so far.
    pub epoch: f64,
    /// Seconds of training so far, with its evaluations.
    pub seconds: f64,
}

/// The file of a run under way.
pub(crate) struct MetricsFile {
    file: File,
}

/// Bytes of the longest file of metrics that is read.
const LONGEST: u64 = 1 << 30;

impl MetricsFile {
    /// The file under `path`, with the lines of `curve` that it has, which come back too; all else in it is dropped.
    ///
    /// What was under `path` is replaced, not shortened: a process that has lost this run to another and does not know
    /// it yet writes on to a file without a name.
    pub(crate) fn open(path: &Path, curve: &[Point]) -> Result<(Self, Vec<Metrics>), Error> {
        let found = match files::read(path, LONGEST) {
            Ok(bytes) => bytes,
            Err(Error::File { error, .. }) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let whole = found.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let parsed = whole.map_while(|line| Some((line, serde_json::from_slice::<Metrics>(line).ok()?)));
        let kept = parsed.zip(curve).take_while(|((_, metrics), point)| metrics.point == **point);
        let (lines, metrics): (Vec<_>, Vec<_>) = kept.map(|(line, _)| line).unzip();
        files::write(path, &lines.concat())?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::file(path))?;
        Ok((Self { file }, metrics))
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, metrics: &Metrics) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(metrics)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}
