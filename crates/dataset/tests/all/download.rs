//! Downloads from a server that truncates, lies, stalls and recovers.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::sample::Sample;
use crate::server::{Answer, Server};
use klayer_dataset::{Error, Format, Patience, Progress, Source, fetch, load, load_or_generate};
use tempfile::TempDir;

const HURRIED: Patience = Patience {
    connect: Duration::from_secs(5),
    silence: Duration::from_secs(1),
    tries: 3,
    wait: Duration::from_millis(1),
};

/// The outcome of a download.
struct Outcome {
    result: Result<(), Error>,
    /// First byte of each request.
    starts: Vec<Option<usize>>,
    data: TempDir,
    sample: Sample,
}

impl Outcome {
    /// Downloads from a server with these answers, after `partial` bytes of an earlier download.
    fn of(answers: Vec<Answer>, partial: &[u8]) -> Self {
        let mut sample = Sample::new();
        let data = TempDir::new().unwrap();
        if !partial.is_empty() {
            fs::write(data.path().join("photos.tar.gz.part"), partial).unwrap();
        }
        let server = Server::start(sample.bytes.clone(), answers);
        sample.archive.url = server.url.clone();
        let result = sample.archive.fetch(data.path(), &HURRIED, &()).map(drop);
        Self { result, starts: server.starts(), data, sample }
    }

    fn is_complete(&self) {
        self.result.as_ref().unwrap();
        for (name, bytes) in &self.sample.files {
            assert_eq!(&fs::read(self.data.path().join("photos").join(name)).unwrap(), bytes, "{name}");
        }
        assert_eq!(names(self.data.path()), ["photos"], "nothing else remains");
    }

    /// Returns the error message.
    fn failed(&self) -> String {
        assert!(!self.data.path().join("photos").exists(), "nothing under the final name");
        let error = self.result.as_ref().unwrap_err();
        assert!(matches!(error, Error::Download { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(&self.sample.archive.url), "{message}");
        message
    }

    fn partial(&self) -> Option<Vec<u8>> {
        fs::read(self.data.path().join("photos.tar.gz.part")).ok()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_correct_server_gets_one_request() {
    let outcome = Outcome::of(vec![Answer::Honest], &[]);
    outcome.is_complete();
    assert_eq!(outcome.starts, [None]);
}

#[test]
fn content_length_is_optional() {
    Outcome::of(vec![Answer::Unannounced], &[]).is_complete();
}

#[test]
fn an_interrupted_download_is_resumed() {
    let outcome = Outcome::of(vec![Answer::Cut(10_000), Answer::Cut(20_000), Answer::Honest], &[]);
    outcome.is_complete();
    assert_eq!(outcome.starts, [None, Some(10_000), Some(30_000)]);
}

#[test]
fn a_stalled_download_times_out_and_is_resumed() {
    let outcome = Outcome::of(vec![Answer::Silence, Answer::Stall(5_000), Answer::Honest], &[]);
    outcome.is_complete();
    assert_eq!(outcome.starts, [None, None, Some(5_000)]);
}

#[test]
fn a_partial_download_is_resumed() {
    let bytes = Sample::new().bytes;
    let outcome = Outcome::of(vec![Answer::Honest], &bytes[..100_000]);
    outcome.is_complete();
    assert_eq!(outcome.starts, [Some(100_000)]);
}

#[test]
fn a_complete_download_needs_no_server() {
    let bytes = Sample::new().bytes;
    Outcome::of(vec![], &bytes).is_complete();
}

#[test]
fn a_corrupt_download_is_restarted() {
    let mut bytes = Sample::new().bytes;
    bytes[1000] ^= 1;
    let outcome = Outcome::of(vec![Answer::Honest], &bytes);
    outcome.is_complete();
    assert_eq!(outcome.starts, [None]);
}

#[test]
fn an_oversized_download_is_restarted() {
    let mut bytes = Sample::new().bytes;
    bytes.push(0);
    let outcome = Outcome::of(vec![Answer::Honest], &bytes);
    outcome.is_complete();
    assert_eq!(outcome.starts, [None]);
}

#[test]
fn a_server_without_ranges_restarts_the_download() {
    let bytes = Sample::new().bytes;
    let outcome = Outcome::of(vec![Answer::Whole], &bytes[..100_000]);
    outcome.is_complete();
    assert_eq!(outcome.starts, [Some(100_000)]);
}

#[test]
fn a_wrong_range_is_not_appended() {
    let bytes = Sample::new().bytes;
    let outcome = Outcome::of(vec![Answer::Shifted, Answer::Honest], &bytes[..100_000]);
    outcome.is_complete();
    assert_eq!(outcome.starts, [Some(100_000), None]);
}

#[test]
fn an_unsatisfiable_range_restarts_the_download() {
    let bytes = Sample::new().bytes;
    let outcome = Outcome::of(vec![Answer::Status(416), Answer::Honest], &bytes[..100_000]);
    outcome.is_complete();
    assert_eq!(outcome.starts, [Some(100_000), None]);
}

#[test]
fn a_temporary_server_error_is_retried() {
    Outcome::of(vec![Answer::Status(503), Answer::Status(500), Answer::Honest], &[]).is_complete();
}

#[test]
fn a_wrong_md5_is_rejected_and_the_download_deleted() {
    let outcome = Outcome::of(vec![Answer::Garbage, Answer::Garbage, Answer::Garbage], &[]);
    let message = outcome.failed();
    assert!(message.contains(&format!("expected {}", outcome.sample.archive.md5)), "{message}");
    assert!(message.contains("found "), "{message}");
    assert_eq!(outcome.starts, [None, None, None]);
    assert_eq!(outcome.partial(), None);
}

#[test]
fn a_wrong_content_length_is_rejected_and_keeps_the_partial_download() {
    let bytes = Sample::new().bytes;
    for length in [0, 10, bytes.len() * 2] {
        let outcome = Outcome::of(vec![Answer::Announce(length); 3], &bytes[..100_000]);
        let message = outcome.failed();
        assert!(message.contains("wrong Content-Length") && message.ends_with(&format!("found {length}")), "{message}");
        assert_eq!(outcome.partial().unwrap(), &bytes[..100_000]);
    }
}

#[test]
fn not_found_is_not_retried() {
    let outcome = Outcome::of(vec![Answer::Status(404)], &[]);
    assert!(outcome.failed().contains("404"));
    assert_eq!(outcome.partial(), None);
}

#[test]
fn three_failed_attempts_keep_the_partial_download() {
    let outcome = Outcome::of(vec![Answer::Cut(1000), Answer::Cut(1000), Answer::Cut(1000)], &[]);
    let message = outcome.failed();
    assert!(message.contains("after 3000 of"), "{message}");
    assert_eq!(outcome.partial().unwrap(), &outcome.sample.bytes[..3000]);
}

#[test]
fn concurrent_fetches_share_one_download() {
    let mut sample = Sample::new();
    let data = TempDir::new().unwrap();
    let server = Server::start(sample.bytes.clone(), vec![Answer::Honest]);
    sample.archive.url = server.url.clone();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| sample.archive.fetch(data.path(), &HURRIED, &()).unwrap());
        }
    });
    assert_eq!(server.starts(), [None]);
    assert_eq!(names(data.path()), ["photos"]);
}

