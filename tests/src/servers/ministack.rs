use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::free_port;
use super::python::{Kept, environment};

/// An emulator of AWS, as a separate process, and what it deploys SAM templates with.
const PACKAGES: [&str; 2] = ["ministack==1.5.33", "aws-sam-translator==1.115.0"];
const STARTS: u32 = 600;
const START_PAUSE: Duration = Duration::from_millis(50);
/// Starts it with a clock that goes ahead of the machine's by what a file says, in seconds.
const START: &str = include_str!("emulator.py");

/// Whether the emulator asks who somebody is and what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policies {
    /// Everybody may do everything.
    Ignored,
    /// The policies of a function's role hold for what it asks.
    Enforced,
}

/// A ministack server of its own, with nothing in it. Its clock can be put forward.
#[derive(Debug)]
pub struct Ministack {
    _server: Kept,
    port: u16,
    clock: File,
    ahead_ms: i64,
    environment: PathBuf,
    directory: TempDir,
}

impl Ministack {
    /// Starts one.
    ///
    /// # Panics
    /// It cannot be installed or does not answer.
    #[must_use]
    pub fn start(policies: Policies) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let environment = environment(&PACKAGES);
        let path = directory.path().join("clock");
        fs::write(&path, 0_f64.to_le_bytes()).expect("a clock");
        let clock = File::options().write(true).open(&path).expect("the clock");
        let port = free_port();
        let auth = match policies {
            Policies::Ignored => "false",
            Policies::Enforced => "true",
        };
        let (number, path) = (port.to_string(), path.to_str().expect("a UTF-8 path"));
        let log = directory.path().join("log");
        let args = ["-c", START, &number, auth, path];
        let mut server = Kept::start(&environment, "python", &args, &log);
        for _ in 0..STARTS {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Self {
                    _server: server,
                    port,
                    clock,
                    ahead_ms: 0,
                    environment,
                    directory,
                };
            }
            if server.has_ended() {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "a test waits for a server")]
            std::thread::sleep(START_PAUSE);
        }
        let said = fs::read_to_string(log).unwrap_or_default();
        panic!("ministack does not answer on port {port}:\n{said}");
    }

    /// Where it listens, for every service.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts its clock forward, beside what passes by itself.
    ///
    /// # Panics
    /// The file of the clock cannot be written.
    pub fn pass(&mut self, ms: i64) {
        self.ahead_ms += ms;
        #[expect(clippy::cast_precision_loss, reason = "days, to the millisecond")]
        let ahead = self.ahead_ms as f64 / 1_000.0;
        self.clock
            .write_all_at(&ahead.to_le_bytes(), 0)
            .expect("the clock");
    }

    /// How far its clock is ahead of the machine's, in milliseconds.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.ahead_ms
    }

    /// The Python environment it runs in; it has boto3 and the SAM translator.
    #[must_use]
    pub fn environment(&self) -> &std::path::Path {
        &self.environment
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}
