//! How long the server takes for each page of the console, with the whole BPI Challenge 2012 log in the
//! store (262,200 events) or, where it is not beside the project, as many generated ones.
//!
//!     cargo bench -p foldback --bench console
#![expect(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark measures and tells"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often each page is asked for.
const TIMES: usize = 30;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn foldback(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foldback"));
    command.args(args).arg("--data").arg(data);
    command
}

/// Takes the log in; returns a tenant and a lead of many events.
fn fill(scratch: &Path, data: &Path) -> (String, String) {
    let log = root().join("../shared/data/bpic2012.cloudevents.jsonl.gz");
    let (log, settings) = if log.exists() {
        (log, root().join("tests/fixtures/bpic2012.toml"))
    } else {
        println!("the BPI 2012 log is not beside the project; generated events stand in for it");
        let path = scratch.join("generated.jsonl.zst");
        let output = path.to_str().expect("a UTF-8 path");
        let args = [
            "generate",
            "--tenants",
            "1",
            "--leads",
            "26000",
            "--output",
            output,
        ];
        let made = Command::new(env!("CARGO_BIN_EXE_foldback"))
            .args(args)
            .status();
        assert!(made.expect("it runs").success());
        (path, root().join("infra/local/sample/settings.toml"))
    };
    let text = |path: &Path| path.to_str().expect("a UTF-8 path").to_owned();
    let args = [
        "run",
        &text(&log),
        "--settings",
        &text(&settings),
        "--no-verify",
    ];
    let ran = foldback(data, &args).stdout(Stdio::null()).status();
    assert!(ran.expect("it runs").code().is_some_and(|code| code < 2));
    let kept = foldback(data, &["replay", "--mode", "update"])
        .stdout(Stdio::null())
        .status();
    kept.expect("it runs");
    let exported = foldback(data, &["export", "RSLead"])
        .output()
        .expect("it runs");
    let longest = String::from_utf8(exported.stdout).expect("UTF-8");
    let events = |line: &&str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        row["events"].as_u64()
    };
    let row = longest.lines().max_by_key(events).expect("a lead");
    let row: serde_json::Value = serde_json::from_str(row).expect("JSON");
    let field = |name: &str| row[name].as_str().expect(name).to_owned();
    println!("the longest lead has {} events", row["events"]);
    (field("tenant"), field("leadId"))
}

struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn start(data: &Path) -> Self {
        let args = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--replay-every",
            "0",
            "--report-every",
            "0",
        ];
        let mut child = foldback(data, &args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("it says where it listens");
        let address = line
            .trim()
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        Self { child, address }
    }

    /// From the request to the last byte of the answer, and how many these are.
    fn ask(&self, path: &str) -> (Duration, usize) {
        let since = Instant::now();
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let host = &self.address;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        )
        .expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let took = since.elapsed();
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{path}: {}",
            String::from_utf8_lossy(&answer)
        );
        (took, answer.len())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn main() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let data = scratch.path().join("data");
    let (tenant, lead) = fill(scratch.path(), &data);
    let serving = Serving::start(&data);
    let pages = [
        ("overview", "/".to_owned()),
        ("jobs, completed", "/jobs".to_owned()),
        ("jobs, failed", "/jobs?state=failed".to_owned()),
        ("jobs, of the longest lead", format!("/jobs?id={lead}")),
        ("jobs, text that is found", "/jobs?text=ac".to_owned()),
        (
            "jobs, text that is nowhere",
            "/jobs?text=no-such-text".to_owned(),
        ),
        (
            "entity, the longest lead",
            format!("/entity?id={lead}&tenant={tenant}"),
        ),
        (
            "entity, and what changed",
            format!("/entity?id={lead}&tenant={tenant}&as_of=2012-03-01&from_as_of=2012-01-01"),
        ),
        ("findings", "/findings".to_owned()),
        ("findings of a run", "/findings?run=1".to_owned()),
        ("settings", "/settings".to_owned()),
        ("audit", "/audit".to_owned()),
    ];
    println!(
        "{:<28}{:>10}{:>10}{:>10}",
        "page", "median ms", "most ms", "KiB"
    );
    for (name, path) in pages {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..TIMES {
            let (took, length) = serving.ask(&path);
            times.push(took);
            bytes = length;
        }
        times.sort_unstable();
        let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1_000.0);
        let (median, most) = (ms(times.get(TIMES / 2)), ms(times.last()));
        println!("{name:<28}{median:>10.1}{most:>10.1}{:>10}", bytes / 1_024);
    }
}
