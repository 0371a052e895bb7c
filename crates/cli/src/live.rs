//! The live view: a local web page that shows loss, accuracy and learning rate during training.
//!
//! Events are appended to a log. A page reads the log from the start, or from where it lost the connection, and then
//! receives new events. Appending never waits for a reader.

mod server;

use std::io;
use std::net::SocketAddr;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use klayer_train::{Event, Metrics, Observer, Step};
use serde_json::{Value, json};

use server::Server;

/// Approximate maximum number of points of a curve. A point of the training loss is the mean over the steps since the
/// previous point.
const POINTS: u64 = 400;
/// Maximum time to wait at exit for pages to receive the last events.
const FAREWELL: Duration = Duration::from_secs(2);
/// Maximum number of events read from the log at once.
const BATCH: usize = 256;

/// The event log of a program, served until dropped.
#[derive(Debug)]
pub(crate) struct Live {
    log: Arc<Log>,
    server: Server,
}

/// One run in the log.
#[derive(Debug)]
pub(crate) struct LiveRun<'a> {
    log: &'a Log,
    name: String,
    steps: u64,
    /// Approximate minimum number of update steps between points of a curve.
    every: u64,
    state: Mutex<RunState>,
}

#[derive(Debug, Default)]
struct RunState {
    /// Number of the run in the log; `None` before its first event.
    number: Option<u64>,
    done: u64,
    /// Step of the last validation in the log.
    shown: u64,
    /// Sum of the losses since the last point.
    sum: f64,
    count: u64,
}

/// All events of a program, in the format of the stream.
#[derive(Debug)]
struct Log {
    /// Distinguishes this program from others at the same address.
    token: String,
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    events: Vec<Arc<str>>,
    runs: u64,
    ended: bool,
    /// Number of connections reading the log.
    readers: usize,
}

impl Live {
    /// Serves the log of a program called `title` on 127.0.0.1 at `port`; 0 selects a free port.
    pub(crate) fn open(port: u16, title: &str) -> io::Result<Self> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let log = Arc::new(Log {
            token: format!("{:x}-{:x}", process::id(), since.as_nanos()),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        log.push("hello", &json!({ "title": title }));
        Ok(Self { server: Server::open(port, Arc::clone(&log))?, log })
    }

    /// Address of the page.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Starts a section of `runs` runs with the heading `title`.
    pub(crate) fn section(&self, title: &str, runs: usize) {
        self.log.push("section", &json!({ "title": title, "runs": runs }));
    }

    /// Starts a run of `steps` update steps, which ends when dropped.
    pub(crate) fn run(&self, name: &str, steps: u64) -> LiveRun<'_> {
        let every = steps.div_ceil(POINTS).max(1);
        LiveRun { log: &self.log, name: name.to_owned(), steps, every, state: Mutex::default() }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.log.push("done", &json!({}));
        let mut state = self.log.state();
        state.ended = true;
        self.log.changed.notify_all();
        let deadline = Instant::now() + FAREWELL;
        while state.readers > 0 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            state = self.log.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Observer for LiveRun<'_> {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Resumed(before) => self.resumed(before),
            Event::Stepped(step) => self.stepped(step),
            Event::Evaluated(metrics) => self.show(&mut self.state(), metrics),
            _ => {}
        }
    }
}

impl LiveRun<'_> {
    fn resumed(&self, before: &[Metrics]) {
        let mut state = self.state();
        for metrics in before {
            state.done = metrics.point.step;
            self.show(&mut state, metrics);
        }
    }

    fn stepped(&self, step: &Step) {
        let mut state = self.state();
        state.done = step.step;
        state.sum += step.loss;
        state.count += 1;
        if self.is_due(step.step, step.step - 1) {
            let loss = state.sum / state.count as f64;
            (state.sum, state.count) = (0.0, 0);
            self.push(&mut state, "step", json!({ "step": step.step, "loss": loss, "rate": step.rate }));
        }
    }

    /// Adds a validation, unless the previous one in the log is too close.
    fn show(&self, state: &mut RunState, metrics: &Metrics) {
        let step = metrics.point.step;
        if self.is_due(step, state.shown) {
            state.shown = step;
            self.push(state, "point", serde_json::to_value(metrics).expect("metrics are numbers under names"));
        }
    }

    /// Whether a curve whose last step is `before` gets a point at `step`: once in each interval of `every` steps, and at
    /// the end.
    fn is_due(&self, step: u64, before: u64) -> bool {
        step / self.every > before / self.every || step == self.steps
    }

    fn state(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event of this run, preceded by a `run` event if it is the first.
    fn push(&self, state: &mut RunState, event: &str, mut data: Value) {
        let number = *state.number.get_or_insert_with(|| {
            let number = self.log.new_run();
            self.log.push("run", &json!({ "run": number, "name": self.name, "steps": self.steps }));
            number
        });
        data["run"] = number.into();
        self.log.push(event, &data);
    }
}

impl Drop for LiveRun<'_> {
    fn drop(&mut self) {
        let mut state = self.state();
        if state.number.is_some() {
            let done = state.done;
            self.push(&mut state, "end", json!({ "done": done }));
        }
    }
}

