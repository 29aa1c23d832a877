//! A real browser: Debian's Chromium, headless, driven over the `WebDriver` protocol.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what is not there fails the test, with the page in the message"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use thirtyfour::prelude::*;
use thirtyfour::{ChromiumLikeCapabilities, LoggingPrefsLogLevel};

/// The browser, its driver, and where its profile is.
pub(crate) struct Browser {
    driver: Child,
    _profile: TempDir,
    pub(crate) web: WebDriver,
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
    pub(crate) async fn start() -> Self {
        installed();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
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
        let mut wanted = DesiredCapabilities::chrome();
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
        for arg in args {
            wanted.add_arg(arg).expect("an argument");
        }
        let level = LoggingPrefsLogLevel::All;
        wanted.set_logging_prefs("browser", level).expect("a level");
        let address = format!("http://127.0.0.1:{}", port.expect("a port"));
        let web = WebDriver::new(address, wanted)
            .await
            .expect("the browser starts");
        let browser = Self {
            driver,
            _profile: profile,
            web,
        };
        browser.shape(1_280, 900, "light").await;
        browser
    }

    /// How large the page is, and whether light or dark is preferred.
    pub(crate) async fn shape(&self, width: u32, height: u32, scheme: &str) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let cdp = self.web.cdp();
        cdp.send_raw("Emulation.setDeviceMetricsOverride", metrics)
            .await
            .expect("a shape");
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        cdp.send_raw("Emulation.setEmulatedMedia", features)
            .await
            .expect("a scheme");
    }

    /// Keeps a picture of the whole page, to be looked at by a person.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = pictures();
        std::fs::create_dir_all(&folder).expect("a folder");
        let asked = json!({"captureBeyondViewport": true, "format": "png"});
        let taken = self
            .web
            .cdp()
            .send_raw("Page.captureScreenshot", asked)
            .await
            .expect("a picture");
        let data = taken["data"].as_str().expect("base64");
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data)
            .expect("base64");
        std::fs::write(folder.join(format!("{name}.png")), bytes).expect("written");
    }

    /// What the page says went wrong: script errors, what the policy blocked, what could not be loaded.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.web.get_log("browser").await.expect("a log");
        log.into_iter()
            .map(|entry| format!("{} {}", entry.level, entry.message))
            .collect()
    }

    pub(crate) async fn text(&self) -> String {
        let main = self.web.find(By::Css("main")).await.expect("a main part");
        main.text().await.expect("text")
    }

    /// Waits until the page has the text; pages are renewed by themselves.
    pub(crate) async fn wait_for(&self, text: &str) {
        const LOOKS_MAX: u32 = 600;
        for _ in 0..LOOKS_MAX {
            // A page that is being renewed has a main part that is gone when it is asked.
            if let Ok(main) = self.web.find(By::Css("main")).await
                && main.text().await.is_ok_and(|shown| shown.contains(text))
            {
                return;
            }
            tokio::time::sleep_until(
                tokio::time::Instant::now() + std::time::Duration::from_millis(100),
            )
            .await;
        }
        panic!("{text:?} never showed: {}", self.text().await);
    }

    /// Follows a link, or presses a button, by what it says.
    pub(crate) async fn press(&self, words: &str) {
        let path = format!("//main//*[self::a or self::button][normalize-space(.)='{words}']");
        self.press_at(By::XPath(path), words).await;
    }

    /// The same, wherever it is.
    pub(crate) async fn press_at(&self, place: By, words: &str) {
        const TRIES_MAX: u32 = 20;
        let mut why = None;
        for _ in 0..TRIES_MAX {
            let found = self.web.query(place.clone()).first().await;
            let found = found.unwrap_or_else(|error| panic!("{words:?}: {error}"));
            // A page that was renewed just then has another one in its place.
            match found.click().await {
                Ok(()) => return,
                Err(error) => why = Some(error),
            }
        }
        panic!("{words:?} cannot be pressed: {why:?}");
    }

    pub(crate) async fn end(mut self) {
        self.web.clone().quit().await.expect("the browser ends");
        self.driver.kill().expect("its driver ends");
        self.driver.wait().expect("its driver ends");
    }
}

/// Where pictures are kept.
pub(crate) fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/pictures")
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A test that failed leaves no process behind.
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
