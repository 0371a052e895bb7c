//! Resumable HTTP download of an archive.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use md5::{Digest, Md5};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::{Archive, Error, Progress, checksum};

/// Bytes read at a time.
const BLOCK: usize = 1 << 16;
/// How often a wait checks for cancellation.
const TICK: Duration = Duration::from_millis(50);

/// Timeouts and retries of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Connection timeout.
    pub connect: Duration,
    /// Timeout without received data.
    pub silence: Duration,
    /// Maximum number of attempts; each one resumes the download.
    pub tries: u32,
    /// Wait before the second attempt; doubles with each further one.
    pub wait: Duration,
}

impl Default for Patience {
    /// 10 seconds to connect, 30 seconds without data, three attempts, one second before the second.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), silence: seconds(30), tries: 3, wait: seconds(1) }
    }
}

/// Why an attempt failed, and whether to retry.
enum Failure {
    /// A network or server error; a retry may succeed.
    Passing(String),
    /// A permanent server error.
    Final(String),
    /// A local error, such as a full disk, or cancellation.
    Local(Error),
}

impl Archive {
    /// Downloads this archive to `parent` and unpacks it there; returns the path of its folder.
    ///
    /// The download is written to `<name>.part`, and an interrupted one is resumed. Once complete, its MD5 is
    /// verified; on a mismatch the file is discarded. `<name>.part` is removed after unpacking. Concurrent processes
    /// take turns: the second one finds the unpacked folder.
    ///
    /// # Errors
    /// [`Error::Download`] if all attempts fail; [`Error::Io`] if `parent` is not writable; [`Error::Cancelled`]; and
    /// the errors of [`unpack`](Self::unpack).
    pub fn fetch(&self, parent: &Path, patience: &Patience, progress: &dyn Progress) -> Result<PathBuf, Error> {
        let folder = parent.join(&self.folder);
        let path = parent.join(format!("{}.part", self.name));
        let io = |e| Error::io(&path, e);
        fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        lock(&file, &path, progress)?;
        if !folder.exists() {
            self.download(&mut file, &path, patience, progress)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            self.unpack(BufReader::with_capacity(BLOCK, &file), parent, progress)?;
        }
        // The unpacked files are verified, so ignore an archive that cannot be removed.
        let _ = fs::remove_file(&path);
        Ok(folder)
    }

