//! An HTTP server for one file that behaves badly on command.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What was asked for.
    Honest,
    /// The whole file, whatever part was asked for.
    Whole,
    /// What was asked for, without announcing how long it is.
    Unannounced,
    /// So many bytes of what was asked for, then the end of the connection.
    Cut(usize),
    /// So many bytes of what was asked for, then silence.
    Stall(usize),
    /// Nothing at all, not even a status.
    Silence,
    /// The right bytes under a wrong length.
    Announce(usize),
    /// Bytes of the right number and the wrong values.
    Garbage,
    /// A part that begins a byte after the one that was asked for.
    Shifted,
    /// A status without a file.
    Status(u16),
}

/// A server that gives its answers one by one, then stops listening.
pub struct Server {
    pub url: String,
    thread: JoinHandle<Vec<Option<usize>>>,
}

impl Server {
    pub fn start(file: Vec<u8>, answers: Vec<Answer>) -> Self {
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

    /// From which byte each request asked for the file; none if it asked for all of it.
    ///
    /// Waits until every answer was given.
    pub fn starts(self) -> Vec<Option<usize>> {
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
    // The client may hang up at any time.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    if matches!(answer, Answer::Stall(_) | Answer::Silence) {
        // Until the client hangs up.
        let _ = stream.read(&mut [0]);
    }
    start
}

/// The first byte of the range that a request asks for.
fn read_request(stream: &TcpStream) -> Option<usize> {
    let lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let headers: Vec<String> = lines.map(|line| line.to_ascii_lowercase()).collect();
    let range = headers.iter().find_map(|header| header.strip_prefix("range: bytes="))?;
    range.strip_suffix('-')?.parse().ok()
}
