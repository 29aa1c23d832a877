use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::aws_call::post;
use super::free_port;
use super::python::{Kept, environment};

/// An emulator of AWS, as a separate process, and what it deploys SAM templates with.
const PACKAGES: [&str; 2] = ["ministack==1.5.33", "aws-sam-translator==1.115.0"];
const STARTS: u32 = 600;
const START_PAUSE: Duration = Duration::from_millis(50);
/// Starts it with a clock that goes ahead of the machine's by what a file says, in milliseconds.
const START: &str = include_str!("emulator.py");

/// Whether the emulator asks who somebody is and what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policies {
    /// Everybody may do everything.
    Ignored,
    /// The policies of a function's role hold for what it asks.
    Enforced,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is throttled, and nothing is done.
    Throttled,
    /// It is done, and the answer is an internal error.
    Lost,
    /// The first half of a batch is done, the rest is named as left undone.
    Partial,
    /// The same, and the rest is the sender's fault.
    Refused,
}

/// A ministack server of its own, with nothing in it. Its clock can be put forward.
#[derive(Debug)]
pub struct Ministack {
    _server: Kept,
    port: u16,
    clock: File,
    ahead_ms: AtomicI64,
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
                    ahead_ms: AtomicI64::new(0),
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
    pub fn pass(&self, ms: i64) {
        let ahead_ms = self.ahead_ms.fetch_add(ms, Ordering::Relaxed) + ms;
        #[expect(clippy::cast_precision_loss, reason = "days, to the millisecond")]
        let ahead = ahead_ms as f64;
        self.clock
            .write_all_at(&ahead.to_le_bytes(), 0)
            .expect("the clock");
    }

    /// Makes the next requests of an operation, such as `AmazonSQS.SendMessageBatch`, go wrong, so many times;
    /// for 0 times, ends all that was to go wrong.
    ///
    /// # Panics
    /// It does not answer.
    pub fn fail(&self, operation: &str, fault: Fault, times: u32) {
        let kind = match fault {
            Fault::Throttled => "throttled",
            Fault::Lost => "lost",
            Fault::Partial => "partial",
            Fault::Refused => "refused",
        };
        let wish = json!({ "operation": operation, "kind": kind, "times": times });
        let (status, said) = post(&self.endpoint(), "/_fail", &[], &wish.to_string());
        assert_eq!(status, 200, "{said}");
    }

    /// How far its clock is ahead of the machine's, in milliseconds.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.ahead_ms.load(Ordering::Relaxed)
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