    fn download(
        &self,
        file: &mut File,
        path: &Path,
        patience: &Patience,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let agent = agent(patience);
        let (mut tried, mut wait) = (0, patience.wait);
        loop {
            tried += 1;
            let (reason, again) = match self.try_once(&agent, file, path, progress) {
                Ok(()) => return Ok(()),
                Err(Failure::Local(error)) => return Err(error),
                Err(Failure::Passing(reason)) => (reason, tried < patience.tries),
                Err(Failure::Final(reason)) => (reason, false),
            };
            let error = Error::Download { url: self.url.clone(), reason };
            if !again {
                // There is nothing to resume from an empty file.
                if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                    let _ = fs::remove_file(path);
                }
                return Err(error);
            }
            progress.retrying(&error, wait);
            sleep(wait, progress)?;
            wait *= 2;
        }
    }

    /// Downloads the missing rest of `file` and verifies it.
    fn try_once(&self, agent: &Agent, file: &mut File, path: &Path, progress: &dyn Progress) -> Result<(), Failure> {
        let local = |e| Failure::Local(Error::io(path, e));
        let mut received = file.metadata().map_err(local)?.len();
        if received > self.bytes {
            received = restart(file).map_err(local)?;
        }
        if received < self.bytes {
            let response = self.request(agent, received)?;
            if response.status() == StatusCode::OK {
                // Check the length first: an error page must not replace what has been downloaded.
                self.check_length(&response, 0)?;
                received = restart(file).map_err(local)?;
            } else {
                if let Err(reason) = self.check_range(&response, received) {
                    restart(file).map_err(local)?;
                    return Err(Failure::Passing(reason));
                }
                self.check_length(&response, received)?;
            }
            file.seek(SeekFrom::Start(received)).map_err(local)?;
            self.receive(response.into_body(), file, path, received, progress)?;
        }
        let found = md5(file).map_err(local)?;
        if found == self.md5 {
            return Ok(());
        }
        restart(file).map_err(local)?;
        Err(Failure::Passing(format!("wrong MD5: expected {}, found {found}", self.md5)))
    }

    /// Requests the archive from byte `start` on.
    fn request(&self, agent: &Agent, start: u64) -> Result<Response<Body>, Failure> {
        let mut request = agent.get(&self.url);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = request.call().map_err(|e| match e {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Failure::Final(e.to_string()),
            _ => Failure::Passing(e.to_string()),
        })?;
        let status = response.status();
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Failure::Passing(status.to_string())),
            _ if status.is_client_error() => Err(Failure::Final(status.to_string())),
            _ => Err(Failure::Passing(status.to_string())),
        }
    }

    /// Checks that a partial response is the requested range: from byte `start` to the end.
    fn check_range(&self, response: &Response<Body>, start: u64) -> Result<(), String> {
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(format!("the server does not have byte {start} of the archive of {} bytes", self.bytes));
        }
        let expected = format!("bytes {start}-{}/{}", self.bytes - 1, self.bytes);
        match response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok()) {
            Some(found) if found.trim() == expected => Ok(()),
            Some(found) => Err(format!("the server sent range {found:?}, expected {expected:?}")),
            None => Err("the server sent a partial response without Content-Range".to_owned()),
        }
    }

    fn check_length(&self, response: &Response<Body>, start: u64) -> Result<(), Failure> {
        let expected = self.bytes - start;
        let announced = response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        match announced {
            Some(found) if found.trim().parse() != Ok(expected) => {
                Err(Failure::Passing(format!("wrong Content-Length: expected {expected}, found {found}")))
            }
            _ => Ok(()),
        }
    }

    /// Appends the response body to `file`, up to the size of the archive.
    fn receive(
        &self,
        mut body: Body,
        file: &mut File,
        path: &Path,
        mut received: u64,
        progress: &dyn Progress,
    ) -> Result<(), Failure> {
        let (mut reader, mut block) = (body.as_reader(), vec![0; BLOCK]);
        progress.downloading(received, self.bytes);
        while received < self.bytes {
            if progress.cancelled() {
                return Err(Failure::Local(Error::Cancelled));
            }
            let room = block.len().min(usize::try_from(self.bytes - received).unwrap_or(usize::MAX));
            let at = |what: &str| Failure::Passing(format!("{what} after {received} of {} bytes", self.bytes));
            let read = match reader.read(&mut block[..room]) {
                Ok(0) => return Err(at("the connection was closed")),
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(at(&e.to_string())),
            };
            file.write_all(&block[..read]).map_err(|e| Failure::Local(Error::io(path, e)))?;
            received += read as u64;
            progress.downloading(received, self.bytes);
        }
        Ok(())
    }
}

fn agent(patience: &Patience) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.silence))
        .timeout_per_read(Some(patience.silence))
        .build()
        .new_agent()
}

/// Truncates `file` and returns its new size, 0.
fn restart(file: &File) -> io::Result<u64> {
    file.set_len(0)?;
    Ok(0)
}

fn md5(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hash, mut block) = (Md5::new(), vec![0; BLOCK]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(checksum::hex(&hash.finalize())),
            read => hash.update(&block[..read]),
        }
    }
}

/// Waits until no other process uses `file`.
fn lock(file: &File, path: &Path, progress: &dyn Progress) -> Result<(), Error> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => sleep(TICK, progress)?,
            // The file system does not support locks: the MD5 and SHA-256 checks still reject wrong content.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(Error::io(path, e)),
        }
    }
}

fn sleep(wait: Duration, progress: &dyn Progress) -> Result<(), Error> {
    let mut left = wait;
    loop {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        if left.is_zero() {
            return Ok(());
        }
        let tick = left.min(TICK);
        thread::sleep(tick);
        left -= tick;
    }
}
