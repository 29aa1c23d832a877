use std::fs::{self, File, create_dir_all};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::free_port;

/// Debian's package, which has `promtool` too.
const PACKAGE: &str = "prometheus";
const STARTS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// A Prometheus that scrapes one target every second, with the rules of this project.
#[derive(Debug)]
pub struct Prometheus {
    server: Child,
    port: u16,
    directory: TempDir,
}

/// The path of a program of the package: as installed, else as unpacked under `target/testbeds`.
///
/// # Panics
/// It is not installed, and the package cannot be had.
fn program(name: &str) -> PathBuf {
    let is_there = |program: &Path| {
        let said = Command::new(program).arg("--version").output();
        said.is_ok_and(|said| said.status.success())
    };
    let installed = PathBuf::from(name);
    if is_there(&installed) {
        return installed;
    }
    let beds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/testbeds");
    let bed = beds.join(PACKAGE);
    create_dir_all(&bed).expect("target/testbeds");
    let lock = File::create(bed.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let unpacked = bed.join("root/usr/bin").join(name);
    if !is_there(&unpacked) {
        unpack(&bed);
    }
    unpacked
}

/// Needs no rights: the package is unpacked, not installed.
fn unpack(bed: &Path) {
    let must = |command: &mut Command| {
        let output = command.current_dir(bed).output().unwrap_or_else(|error| {
            panic!(
                "{command:?} cannot be started: {error}; the tests of metrics need Prometheus and its \
                 promtool: install Debian's package {PACKAGE:?}, or have apt-get and dpkg fetch it"
            )
        });
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?} failed:\n{said}");
    };
    must(Command::new("apt-get").args(["download", PACKAGE]));
    let files = fs::read_dir(bed)
        .expect("the files")
        .map(|file| file.expect("a file").path());
    let mut packages = files.filter(|file| file.extension().is_some_and(|end| end == "deb"));
    let package = packages.next().expect("a package");
    must(Command::new("dpkg").arg("-x").arg(package).arg("root"));
}

/// Runs `promtool` with something on its standard input and gives what it says, and whether it is content.
///
/// # Panics
/// It cannot be started.
#[must_use]
pub fn promtool(args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program("promtool"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

impl Prometheus {
    /// Starts one that scrapes `/metrics` at a port of this machine.
    ///
    /// # Panics
    /// It cannot be had or does not answer.
    #[must_use]
    pub fn start(target: u16, rules: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs:\n  - job_name: foldback\n    static_configs: [{{ targets: ['127.0.0.1:{target}'] }}]\n"
        );
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config).expect("a configuration");
        let log = File::create(directory.path().join("log")).expect("a log");
        let port = free_port();
        let path = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let server = Command::new(program("prometheus"))
            .arg(path("config.file", &file))
            .arg(path("storage.tsdb.path", &directory.path().join("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("Prometheus starts");
        let mut prometheus = Self {
            server,
            port,
            directory,
        };
        prometheus.wait_until_ready();
        prometheus
    }

    fn wait_until_ready(&mut self) {
        for _ in 0..STARTS {
            if self
                .get("/-/ready")
                .is_some_and(|answer| answer.contains("Ready"))
            {
                return;
            }
            if self.server.try_wait().expect("a status").is_some() {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "a test waits for a server")]
            std::thread::sleep(PAUSE);
        }
        let said = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        panic!("Prometheus does not answer on port {}:\n{said}", self.port);
    }

    /// The series that a query finds now.
    ///
    /// # Panics
    /// Prometheus does not take the query.
    #[must_use]
    pub fn query(&self, query: &str) -> Vec<Value> {
        let answer = self.api(&format!("/api/v1/query?query={}", encoded(query)));
        answer["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// The rules that it has loaded, each with its health.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn rules(&self) -> Vec<Value> {
        let answer = self.api("/api/v1/rules");
        let groups = answer["data"]["groups"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let rules = groups.iter().filter_map(|group| group["rules"].as_array());
        rules.flatten().cloned().collect()
    }

    fn api(&self, path: &str) -> Value {
        let answer = self.get(path).expect("an answer");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let answer: Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer
    }

    /// An answer with its head; HTTP 1.0, so that its body is not cut into chunks.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}
