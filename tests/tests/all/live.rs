//! The live view over plain sockets: valid and invalid requests, and the event stream.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use klayer_tests::{end, folder, images, klayer, quick_report};
use serde_json::Value;

use crate::array;

/// A running command that serves a live page; killed when dropped.
pub(crate) struct Watched {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Watched {
    /// Starts `command` and waits until it prints the address of its page.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let address = lines.by_ref().find_map(|line| {
            let line = line.expect("commands write text");
            Some(line.strip_prefix("live page: http://127.0.0.1:")?.trim_end_matches('/').parse().expect("a port"))
        });
        // Drain further output, so that it does not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        Self { port: address.expect("it tells its address"), child }
    }

    /// Sends `request` with HOST replaced by the correct host, and reads the whole response.
    fn ask(&self, request: &str) -> String {
        let mut socket = self.connect();
        let request = request.replace("HOST", &format!("127.0.0.1:{}", self.port));
        socket.write_all(request.as_bytes()).expect("it is read");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(120))).expect("a time");
        socket
    }

    pub(crate) fn interrupt(&mut self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A training that is longer than any test.
pub(crate) fn long(folder: &Path) -> Command {
    let mut command = klayer(folder, "train --watch --hidden 10 --n-s 1000000 --validate-every 200 --threads 1");
    command.args(images());
    command
}

/// IDs, names and data of the events of a stream.
fn events(stream: &str) -> Vec<(String, String, Value)> {
    let (_, body) = stream.split_once("\r\n\r\n").expect("a head");
    let blocks = body.split_terminator("\n\n").filter(|block| !block.starts_with(':'));
    let field = |block: &str, name: &str| -> String {
        let found = block.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name} in {block:?}")).to_owned()
    };
    blocks
        .map(|block| {
            let data = serde_json::from_str(&field(block, "data: ")).expect("JSON");
            (field(block, "id: "), field(block, "event: "), data)
        })
        .collect()
}

#[test]
fn invalid_requests_are_rejected_and_the_training_continues() {
    let (_guard, folder) = folder();
    let mut watched = Watched::start(&mut long(&folder));
    let refused = [
        ("POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\n\r\nhi", "405 Method Not Allowed"),
        ("HEAD / HTTP/1.1\r\nHost: HOST\r\n\r\n", "405 Method Not Allowed"),
        ("GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n", "421 Misdirected Request"),
        ("GET /events HTTP/1.1\r\nHost: rebound.example:80\r\n\r\n", "421 Misdirected Request"),
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("GET /secret HTTP/1.1\r\nHost: HOST\r\n\r\n", "404 Not Found"),
        ("nonsense\r\n\r\n", "400 Bad Request"),
    ];
    for (request, status) in refused {
        let answer = watched.ask(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {answer}");
        assert_eq!(answer.contains("\r\nAllow: GET\r\n"), status.starts_with("405"), "{answer}");
    }
    let large = format!("GET / HTTP/1.1\r\nHost: HOST\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(watched.ask(&large).starts_with("HTTP/1.1 431 "));
    // An incomplete request.
    assert!(watched.ask("GET / HTTP/1.1\r\nHost: HOST\r\n").starts_with("HTTP/1.1 408 "));
    watched.connect().shutdown(Shutdown::Both).expect("a connection");

    let page = watched.ask("GET / HTTP/1.1\r\nHost: HOST\r\n\r\n");
    let (head, body) = page.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("default-src 'none'") && !head.contains("unsafe"), "{head}");
    assert!(!body.contains("://"), "nothing comes from elsewhere");

    // Too many connections at first, then few enough.
    let many: Vec<_> = (0..60).map(|_| watched.connect()).collect();
    drop(many);
    let answered = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(100));
        watched.ask("GET / HTTP/1.1\r\nHost: HOST\r\n\r\n").starts_with("HTTP/1.1 200 OK")
    });
    assert!(answered && watched.child.try_wait().expect("a status").is_none());
}

