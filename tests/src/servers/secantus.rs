use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::python::{Kept, environment, script};

/// A MongoDB wire server, as a separate process.
const PACKAGE: &str = "secantusdb==0.7.0b3";
const STARTS: u32 = 600;
const START_PAUSE: Duration = Duration::from_millis(100);
/// Makes a user who may do what a role allows in a database: port, database, name, password, role.
const MAKE_USER: &str = "
import sys, pymongo
port, database, name, password, role = sys.argv[1:]
client = pymongo.MongoClient('127.0.0.1', int(port), directConnection=True)
roles = [{'role': role, 'db': database}]
client[database].command('createUser', name, pwd=password, roles=roles)
";

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
    /// Further arguments of its command line.
    options: Vec<String>,
    directory: TempDir,
}

/// A user of a database.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The password, as it is: not escaped for a connection string.
    pub password: &'a str,
    /// A role of the server's own, such as `readWrite`.
    pub role: &'a str,
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
        Self::start_with(durability, Vec::new())
    }

    /// Starts one that talks TLS only, with a certificate and its key from PEM files.
    ///
    /// # Panics
    /// It cannot be installed or does not answer.
    #[must_use]
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Self {
        let path = |path: &Path| path.to_str().expect("a UTF-8 path").to_owned();
        let certificate = ["--tls-cert-file".to_owned(), path(certificate)];
        let key = ["--tls-key-file".to_owned(), path(key)];
        let options = [certificate, key].concat();
        Self::start_with(Durability::Relaxed, options)
    }

    /// Starts one that knows these users of a database, and lets nobody else in.
    ///
    /// # Panics
    /// It cannot be installed, does not answer or does not take a user.
    #[must_use]
    pub fn start_with_users(database: &str, users: &[User<'_>]) -> Self {
        // Users are made before it asks for them, and must survive its end.
        let mut secantus = Self::start(Durability::Synced);
        let port = secantus.port.to_string();
        for User {
            name,
            password,
            role,
        } in users
        {
            let args = [port.as_str(), database, name, password, role];
            script(&secantus.environment, MAKE_USER, &args);
        }
        secantus.options.push("--auth".to_owned());
        secantus.restart();
        secantus
    }

    fn start_with(durability: Durability, options: Vec<String>) -> Self {
        let mut secantus = Self {
            server: None,
            port: free_port(),
            environment: environment(&[PACKAGE]),
            durability,
            options,
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
        args.extend(self.options.iter().map(String::as_str));
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

/// A port of this machine that nobody listens on at the moment.
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its number").port()
}