#[test]
fn a_server_without_tls_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sample = Sample::new();
    sample.archive.url = format!("https://{}/photos.tar.gz", listener.local_addr().unwrap());
    let plain = thread::spawn(move || listener.accept().unwrap().0.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap());
    let data = TempDir::new().unwrap();
    let once = Patience { tries: 1, ..HURRIED };
    let error = sample.archive.fetch(data.path(), &once, &()).unwrap_err();
    assert!(matches!(error, Error::Download { .. }), "{error}");
    plain.join().unwrap();
}

/// Records progress and cancels after `patience` calls.
struct Observer {
    received: RefCell<Vec<u64>>,
    patience: usize,
}

impl Progress for Observer {
    fn downloading(&self, received: u64, _: u64) {
        self.received.borrow_mut().push(received);
    }

    fn cancelled(&self) -> bool {
        self.received.borrow().len() > self.patience
    }
}

#[test]
fn progress_includes_resumed_bytes_and_cancelled_downloads_can_resume() {
    let mut sample = Sample::new();
    let data = TempDir::new().unwrap();
    let part = data.path().join("photos.tar.gz.part");
    fs::write(&part, &sample.bytes[..1000]).unwrap();
    let server = Server::start(sample.bytes.clone(), vec![Answer::Honest]);
    sample.archive.url = server.url.clone();
    let observer = Observer { received: RefCell::default(), patience: 1 };
    let error = sample.archive.fetch(data.path(), &HURRIED, &observer).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    let received = observer.received.into_inner();
    assert_eq!(received[0], 1000);
    assert_eq!(fs::read(&part).unwrap(), &sample.bytes[..*received.last().unwrap() as usize]);
    assert_eq!(names(data.path()), ["photos.tar.gz.part"]);
}

#[test]
fn a_failed_download_is_an_error_or_gives_generated_images() {
    let root = TempDir::new().unwrap();
    let server = Server::start(Vec::new(), vec![Answer::Status(404), Answer::Status(404), Answer::Status(404)]);
    let mut source = Source::new(Format::Cifar10, root.path().join("checkout"));
    source.archive.url = server.url.clone();
    source.patience = HURRIED;

    let dataset = load_or_generate(&source, &()).unwrap();
    assert!(dataset.synthetic());
    let reason = dataset.synthetic_reason().unwrap();
    assert!(reason.contains(&server.url) && reason.contains("404"), "{reason}");
    assert!(!source.root.join("data").exists(), "no empty folder");
    // No folder can be created there.
    fs::write(source.root.join("data"), "").unwrap();
    assert!(matches!(load(&source, &()), Err(Error::Unavailable { reason, .. }) if reason.contains("data: ")));
    fs::remove_file(source.root.join("data")).unwrap();
    let told = load(&source, &()).unwrap_err().to_string();
    let start = format!("CIFAR-10 was not found, and cannot be downloaded from {}: ", server.url);
    assert!(told.starts_with(&start) && told.matches(&server.url).count() == 1, "{told}");
    assert!(matches!(fetch(&source, &()), Err(Error::Unavailable { .. })));
    assert_eq!(server.starts().len(), 3);
}
