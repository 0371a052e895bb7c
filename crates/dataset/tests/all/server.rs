//! An HTTP server for one file that misbehaves on command.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// The server's answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The requested range.
    Honest,
    /// The whole file, ignoring the range.
    Whole,
    /// The requested range without Content-Length.
    Unannounced,
    /// This many bytes of the range, then close the connection.
    Cut(usize),
    /// This many bytes of the range, then stall.
    Stall(usize),
    /// Stall without sending a status.
    Silence,
    /// The right bytes with a wrong Content-Length.
    Announce(usize),
    /// The right number of wrong bytes.
    Garbage,
    /// A range that starts one byte after the requested one.
    Shifted,
    /// A status without a body.
    Status(u16),
}

/// A server that gives one answer per request, then stops listening.
pub(crate) struct Server {
    pub url: String,
    thread: JoinHandle<Vec<Option<usize>>>,
}

impl Server {
    pub(crate) fn start(file: Vec<u8>, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/photos.tar.gz", listener.local_addr().unwrap());
        let serve = move || {
            let mut starts = Vec::new();
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                starts.push(handle(stream, &file, &answer));
            }
            starts
        };
        Self { url, thread: thread::spawn(serve) }
    }

    /// The first byte of each request's range; `None` for the whole file.
    ///
    /// Waits until every answer was given.
    pub(crate) fn starts(self) -> Vec<Option<usize>> {
        self.thread.join().unwrap()
    }
}

fn handle(mut stream: TcpStream, file: &[u8], answer: &Answer) -> Option<usize> {
    let start = read_request(&stream);
    let from = start.unwrap_or(0);
    let whole = start.is_none() || matches!(answer, Answer::Whole);
    let body = if whole { file } else { &file[from..] };
    let head = |status: &str, length: Option<usize>| {
        let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        if !whole {
            let begin = if matches!(answer, Answer::Shifted) { from + 1 } else { from };
            head += &format!("Content-Range: bytes {begin}-{}/{}\r\n", file.len() - 1, file.len());
        }
        if let Some(length) = length {
            head += &format!("Content-Length: {length}\r\n");
        }
        head + "\r\n"
    };
    let status = if whole { "200 OK" } else { "206 Partial Content" };
    let wrong: Vec<u8>;
    let (head, body) = match *answer {
        Answer::Honest | Answer::Whole | Answer::Shifted => (head(status, Some(body.len())), body),
        Answer::Unannounced => (head(status, None), body),
        Answer::Cut(length) | Answer::Stall(length) => (head(status, Some(body.len())), &body[..length]),
        Answer::Silence => (String::new(), &[][..]),
        Answer::Announce(length) => (head(status, Some(length)), body),
        Answer::Garbage => {
            wrong = body.iter().map(|byte| !byte).collect();
            (head(status, Some(body.len())), &wrong[..])
        }
        Answer::Status(code) => (head(&format!("{code} Status"), Some(0)), &[][..]),
    };
    // The client may disconnect at any time.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    if matches!(answer, Answer::Stall(_) | Answer::Silence) {
        // Wait until the client disconnects.
        let _ = stream.read(&mut [0]);
    }
    start
}

/// The first byte of the requested range.
fn read_request(stream: &TcpStream) -> Option<usize> {
    let lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let headers: Vec<String> = lines.map(|line| line.to_ascii_lowercase()).collect();
    let range = headers.iter().find_map(|header| header.strip_prefix("range: bytes="))?;
    range.strip_suffix('-')?.parse().ok()
}
