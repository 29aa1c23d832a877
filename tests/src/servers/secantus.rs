use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::python::{Kept, environment};

/// A MongoDB wire server, as a separate process.
const PACKAGE: &str = "secantusdb==0.7.0b3";
const STARTS: u32 = 600;
const START_PAUSE: Duration = Duration::from_millis(100);

/// Whether what the server acknowledged survives `kill -9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Faster; for tests that do not kill it.
    Relaxed,
    /// Every commit is synced.
    Synced,
}

/// A SecantusDB server with an empty store of its own.
#[derive(Debug)]
pub struct Secantus {
    server: Option<Kept>,
    port: u16,
    environment: PathBuf,
    durability: Durability,
    directory: TempDir,
}

impl Secantus {
    /// What is run: a package and its version.
    pub const PACKAGE: &str = PACKAGE;

    /// Starts one.
    ///
    /// # Panics
    /// It cannot be installed or does not answer.
    #[must_use]
    pub fn start(durability: Durability) -> Self {
        let mut secantus = Self {
            server: None,
            port: free_port(),
            environment: environment(PACKAGE),
            durability,
            directory: tempfile::tempdir().expect("a directory"),
        };
        secantus.restart();
        secantus
    }

    /// The connection string of a database.
    #[must_use]
    pub fn uri(&self, database: &str) -> String {
        uri(self.port, database)
    }

    /// The port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it with `kill -9`.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again over the same store, on the same port.
    ///
    /// # Panics
    /// It does not answer.
    pub fn restart(&mut self) {
        self.kill();
        let (port, store) = (self.port.to_string(), self.directory.path().join("store"));
        let mut args = vec!["--host", "127.0.0.1", "--port", &port, "--storage-path"];
        args.push(store.to_str().expect("a UTF-8 path"));
        if self.durability == Durability::Synced {
            args.push("--sync-on-commit");
        }
        let log = self.directory.path().join("log");
        let mut server = Kept::start(&self.environment, "secantusd-py", &args, &log);
        for _ in 0..STARTS {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                self.server = Some(server);
                return;
            }
            if server.has_ended() {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "a test waits for a server")]
            std::thread::sleep(START_PAUSE);
        }
        let said = std::fs::read_to_string(log).unwrap_or_default();
        panic!("SecantusDB does not answer on port {}:\n{said}", self.port);
    }
}

/// The connection string of a database behind any port of this machine.
#[must_use]
pub fn uri(port: u16, database: &str) -> String {
    format!("mongodb://127.0.0.1:{port}/{database}?directConnection=true")
}

/// A port that nobody listens on at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its number").port()
}
