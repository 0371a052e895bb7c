//! The report page and the live page in a real browser: Debian's chromium, driven by its chromedriver (W3C WebDriver).
//!
//! These tests are skipped if they are not installed, or fail if `$KLAYER_REQUIRE_BROWSER` is set. If
//! `$KLAYER_SCREENSHOTS` is set, screenshots of all pages are saved to that folder, in base64.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use klayer_tests::{files, folder, images, klayer, skipped};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::live::{Watched, long};
use crate::report::QUICK_REPORT;
use crate::{array, numbers};

/// Maximum time to wait for a condition.
const PATIENCE: Duration = Duration::from_secs(120);

/// A headless browser, closed when dropped.
struct Browser {
    driver: Child,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser; `None` if it is not installed.
    fn start() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let find = |name: &str| env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
        let (Some(chromium), Some(driver)) = (find("chromium"), find("chromedriver")) else {
            assert!(
                env::var_os("KLAYER_REQUIRE_BROWSER").is_none(),
                "chromium and chromedriver are required and missing"
            );
            skipped("chromium and chromedriver are not installed; tests/browser/install.sh does that");
            return None;
        };
        let mut driver = Command::new(driver).arg("--port=0").stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines();
        let port = lines.by_ref().find_map(|line| {
            let line = line.expect("text");
            line.split_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.').to_owned())
        });
        thread::spawn(move || lines.for_each(drop));
        let profile = TempDir::new().expect("a folder");
        let server = format!("http://127.0.0.1:{}/session", port.expect("it tells its port"));
        let mut browser = Self { driver, session: server, _profile: profile };
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let switches = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync \
                        --disable-background-networking --disable-component-update --disable-dev-shm-usage";
        let switches: Vec<&str> = switches.split_whitespace().chain([folder.as_str()]).collect();
        let wanted = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": chromium, "args": switches },
        });
        let session = browser.post("", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session += &format!("/{}", session["sessionId"].as_str().expect("a session"));
        Some(browser)
    }

    /// Sends a WebDriver command and returns its value.
    fn post(&self, command: &str, arguments: &Value) -> Value {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let request = agent.new_agent().post(format!("{}{command}", self.session));
        let answer = request.header("Content-Type", "application/json").send(arguments.to_string());
        let mut answer = answer.unwrap_or_else(|error| panic!("{command}: {error}"));
        let body = answer.body_mut().with_config().limit(64 << 20).read_to_string().expect("text");
        let value: Value = serde_json::from_str(&body).expect("JSON");
        assert!(answer.status().is_success(), "{command} {arguments}: {body}");
        value["value"].clone()
    }

    fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs `script`, a function body, in the page and returns its result.
    fn evaluate(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn wait_until(&self, condition: &str) {
        let start = Instant::now();
        while self.evaluate(&format!("return Boolean({condition})")) != true {
            let text = || self.evaluate("return document.body.innerText");
            assert!(start.elapsed() < PATIENCE, "{condition} does not come: {}", text());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a DevTools command.
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// The console messages of the page since the last call.
    fn console(&self) -> Vec<Value> {
        array(&self.post("/se/log", &json!({ "type": "browser" }))).to_vec()
    }

    fn screenshot(&self, name: &str) {
        let Some(folder) = env::var_os("KLAYER_SCREENSHOTS").map(PathBuf::from) else { return };
        let image = self.devtools("Page.captureScreenshot", &json!({}));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("{name}.png.base64"));
        fs::write(path, image["data"].as_str().expect("base64")).expect("written");
    }

    /// Calls `check` in light and dark mode, with widths of 400 and 1400 pixels.
    fn looks(&self, name: &str, check: impl Fn(&str)) {
        let mut grounds = Vec::new();
        for scheme in ["light", "dark"] {
            let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
            self.devtools("Emulation.setEmulatedMedia", &json!({ "media": "screen", "features": feature }));
            for width in [400, 1400] {
                let metrics = json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
                self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
                // Two frames: elements that depend on the width are drawn in the second.
                let frames = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))";
                self.post("/execute/async", &json!({ "script": frames, "args": [] }));
                let place = format!("{name}-{scheme}-{width}");
                let widths = self
                    .evaluate("const e = document.documentElement; return [e.scrollWidth, e.clientWidth, innerWidth]");
                let [scroll, client, inner] = numbers(&widths)[..] else { panic!("{widths}") };
                assert!(scroll <= client && inner == f64::from(width), "{place}: {widths}");
                check(&place);
                self.screenshot(&place);
            }
            let ground = self.evaluate("return getComputedStyle(document.documentElement).backgroundColor");
            let ground = ground.as_str().expect("a colour").trim_start_matches("rgb(").trim_end_matches(')').to_owned();
            let parts: Vec<f64> = ground.split(", ").map(|part| part.parse().expect("an opaque colour")).collect();
            grounds.push(parts.iter().sum::<f64>() / 3.0);
        }
        assert!(grounds[0] > 230.0 && grounds[1] < 40.0, "{name}: light and dark are {grounds:?} of 255");
        assert_eq!(self.console(), [] as [Value; 0], "{name}: the console is empty");
    }

    /// Width, height and number of non-empty shapes of each element that matches `selector`.
    fn drawings(&self, selector: &str) -> Vec<[f64; 3]> {
        let script = format!(
            "return [...document.querySelectorAll({selector:?})].map((svg) => {{
                 const box = svg.getBoundingClientRect();
                 const shapes = [...svg.querySelectorAll('path, line, polyline, rect, circle')];
                 const seen = shapes.map((shape) => shape.getBoundingClientRect()).filter((r) => r.width + r.height > 0);
                 return [box.width, box.height, seen.length];
             }})"
        );
        array(&self.evaluate(&script)).iter().map(|found| numbers(found).try_into().expect("three")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = ureq::delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn the_report_page_shows_all_figures_in_every_layout() {
    let Some(browser) = Browser::start() else { return };
    let out = &QUICK_REPORT.out;
    browser.open(&format!("file://{}", out.join("index.html").display()));
    let figures = files(&out.join("figures")).len();
    browser.looks("report", |place| {
        let shown = browser.evaluate(
            "return [...document.querySelectorAll('.chart-figure')].map((figure) =>
                 [...figure.querySelectorAll('.panels svg.chart')].filter((svg) => svg.getBoundingClientRect().width > 200).length)",
        );
        let shown = numbers(&shown);
        assert!(shown.len() == figures && shown.iter().all(|&panels| panels > 0.0), "{place}: {shown:?} of {figures}");
        for [width, height, shapes] in browser.drawings(".panels svg.chart") {
            assert!(width > 200.0 && height > 100.0 && shapes > 3.0, "{place}: {width} x {height}, {shapes} shapes");
        }
    });
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn the_live_page_draws_events_and_shows_an_early_end() {
    let Some(browser) = Browser::start() else { return };
    let (_guard, folder) = folder();
    let mut watched = Watched::start(&mut long(&folder));
    browser.open(&format!("http://localhost:{}/", watched.port));
    let points = "document.querySelectorAll('#accuracy path.line')[0]?.getAttribute('d').split('L').length";
    browser.wait_until(&format!("{points} >= 3"));
    browser.looks("live", |place| {
        let drawings = browser.drawings("#charts svg");
        assert_eq!(drawings.len(), 3, "{place}");
        for [width, height, shapes] in drawings {
            assert!(width > 300.0 && height > 150.0 && shapes > 3.0, "{place}: {width} x {height}, {shapes} shapes");
        }
        let row = browser.evaluate("return document.querySelector('#rows tr').innerText");
        let cells: Vec<_> = row.as_str().expect("text").split('\t').collect();
        assert!(cells.len() == 6 && cells[1].contains(" of 4,000,000") && cells[4].ends_with('%'), "{place}: {row}");
        assert_eq!(browser.evaluate("return document.getElementById('state').textContent"), "live");
    });
    let before = browser.evaluate(&format!("return {points}")).as_f64().expect("a number");
    browser.wait_until(&format!("{points} > {before}"));
    // A page opened late shows all earlier events.
    browser.open(&format!("http://127.0.0.1:{}/", watched.port));
    browser.wait_until(&format!("{points} > {before}"));
    watched.interrupt();
    browser.wait_until("document.getElementById('state').textContent.startsWith('ended early, at step ')");
    assert_eq!(browser.console(), [] as [Value; 0]);
}

#[test]
#[ignore = "heavy: run by cargo xtask ci"]
fn the_live_page_shows_finished_runs_and_lost_connections() {
    let Some(browser) = Browser::start() else { return };
    let (_guard, folder) = folder();
    // Long enough for the browser to open before the end.
    let mut command = klayer(&folder, "train --watch --hidden 10 --n-s 10000 --cycles 1 --validate-every 1000");
    let watched = Watched::start(command.args(images()));
    browser.open(&format!("http://127.0.0.1:{}/", watched.port));
    browser.wait_until("document.getElementById('state').textContent === 'finished'");
    assert_eq!(browser.console(), [] as [Value; 0]);

    let mut watched = Watched::start(&mut long(&folder));
    browser.open(&format!("http://127.0.0.1:{}/", watched.port));
    browser.wait_until("document.getElementById('state').textContent === 'live'");
    watched.child.kill().expect("it is ours");
    browser.wait_until("document.getElementById('state').textContent.startsWith('connection lost')");
}