#[test]
fn watching_changes_no_bit_and_streams_resume_where_interrupted() {
    let (_guard, folder) = folder();
    let size = "--hidden 10 --n-s 1000 --cycles 1 --validate-every 300 --threads 1";
    end(klayer(&folder, &format!("train {size} --out unwatched.klayer")).args(images())).well();
    let mut command = klayer(&folder, &format!("train {size} --watch --out watched.klayer"));
    let mut watched = Watched::start(command.args(images()));
    let stream = watched.ask("GET /events HTTP/1.1\r\nHost: HOST\r\n\r\n");
    assert!(watched.child.wait().expect("it ends").success());
    assert!(stream.contains("\r\nContent-Type: text/event-stream\r\n"), "{stream}");
    let all = events(&stream);
    let of = |name: &str| -> Vec<&Value> { all.iter().filter(|event| event.1 == name).map(|event| &event.2).collect() };
    assert_eq!([of("hello").len(), of("run").len(), of("end").len(), of("done").len()], [1; 4]);
    assert_eq!(all.last().map(|event| event.1.as_str()), Some("done"));
    let text = fs::read_to_string(folder.join("watched.klayer.metrics.jsonl")).expect("metrics");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut points: Vec<Value> = of("point").into_iter().cloned().collect();
    points.iter_mut().for_each(|point| drop(point.as_object_mut().expect("an object").remove("run")));
    assert_eq!(points, lines);
    let steps: Vec<_> = of("step").iter().map(|step| step["step"].as_u64().expect("a step")).collect();
    assert_eq!(steps, (1..=400).map(|i| 5 * i).collect::<Vec<_>>());
    let bytes = |name: &str| fs::read(folder.join(name)).expect("a model");
    assert!(bytes("watched.klayer") == bytes("unwatched.klayer"), "who watches changes no bit");

    let watched = Watched::start(&mut long(&folder));
    let read = |last: Option<&str>, count: usize| {
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let mut socket = watched.connect();
        let host = format!("Host: localhost:{}", watched.port);
        socket.write_all(format!("GET /events HTTP/1.1\r\n{host}\r\n{last}\r\n").as_bytes()).expect("it is read");
        let (mut stream, mut lines, mut found) = (String::new(), BufReader::new(socket), 0);
        while found < count {
            assert!(lines.read_line(&mut stream).expect("a line") > 0, "the stream continues");
            // Keep-alive comments are not events.
            let whole = |block: &&str| block.ends_with("\n\n") && block.contains("data:");
            let body = stream.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            found = body.split_inclusive("\n\n").filter(whole).count();
        }
        events(&stream)
    };
    let first = read(None, 4);
    assert_eq!([first[0].1.as_str(), first[1].1.as_str()], ["hello", "run"]);
    assert_eq!(read(None, 4), first, "a late page has the same beginning");
    assert_eq!(read(Some(&first[1].0), 2), first[2..4], "one that lost its connection has what it missed");
    assert_eq!(read(Some("of-another-program.3"), 4), first);
}

#[test]
fn a_report_streams_its_sections_and_runs() {
    let (_guard, folder) = folder();
    let mut command = quick_report(&folder.join("report"), &format!("--only coarse --watch {}", images().join(" ")));
    let mut watched = Watched::start(&mut command);
    let all = events(&watched.ask("GET /events HTTP/1.1\r\nHost: HOST\r\n\r\n"));
    assert!(watched.child.wait().expect("it ends").success());
    let of = |name: &str| all.iter().filter(|event| event.1 == name).map(|event| &event.2).collect::<Vec<_>>();
    let results = crate::json(&folder.join("report/results.json"));
    let trials = array(&results["coarse"]["trials"]).len();
    assert!(of("section").len() == 1 && of("section")[0]["runs"] == trials);
    assert_eq!((of("run").len(), of("end").len()), (trials, trials));
    for run in of("run") {
        let last = of("point").into_iter().rfind(|point| point["run"] == run["run"]).expect("a point");
        assert_eq!(last["step"], run["steps"]);
    }
}

#[test]
fn an_occupied_port_is_reported_before_training() {
    let (_guard, folder) = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let ended = end(klayer(&folder, &format!("train --watch={port} --out m.klayer")).args(images()));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:#?}");
    assert!(
        ended.stderr.starts_with(&format!("error: cannot serve the live page on 127.0.0.1:{port}: ")),
        "{ended:#?}"
    );
    assert_eq!(klayer_tests::files(&folder).len(), 0);
}
