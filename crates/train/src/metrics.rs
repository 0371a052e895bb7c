//! Live metrics of a run: a JSON Lines file with one line per point of the curve.
//!
//! A line is a [`Metrics`] as JSON. Each line is appended as soon as its point is known. A resumed run first drops a
//! truncated last line and the lines after its checkpoint: the file has every point once, in order.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use klayer_store::files;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::record::Point;

/// Data of a run at a point of its curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The point; its fields are fields of the line.
    #[serde(flatten)]
    pub point: Point,
    /// Mean mini-batch loss since the previous point, in training mode and before each update step.
    pub batch_loss: f64,
    /// Learning rate of the last update step.
    pub rate: f64,
    /// Epochs: passes over the training images so far.
    pub epoch: f64,
    /// Seconds of training so far, with its evaluations.
    pub seconds: f64,
}

/// The metrics file of a running training.
pub(crate) struct MetricsFile {
    file: File,
}

impl MetricsFile {
    /// Opens the file at `path`; keeps and returns its lines that match `curve`, and drops all others.
    ///
    /// The file is replaced, not truncated: a process that has lost this run to another, without having noticed,
    /// continues to write to an unlinked file.
    pub(crate) fn open(path: &Path, curve: &[Point]) -> Result<(Self, Vec<Metrics>), Error> {
        let found = match files::read_regular(path, files::LONGEST) {
            Ok(bytes) => bytes,
            Err(klayer_store::Error::File { error, .. }) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let whole = found.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let parsed = whole.map_while(|line| Some((line, serde_json::from_slice::<Metrics>(line).ok()?)));
        let kept = parsed.zip(curve).take_while(|((_, metrics), point)| metrics.point == **point);
        let (lines, metrics): (Vec<_>, Vec<_>) = kept.map(|(line, _)| line).unzip();
        files::write(path, &lines.concat())?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::file(path))?;
        Ok((Self { file }, metrics))
    }

    /// Appends a line.
    pub(crate) fn push(&mut self, metrics: &Metrics) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(metrics)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}
