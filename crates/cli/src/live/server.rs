//! HTTP server of the live view: only on 127.0.0.1, only GET, one thread per connection.
//!
//! Other sites in the same browser can send requests to this machine and, with DNS rebinding, even read the responses.
//! Therefore `Host` must name this machine, and the page may not be framed or load anything from elsewhere. Large and
//! slow requests and too many connections are rejected.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Log;

/// Maximum size of a request's head, in bytes.
const MOST_BYTES: usize = 8 * 1024;
/// Maximum number of header fields.
const MOST_FIELDS: usize = 64;
/// Maximum number of simultaneous connections.
const MOST_CONNECTIONS: usize = 32;
/// Maximum time to receive a request.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// A connection that accepts no data for this long is closed.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Interval between keep-alive comments, by which both sides detect lost connections.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Content security policy: the page may only load its own style and script and read the events.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the page: path, media type and content.
const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("page.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
];

/// Serves a log until dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A valid request.
#[derive(Debug, PartialEq)]
enum Request {
    /// One of the files of the page.
    File(&'static str, &'static str),
    /// The events after the one with this ID, or all.
    Events(Option<String>),
}

/// Status and reason of a rejected request.
type Refusal = (&'static str, &'static str);

impl Server {
    pub(super) fn open(port: u16, log: Arc<Log>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ending);
        let thread =
            thread::Builder::new().name("live view".to_owned()).spawn(move || accept(&listener, &log, &end))?;
        Ok(Self { address, ending, thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Wake the thread, which waits for a connection. If this fails, it ends with the process.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, log: &Arc<Log>, ending: &AtomicBool) {
    let connections = Arc::new(AtomicUsize::new(0));
    let port = listener.local_addr().map_or(0, |address| address.port());
    for socket in listener.incoming() {
        if ending.load(Ordering::Acquire) {
            break;
        }
        let Ok(socket) = socket else {
            // Most likely out of file descriptors; retry later.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if connections.fetch_add(1, Ordering::AcqRel) >= MOST_CONNECTIONS {
            connections.fetch_sub(1, Ordering::AcqRel);
            let _ = socket.set_nonblocking(true);
            let _ = respond(&socket, "503 Service Unavailable", "text/plain", "too many connections\n");
            continue;
        }
        let (log, count) = (Arc::clone(log), Arc::clone(&connections));
        let served = thread::Builder::new().name("live view".to_owned()).spawn(move || {
            // Errors of a connection affect only its reader.
            let _ = serve(&socket, port, &log);
            count.fetch_sub(1, Ordering::AcqRel);
        });
        if served.is_err() {
            connections.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn serve(mut socket: &TcpStream, port: u16, log: &Log) -> io::Result<()> {
    socket.set_write_timeout(Some(WRITE_TIME))?;
    socket.set_nodelay(true)?;
    match read(&mut socket, port)? {
        Ok(Request::File(media, text)) => respond(socket, "200 OK", media, text)?,
        Ok(Request::Events(last)) => {
            log.reads(true);
            let sent = stream(socket, log, last.as_deref());
            log.reads(false);
            sent?;
        }
        Err((status, reason)) => respond(socket, status, "text/plain; charset=utf-8", &format!("{reason}\n"))?,
    }
    // Drain the input: closing a socket with unread data would discard the response.
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let deadline = Instant::now() + REQUEST_TIME;
    while Instant::now() < deadline && socket.read(&mut [0; 4096])? > 0 {}
    Ok(())
}

/// Reads a request, with limits on size and time.
fn read(socket: &mut &TcpStream, port: u16) -> io::Result<Result<Request, Refusal>> {
    let deadline = Instant::now() + REQUEST_TIME;
    let mut bytes = Vec::new();
    loop {
        if let Some(request) = parse(&bytes, port) {
            return Ok(request);
        }
        if bytes.len() >= MOST_BYTES {
            return Ok(Err(("431 Request Header Fields Too Large", "the request is too large")));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let late = Ok(Err(("408 Request Timeout", "the request took too long")));
        if left.is_zero() {
            return late;
        }
        socket.set_read_timeout(Some(left))?;
        let mut buffer = [0; 1024];
        let room = buffer.len().min(MOST_BYTES - bytes.len());
        match socket.read(&mut buffer[..room]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return late,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Parses a request; `None` if it is incomplete.
fn parse(bytes: &[u8], port: u16) -> Option<Result<Request, Refusal>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Some(Err(("431 Request Header Fields Too Large", "too many header fields")));
        }
        Err(_) => return Some(Err(("400 Bad Request", "invalid HTTP request"))),
    }
    let values = |name: &str| -> Vec<&[u8]> {
        request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value).collect()
    };
    // Browsers omit the default port of HTTP.
    let ports = [format!(":{port}"), String::new()];
    let ports = &ports[..if port == 80 { 2 } else { 1 }];
    let ours = |host: &[u8]| {
        let is = |name: &str, port: &str| host.eq_ignore_ascii_case(format!("{name}{port}").as_bytes());
        ["127.0.0.1", "localhost"].iter().any(|name| ports.iter().any(|port| is(name, port)))
    };
    match values("Host")[..] {
        [host] if ours(host) => {}
        [_] => return Some(Err(("421 Misdirected Request", "unknown host"))),
        _ => return Some(Err(("400 Bad Request", "exactly one Host field is required"))),
    }
    // A page of another site could read nothing, but occupy all connections.
    if values("Sec-Fetch-Site").iter().any(|site| site.eq_ignore_ascii_case(b"cross-site")) {
        return Some(Err(("403 Forbidden", "cross-site requests are not allowed")));
    }
    if request.method != Some("GET") {
        return Some(Err(("405 Method Not Allowed", "only GET is supported")));
    }
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if path == "/events" {
        let last = values("Last-Event-ID").last().map(|id| String::from_utf8_lossy(id).into_owned());
        return Some(Ok(Request::Events(last)));
    }
    let file = FILES.iter().find(|(name, ..)| *name == path);
    Some(file.map(|&(_, media, text)| Request::File(media, text)).ok_or(("404 Not Found", "page not found")))
}

/// The head of a response, without the fields for its length.
fn head(status: &str, media: &str) -> String {
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media}\r\n{allow}Content-Security-Policy: {POLICY}\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nCache-Control: no-store\r\nConnection: close\r\n"
    )
}

fn respond(mut socket: &TcpStream, status: &str, media: &str, text: &str) -> io::Result<()> {
    let answer = format!("{}Content-Length: {}\r\n\r\n{text}", head(status, media), text.len());
    socket.write_all(answer.as_bytes())
}

/// Sends the events after `last` and new ones, until the log ends or the connection is lost.
fn stream(mut socket: &TcpStream, log: &Log, last: Option<&str>) -> io::Result<()> {
    socket.write_all((head("200 OK", "text/event-stream") + "\r\n").as_bytes())?;
    let mut next = last.map_or(0, |last| log.after(last));
    while let Some(events) = log.wait(next, KEEP_ALIVE) {
        next += events.len();
        let text = if events.is_empty() { ":\n\n".to_owned() } else { events.concat() };
        socket.write_all(text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> Option<&'static str> {
        parse(request.as_bytes(), 8080).map(|parsed| parsed.map_or_else(|(status, _)| &status[..3], |_| "200"))
    }

    #[test]
    fn only_requests_of_the_page_are_accepted() {
        let get = |path: &str, host: &str| status(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080"] {
            for path in ["/", "/page.css", "/page.js", "/events", "/?a=b"] {
                assert_eq!(get(path, host), Some("200"), "{host} {path}");
            }
        }
        for path in ["/nothing", "/../page.js", "//", "http://127.0.0.1:8080/", "*", "/page.js/"] {
            assert_eq!(get(path, "localhost:8080"), Some("404"), "{path}");
        }
        for host in ["example.com", "example.com:8080", "localhost", "localhost:80", "127.0.0.1:8080.example.com", ""] {
            assert_eq!(get("/", host), Some("421"), "{host}");
        }
        for method in ["POST", "HEAD", "OPTIONS", "PUT", "get"] {
            assert_eq!(status(&format!("{method} / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n")), Some("405"));
        }
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), Some("400"));
        assert_eq!(status("GET / HTTP/1.1\r\nHost: localhost:8080\r\nHost: localhost:8080\r\n\r\n"), Some("400"));
        assert_eq!(status("\u{16}\u{3}\u{1}"), Some("400"), "TLS");
        assert_eq!(status("GET / HTTP/1.1\r\nHost: localhost:8080\r\n"), None);
        let many = "A: b\r\n".repeat(MOST_FIELDS + 1);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{many}\r\n")), Some("431"));
    }
}