impl Log {
    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_run(&self) -> u64 {
        let mut state = self.state();
        state.runs += 1;
        state.runs - 1
    }

    /// Adds an event.
    fn push(&self, event: &str, data: &Value) {
        let mut state = self.state();
        let id = state.events.len();
        // Serialized JSON contains no line breaks, so the data are one line.
        state.events.push(format!("id: {}.{id}\nevent: {event}\ndata: {data}\n\n", self.token).into());
        self.changed.notify_all();
    }

    /// Index of the event after `id`, or 0 if `id` belongs to another program.
    fn after(&self, id: &str) -> usize {
        let number = id.rsplit_once('.').filter(|(token, _)| *token == self.token);
        let number = number.and_then(|(_, number)| number.parse::<usize>().ok());
        number.map_or(0, |number| number.saturating_add(1).min(self.state().events.len()))
    }

    /// Waits up to `time` for events from index `next` on and returns some of them, possibly none. Returns `None` after
    /// the last event.
    fn wait(&self, next: usize, time: Duration) -> Option<Vec<Arc<str>>> {
        let quiet = |state: &mut LogState| state.events.len() <= next && !state.ended;
        let waited = self.changed.wait_timeout_while(self.state(), time, quiet);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let events: Vec<_> = state.events.iter().skip(next).take(BATCH).cloned().collect();
        (!(events.is_empty() && state.ended)).then_some(events)
    }

    /// Registers or unregisters a reading connection.
    fn reads(&self, begins: bool) {
        let mut state = self.state();
        state.readers = if begins { state.readers + 1 } else { state.readers.saturating_sub(1) };
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log { token: "t".to_owned(), state: Mutex::default(), changed: Condvar::new() }
    }

    #[test]
    fn a_page_resumes_after_its_last_event() {
        let log = log();
        (0..5).for_each(|i| log.push("step", &json!(i)));
        assert_eq!(log.after("t.2"), 3);
        assert_eq!(log.after("t.4"), 5);
        assert_eq!(log.after("t.99999999999999999999"), 0);
        assert_eq!(log.after("t.77"), 5);
        for other in ["u.2", "2", "", "t.-1", "t.x"] {
            assert_eq!(log.after(other), 0, "{other}");
        }
        let events = log.wait(3, Duration::ZERO).expect("more events");
        assert_eq!(events.concat(), "id: t.3\nevent: step\ndata: 3\n\nid: t.4\nevent: step\ndata: 4\n\n");
        assert_eq!(log.wait(5, Duration::ZERO), Some(Vec::new()));
        log.state().ended = true;
        assert_eq!(log.wait(5, Duration::ZERO), None);
        assert_eq!(log.wait(4, Duration::ZERO).map(|events| events.len()), Some(1), "the last ones are sent first");
    }

    fn run(log: &Log) -> LiveRun<'_> {
        LiveRun { log, name: "a".to_owned(), steps: 7, every: 3, state: Mutex::default() }
    }

    /// The data of all events.
    fn data(log: &Log) -> Vec<Value> {
        let data = |event: &Arc<str>| -> Value {
            let line = event.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
            serde_json::from_str(line).expect("JSON")
        };
        log.state().events.iter().map(data).collect()
    }

    #[test]
    fn losses_are_averaged_between_points() {
        let log = log();
        let run = run(&log);
        for step in 1..=7 {
            run.on(&Event::Stepped(Step { step, loss: step as f64, rate: 0.5 }));
        }
        drop(run);
        let data = data(&log);
        let step = |step, loss: f64| json!({ "run": 0, "step": step, "loss": loss, "rate": 0.5 });
        let expected = [
            json!({ "run": 0, "name": "a", "steps": 7 }),
            step(3, 2.0),
            step(6, 5.0),
            step(7, 7.0),
            json!({ "run": 0, "done": 7 }),
        ];
        assert_eq!(data, expected);
    }

    #[test]
    fn validations_are_thinned_equally_before_and_after_a_checkpoint() {
        let metrics = |step: u64| -> Metrics {
            let point = json!({ "step": step, "validation_loss": 1.0, "validation_cost": 1.0, "validation_accuracy": 0.5,
                                "batch_loss": 1.0, "rate": 0.5, "epoch": 0.1, "seconds": 1.0 });
            serde_json::from_value(point).expect("metrics")
        };
        for (validated, expected) in [(1..=7, vec![3, 6, 7]), (2..=5, vec![3]), (4..=7, vec![4, 6, 7])] {
            for resumed in [0, 2, 4] {
                let log = log();
                let run = run(&log);
                let (before, after): (Vec<_>, Vec<_>) =
                    validated.clone().map(metrics).partition(|metrics| metrics.point.step <= resumed);
                run.on(&Event::Resumed(&before));
                after.iter().for_each(|metrics| run.on(&Event::Evaluated(metrics)));
                let steps: Vec<_> = data(&log).iter().filter_map(|event| event["step"].as_u64()).collect();
                assert_eq!(steps, expected, "validated at {validated:?}, {resumed} steps before the checkpoint");
            }
        }
    }
}
