//! A real browser: Debian's Chromium, headless, driven over the `WebDriver` protocol.
//!
//! What is spoken of it is a few commands of <https://www.w3.org/TR/webdriver2/>: the client libraries bring
//! licences that this project does not take, or features of `serde_json` that change what is exported.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what is not there fails the test, with the page in the message"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the protocol calls the member that holds an element's reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The Enter key, as the protocol writes it.
pub(crate) const ENTER: char = '\u{e007}';
/// A window that is less wide is a phone's.
const NARROW: u32 = 600;
/// A page that is being renewed is looked at again after this.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The browser, its driver, and where its profile is.
pub(crate) struct Browser {
    driver: Child,
    _profile: TempDir,
    port: u16,
    session: String,
}

/// How an element is found.
#[derive(Clone, Copy)]
pub(crate) enum By<'a> {
    Css(&'a str),
    XPath(&'a str),
}

fn is_there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Installs what is missing, where that can be done.
fn installed() {
    if is_there("chromium") && is_there("chromedriver") {
        return;
    }
    let args = [
        "install",
        "-y",
        "--no-install-recommends",
        "chromium",
        "chromium-driver",
    ];
    let done = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    assert!(
        done.is_ok_and(|status| status.success()) && is_there("chromedriver"),
        "the browser tests need chromium and chromedriver on the PATH; as root they install Debian's packages \
         chromium and chromium-driver by themselves"
    );
}

impl Browser {
    pub(crate) fn start() -> Self {
        installed();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // The browser is of its driver's process group, and ends with it.
            .process_group(0)
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let port = lines.find_map(|line| {
            let line = line.expect("it speaks");
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // It goes on to speak, to nobody.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().expect("a scratch directory");
        let folder = format!("--user-data-dir={}", profile.path().display());
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &folder,
        ];
        let mut browser = Self {
            driver,
            _profile: profile,
            port: port.expect("a port"),
            session: String::new(),
        };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.ask("POST", "/session", &wanted);
        let made = made.unwrap_or_else(|error| panic!("the browser does not start: {error}"));
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        browser.shape(1_280, 900, "light");
        browser
    }

    /// One command of the protocol: its value, or the error that it tells.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let (done, value) = self.exchange(method, path, body);
        if done {
            return Ok(value);
        }
        Err(format!("{}: {}", value["error"], value["message"]))
    }

    /// Whether the driver did it, and what it answers.
    fn exchange(&self, method: &str, path: &str, body: &Value) -> (bool, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the driver listens");
        let body = body.to_string();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}",
            self.port
        )
        .expect("it reads");
        // The connection is kept open, whatever is asked: the length tells where an answer ends.
        let mut answer = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            answer.read_line(&mut line).expect("it answers");
            line.trim_end().to_ascii_lowercase()
        };
        let status = line();
        let mut length = 0;
        loop {
            let header = line();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body).expect("it answers");
        let mut answer: Value = serde_json::from_slice(&body).expect("an answer in JSON");
        (
            status.split(' ').nth(1) == Some("200"),
            answer["value"].take(),
        )
    }

    fn command(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.ask("POST", &format!("/session/{}/{path}", self.session), body)
    }

    fn asked(&self, path: &str, body: &Value) -> Value {
        let answer = self.command(path, body);
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command of Chromium's own.
    fn devtools(&self, command: &str, params: &Value) -> Value {
        self.asked(
            "goog/cdp/execute",
            &json!({"cmd": command, "params": params}),
        )
    }

    pub(crate) fn open(&self, address: &str) {
        self.asked("url", &json!({"url": address}));
    }

    /// Runs a script in the page and returns what it returns.
    pub(crate) fn script(&self, script: &str, args: &[Value]) -> Value {
        self.asked("execute/sync", &json!({"script": script, "args": args}))
    }

    pub(crate) fn title(&self) -> String {
        let title = self.script("return document.title", &[]);
        title.as_str().expect("a title").to_owned()
    }

    /// How large the page is, and whether light or dark is preferred.
    pub(crate) fn shape(&self, width: u32, height: u32, scheme: &str) {
        // A phone's scroll bars take no room.
        let mobile = width < NARROW;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Keeps a picture of the whole page, to be looked at by a person.
    pub(crate) fn picture(&self, name: &str) {
        let folder = pictures();
        std::fs::create_dir_all(&folder).expect("a folder");
        let asked = json!({"captureBeyondViewport": true, "format": "png"});
        let taken = self.devtools("Page.captureScreenshot", &asked);
        let bytes = STANDARD.decode(taken["data"].as_str().expect("base64"));
        let path = folder.join(format!("{name}.png"));
        std::fs::write(path, bytes.expect("base64")).expect("written");
    }

    /// What the page says went wrong: script errors, what the policy blocked, what could not be loaded.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.asked("se/log", &json!({"type": "browser"}));
        let log = log.as_array().expect("a log");
        log.iter()
            .map(|entry| format!("{} {}", entry["level"], entry["message"]))
            .collect()
    }

    fn find(&self, by: By<'_>) -> Result<Element<'_>, String> {
        let (using, value) = match by {
            By::Css(value) => ("css selector", value),
            By::XPath(value) => ("xpath", value),
        };
        let found = self.command("element", &json!({"using": using, "value": value}))?;
        let id = found[ELEMENT].as_str().ok_or("no element")?.to_owned();
        Ok(Element { browser: self, id })
    }

    /// The text of the page's main part.
    pub(crate) fn text(&self) -> String {
        const TEXT: &str = "return document.querySelector('main').innerText";
        let text = self.script(TEXT, &[]);
        text.as_str().expect("text").to_owned()
    }

    /// Waits until the page has the text; pages are renewed by themselves.
    pub(crate) fn wait_for(&self, text: &str) {
        const LOOKS_MAX: u32 = 600;
        for _ in 0..LOOKS_MAX {
            if self.text().contains(text) {
                return;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        panic!("{text:?} never showed: {}", self.text());
    }

    /// Follows a link, or presses a button, by what it says.
    pub(crate) fn press(&self, words: &str) {
        let path = format!("//main//*[self::a or self::button][normalize-space(.)='{words}']");
        self.press_at(By::XPath(&path), words);
    }

    /// The same, wherever it is.
    pub(crate) fn press_at(&self, place: By<'_>, words: &str) {
        const TRIES_MAX: u32 = 100;
        let mut why = String::new();
        for _ in 0..TRIES_MAX {
            // A page that was renewed just then has another one in its place.
            match self
                .find(place)
                .and_then(|found| found.does("click", &json!({})))
            {
                Ok(_) => return,
                Err(error) => why = error,
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        panic!("{words:?} cannot be pressed: {why}: {}", self.text());
    }

    /// Types into a field, after what is there.
    pub(crate) fn types(&self, field: By<'_>, keys: &str) {
        let typed = self
            .find(field)
            .and_then(|found| found.does("value", &json!({"text": keys})));
        typed.unwrap_or_else(|error| panic!("{error}: {}", self.text()));
    }

    /// Puts a text in a field, in place of what was there.
    pub(crate) fn fill(&self, field: &str, text: &str) {
        const FILL: &str = "document.querySelector(arguments[0]).value = arguments[1]";
        self.script(FILL, &[field.into(), text.into()]);
    }
}

/// Something in a page.
struct Element<'a> {
    browser: &'a Browser,
    id: String,
}

impl Element<'_> {
    fn does(&self, what: &str, body: &Value) -> Result<Value, String> {
        let path = format!("element/{}/{what}", self.id);
        self.browser.command(&path, body)
    }
}

/// Where pictures are kept.
pub(crate) fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/pictures")
}

impl Drop for Browser {
    /// A test that failed leaves no process behind.
    fn drop(&mut self) {
        let session = format!("/session/{}", self.session);
        let quit = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.exchange("DELETE", &session, &json!({}))
        }));
        drop(quit);
        let group = format!("-{}", self.driver.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        drop(self.driver.wait());
    }
}
