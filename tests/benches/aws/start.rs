use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the function in Node.js needs, pinned.
const PACKAGES: [&str; 3] = [
    "@aws-sdk/client-sqs@3.1169.0",
    "@aws-sdk/client-dynamodb@3.1164.0",
    "mongodb@7.9.0",
];
/// A function that does the same before its first poll: loads its libraries, makes its clients, asks.
const NODE: &str = r#"
const { SQSClient } = require("@aws-sdk/client-sqs");
const { DynamoDBClient } = require("@aws-sdk/client-dynamodb");
const { MongoClient } = require("mongodb");
const region = process.env.AWS_REGION;
const clients = [new SQSClient({ region }), new DynamoDBClient({ region }), new MongoClient("mongodb://127.0.0.1:1")];
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
require("http").get({ host, port, path: "/2018-06-01/runtime/invocation/next" });
"#;

/// Starts each function and prints the time to its first poll, and its size.
pub(crate) fn measure(starts: usize) {
    println!("from the start of the process to its first poll, median of {starts} (least, most)");
    for name in ["console", "ingest", "process", "replay", "report"] {
        let binary = binary(name);
        if !binary.exists() {
            println!("  {name:<8} not built: cargo build --release --workspace --bins");
            continue;
        }
        let times = times(starts, || Command::new(&binary));
        let size = fs::metadata(&binary).map_or(0, |about| about.len());
        tell(name, &times, size);
    }
    let directory = node();
    let times = times(starts, || {
        let mut command = Command::new("node");
        command.arg(directory.join("index.js"));
        command
    });
    tell("Node.js", &times, size_of(&directory.join("node_modules")));
}

fn tell(name: &str, times: &[Duration], bytes: u64) {
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1_000.0);
    let mib = f64::from(u32::try_from(bytes / 1_024).unwrap_or(u32::MAX)) / 1_024.0;
    println!(
        "  {name:<8}{:>8.1} ms ({:.1}, {:.1}), {mib:.1} MiB",
        ms(times.get(times.len() / 2)),
        ms(times.first()),
        ms(times.last())
    );
}

/// The binary of that name beside this benchmark's.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this program");
    own.ancestors().nth(2).expect("target/release").join(name)
}

/// So many times from start to first poll, sorted.
fn times(starts: usize, command: impl Fn() -> Command) -> Vec<Duration> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let api = listener.local_addr().expect("a port").to_string();
    let mut times: Vec<Duration> = (0..starts)
        .map(|_| {
            #[expect(clippy::disallowed_methods, reason = "a benchmark takes the time")]
            let start = Instant::now();
            let mut child = command()
                .env_clear()
                .envs(environment(&api))
                .stdout(Stdio::null())
                .spawn()
                .expect("it starts");
            let (stream, _) = listener.accept().expect("a poll");
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).expect("a line");
            let time = start.elapsed();
            assert!(line.contains("/invocation/next"), "{line}");
            child.kill().expect("killed");
            child.wait().expect("ended");
            time
        })
        .collect();
    times.sort();
    times
}

fn environment(api: &str) -> Vec<(&'static str, String)> {
    let path = std::env::var_os("PATH").and_then(|path| path.into_string().ok());
    let set = |name, value: &str| (name, value.to_owned());
    vec![
        ("PATH", path.unwrap_or_default()),
        set("AWS_LAMBDA_RUNTIME_API", api),
        set("AWS_LAMBDA_FUNCTION_NAME", "bench"),
        set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        set("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        set("AWS_LAMBDA_LOG_GROUP_NAME", "bench"),
        set("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        set("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        set("AWS_REGION", "us-east-1"),
        set("AWS_ACCESS_KEY_ID", "test"),
        set("AWS_SECRET_ACCESS_KEY", "test"),
        set("FOLDBACK_JOURNAL_TABLE", "journal"),
        set("FOLDBACK_STATE_TABLE", "state"),
        set("FOLDBACK_QUEUE_URL", "http://127.0.0.1:1/queue"),
        set("FOLDBACK_DLQ_URL", "http://127.0.0.1:1/dlq"),
        set("FOLDBACK_MONGODB", "mongodb://127.0.0.1:1"),
    ]
}

/// A directory with the function in Node.js and its packages; made where it is not there yet.
fn node() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/testbeds/node");
    fs::create_dir_all(&directory).expect("a directory");
    if !directory.join("node_modules/mongodb").exists() {
        let installed = Command::new("npm")
            .args([
                "install",
                "--no-save",
                "--no-audit",
                "--no-fund",
                "--prefix",
            ])
            .arg(&directory)
            .args(PACKAGES)
            .stdout(Stdio::null())
            .status();
        assert!(installed.expect("npm").success());
    }
    fs::write(directory.join("index.js"), NODE).expect("a script");
    directory
}

fn size_of(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => size_of(&entry.path()),
            Ok(about) => about.len(),
            Err(_gone) => 0,
        })
        .sum()
}
