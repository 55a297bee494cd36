//! A real browser: headless Chromium, driven by its own driver over WebDriver (W3C) with plain JSON.

use crate::process::Process;
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long the driver may take to be up, and a command of it to be done.
const READY: Duration = Duration::from_secs(30);
/// What keeps it from talking to anybody but the page under test, and lets it run as any user.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];

/// What a browser looks through.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Width, CSS pixels.
    pub width: u32,
    /// Height, CSS pixels.
    pub height: u32,
    /// Dark colours are preferred.
    pub dark: bool,
    /// It is paper.
    pub print: bool,
}

/// A laptop.
pub const LAPTOP: Screen = Screen { width: 1_280, height: 900, dark: false, print: false };
/// A phone.
pub const PHONE: Screen = Screen { width: 390, height: 844, dark: false, print: false };

/// A browser with one window.
pub struct Browser {
    _driver: Process,
    _dir: tempfile::TempDir,
    address: String,
    session: String,
}

impl Browser {
    /// Starts one with a profile of its own; `None` where it is not installed.
    pub fn start() -> Option<Self> {
        if !crate::has("chromedriver") || !crate::has("chromium") {
            return None;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = std::process::Command::new("chromedriver");
        command.arg("--port=0").env("HOME", dir.path()).env("TMPDIR", dir.path());
        let mut driver = Process::start_command(command, &dir.path().join("driver.log"));
        let port = driver.wait_for_output("started successfully on port ", READY);
        let mut browser = Self {
            address: format!("127.0.0.1:{}", port.trim_end_matches('.')),
            session: String::new(),
            _driver: driver,
            _dir: dir,
        };
        let profile = format!("--user-data-dir={}", browser._dir.path().join("profile").display());
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([profile.as_str()]).collect();
        let program = std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|dir| dir.join("chromium"))
            .find(|path| path.is_file());
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments, "binary": program},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.post("/session", &wanted);
        browser.session =
            session["sessionId"].as_str().expect("a session of the browser").to_owned();
        Some(browser)
    }

    /// Loads a page.
    pub fn open(&self, url: &str) {
        self.command("/url", &json!({"url": url}));
    }

    /// What a script of the test returns.
    pub fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// What the page complained of since it was last asked: errors, and violations of its security policy.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().cloned().unwrap_or_default();
        let grave = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        grave.map(|entry| entry["message"].to_string()).collect()
    }

    /// Looks through another screen from now on.
    pub fn look_through(&self, screen: Screen) {
        let Screen { width, height, dark, print } = screen;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.cdp("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"media": if print { "print" } else { "" },
            "features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.cdp("Emulation.setEmulatedMedia", &media);
    }

    /// A picture of the whole page, kept as `target/screenshots/NAME.png`.
    pub fn keep_picture(&self, name: &str) {
        let taken = self.cdp(
            "Page.captureScreenshot",
            &json!({"format": "png", "captureBeyondViewport": true}),
        );
        let png = base64::engine::general_purpose::STANDARD
            .decode(taken["data"].as_str().expect("a picture"))
            .expect("base64");
        let path = screenshots().join(format!("{name}.png"));
        std::fs::write(&path, png).expect("writes");
        println!("picture: {}", path.display());
    }

    /// A command of the browser's own protocol.
    fn cdp(&self, command: &str, params: &Value) -> Value {
        self.command("/goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        self.post(&format!("/session/{}{path}", self.session), body)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = request(&self.address, "POST", path, &body.to_string());
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    /// The driver ends the browser; then the driver itself is ended.
    fn drop(&mut self) {
        if !self.session.is_empty() {
            request(&self.address, "DELETE", &format!("/session/{}", self.session), "");
        }
    }
}

/// Where pictures are kept.
pub fn screenshots() -> PathBuf {
    let dir = crate::program("").with_file_name("screenshots");
    std::fs::create_dir_all(&dir).expect("a folder");
    dir
}

fn request(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the driver listens");
    stream.set_read_timeout(Some(READY)).expect("a timeout");
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .expect("writes");
    read_answer(&mut BufReader::new(stream))
}

/// Status and body; by its length, because the browser inherits the connection and keeps it open.
fn read_answer(stream: &mut impl BufRead) -> (u16, String) {
    let mut line = String::new();
    stream.read_line(&mut line).expect("an answer");
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).expect("a header");
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    (status, String::from_utf8(body).expect("text"))
}
