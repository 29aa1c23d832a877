//! The main job as users run it, whole processes, beside a bare loop of `SQLite` statements in the same
//! run: machines differ, ratios travel.
//!
//! ```text
//! cargo bench -p foldback --bench main_job [-- [--runs N] [EVENTS.jsonl.gz SETTINGS.toml]]
//! ```
//!
//! Without a file it takes the BPI Challenge 2012 log, where that lies beside the project, else
//! 26,000 leads that `foldback generate` makes up.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::float_arithmetic, reason = "ratios of measured times")]

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::model::{Event, cloud_event};

const RUNS_DEFAULT: usize = 5;
/// Copies of the events for the measure of memory.
const COPIES: usize = 10;

/// What one run came to.
#[derive(Clone, Copy)]
struct Figures {
    elapsed: Duration,
    /// Peak memory in MiB, as the program itself reports it.
    memory_mib: Option<f64>,
}

fn main() {
    let mut words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let runs = match words.iter().position(|word| word == "--runs") {
        Some(place) => {
            let runs = words
                .get(place + 1)
                .and_then(|n| n.parse().ok())
                .expect("--runs N");
            words.drain(place..place + 2);
            runs
        }
        None => RUNS_DEFAULT,
    };
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (events, settings) = match words.as_slice() {
        [events, settings] => (PathBuf::from(events), PathBuf::from(settings)),
        _ => default_events(scratch.path()),
    };
    Bench::new(&events, settings, scratch.path()).run(runs);
}

fn default_events(scratch: &Path) -> (PathBuf, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let log = root.join("../shared/data/bpic2012.cloudevents.jsonl.gz");
    if log.exists() {
        return (log, root.join("tests/fixtures/bpic2012.toml"));
    }
    let truth = scratch.join("generated.jsonl.gz");
    let done = Command::new(env!("CARGO_BIN_EXE_foldback"))
        .args([
            "generate",
            "--leads",
            "26000",
            "--output",
            "/dev/null",
            "--truth",
        ])
        .arg(&truth)
        .status();
    assert!(done.expect("it starts").success(), "no events were made");
    (truth, root.join("infra/local/sample/settings.toml"))
}

struct Bench {
    lines: Vec<String>,
    settings: PathBuf,
    scratch: PathBuf,
    in_order: PathBuf,
    shuffled: PathBuf,
}

impl Bench {
    fn new(events: &Path, settings: PathBuf, scratch: &Path) -> Self {
        let mut text = String::new();
        let packed = File::open(events).expect("readable events");
        flate2::read::MultiGzDecoder::new(packed)
            .read_to_string(&mut text)
            .expect("gzip");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut disordered = lines.clone();
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for i in (1..disordered.len()).rev() {
            let j = random.next_u64() % (i as u64 + 1);
            disordered.swap(i, usize::try_from(j).unwrap_or(0));
        }
        let write = |name: &str, lines: &[String]| {
            let path = scratch.join(name);
            fs::write(&path, lines.join("\n")).expect("a scratch file");
            path
        };
        let in_order = write("in-order.jsonl", &lines);
        let shuffled = write("shuffled.jsonl", &disordered);
        Self {
            lines,
            settings,
            scratch: scratch.to_path_buf(),
            in_order,
            shuffled,
        }
    }

    fn run(&self, runs: usize) {
        let events = self.lines.len();
        println!("{events} events, {runs} runs each in turn; median (fastest to slowest)\n");
        let mut bare = Vec::new();
        let mut parse = Vec::new();
        let mut ordered = Vec::new();
        let mut replayed = Vec::new();
        let mut shuffled = Vec::new();
        for _ in 0..runs {
            parse.push(self.parse());
            bare.push(self.bare_loop());
            ordered.push(self.foldback(&self.in_order));
            replayed.push(self.replay());
            shuffled.push(self.foldback(&self.shuffled));
        }
        println!(
            "{:<44} {:>12} {:>22} {:>10} {:>10}",
            "", "seconds", "", "events/s", "× bare"
        );
        let base = median(&bare).elapsed;
        self.print("parsing alone", &parse, base);
        self.print("bare loop: 5 statements an event", &bare, base);
        self.print("foldback run, in order, durable", &ordered, base);
        self.print(
            "foldback run, complete permutation, durable",
            &shuffled,
            base,
        );
        self.print("foldback replay, all compared", &replayed, base);
        self.memory();
    }

    fn print(&self, name: &str, figures: &[Figures], base: Duration) {
        let seconds = |figures: &Figures| figures.elapsed.as_secs_f64();
        let middle = median(figures);
        let fastest = figures.iter().map(seconds).fold(f64::MAX, f64::min);
        let slowest = figures.iter().map(seconds).fold(0.0, f64::max);
        let count = u32::try_from(self.lines.len()).map_or(f64::MAX, f64::from);
        let rate = count / seconds(&middle);
        let ratio = base.as_secs_f64() / seconds(&middle);
        let spread = format!("({fastest:.2} to {slowest:.2})");
        println!(
            "{name:<44} {:>12.3} {spread:>22} {rate:>10.0} {ratio:>10.2}",
            seconds(&middle)
        );
        if let Some(mib) = middle.memory_mib {
            println!("{:<44} {mib:>8.0} MiB at its peak", "");
        }
    }

    /// Reads the events into the model, from memory.
    fn parse(&self) -> Figures {
        let started = now();
        let events = self
            .lines
            .iter()
            .filter_map(|line| cloud_event::parse(line.as_bytes()).ok());
        assert_eq!(events.count(), self.lines.len());
        Figures {
            elapsed: started.elapsed(),
            memory_mib: None,
        }
    }

    /// The least that a program does which keeps current rows and a history: five prepared statements
    /// an event, a thousand events a transaction, no order, no journal index, no queue, no trail.
    fn bare_loop(&self) -> Figures {
        let events: Vec<(Event, &String)> = self
            .lines
            .iter()
            .map(|line| (cloud_event::parse(line.as_bytes()).expect("an event"), line))
            .collect();
        let file = self.scratch.join("bare.db");
        drop(fs::remove_file(&file));
        let started = now();
        let database = rusqlite::Connection::open(&file).expect("a database");
        database
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 CREATE TABLE journal (id TEXT PRIMARY KEY, body TEXT);
                 CREATE TABLE lead (id TEXT PRIMARY KEY, kind TEXT, at TEXT, events INTEGER);
                 CREATE TABLE history (lead TEXT, at TEXT, kind TEXT);
                 CREATE TABLE counts (lead TEXT, kind TEXT, n INTEGER, PRIMARY KEY (lead, kind));",
            )
            .expect("tables");
        for thousand in events.chunks(1_000) {
            database.execute_batch("BEGIN").expect("begin");
            for (event, line) in thousand {
                bare_event(&database, event, line).expect("five statements");
            }
            database.execute_batch("COMMIT").expect("commit");
        }
        Figures {
            elapsed: started.elapsed(),
            memory_mib: None,
        }
    }

    /// The whole process, from its start to the durable end.
    fn foldback(&self, events: &Path) -> Figures {
        let data = self.scratch.join("data");
        drop(fs::remove_dir_all(&data));
        let mut command = Command::new(env!("CARGO_BIN_EXE_foldback"));
        command
            .arg("run")
            .arg(events)
            .arg("--settings")
            .arg(&self.settings);
        command
            .arg("--data")
            .arg(&data)
            .arg("--no-verify")
            .stdin(Stdio::null());
        let started = now();
        let output = command.stderr(Stdio::null()).output().expect("it starts");
        let elapsed = started.elapsed();
        assert!(output.status.success());
        Figures {
            elapsed,
            memory_mib: reported_memory(&String::from_utf8_lossy(&output.stdout)),
        }
    }

    fn replay(&self) -> Figures {
        let started = now();
        let output = Command::new(env!("CARGO_BIN_EXE_foldback"))
            .args(["replay", "--data"])
            .arg(self.scratch.join("data"))
            .output()
            .expect("it starts");
        let elapsed = started.elapsed();
        assert!(output.status.success(), "the replay found something");
        Figures {
            elapsed,
            memory_mib: None,
        }
    }

    /// Peak memory for the events once and ten times over, streamed through standard input.
    fn memory(&self) {
        println!("\npeak memory of a run over standard input");
        for copies in [1, COPIES] {
            let data = self.scratch.join("stream");
            drop(fs::remove_dir_all(&data));
            let mut child = Command::new(env!("CARGO_BIN_EXE_foldback"))
                .args(["run", "-", "--no-verify", "--settings"])
                .arg(&self.settings)
                .arg("--data")
                .arg(&data)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts");
            let mut input = BufWriter::new(child.stdin.take().expect("piped"));
            let started = now();
            for copy in 0..copies {
                for line in &self.lines {
                    writeln!(input, "{}", renamed(line, copy)).expect("it reads");
                }
            }
            drop(input);
            let output = child.wait_with_output().expect("it ends");
            let summary = String::from_utf8_lossy(&output.stdout);
            let memory = reported_memory(&summary).unwrap_or_default();
            let events = copies * self.lines.len();
            let seconds = started.elapsed().as_secs_f64();
            println!("  {events:>9} events: {memory:>5.0} MiB, {seconds:.1} s");
        }
    }
}

fn bare_event(database: &rusqlite::Connection, event: &Event, line: &str) -> rusqlite::Result<()> {
    let (id, kind, at) = (
        event.id.as_str(),
        event.kind.as_str(),
        event.time.to_string(),
    );
    let lead = event.partition_key.as_deref().unwrap_or_default();
    database
        .prepare_cached("INSERT OR IGNORE INTO journal VALUES (?, ?)")?
        .execute([id, line])?;
    database
        .prepare_cached("SELECT events FROM lead WHERE id = ?")?
        .exists([lead])?;
    database
        .prepare_cached(
            "INSERT INTO lead VALUES (?1, ?2, ?3, 1) ON CONFLICT DO UPDATE SET
             kind = ?2, at = ?3, events = events + 1",
        )?
        .execute([lead, kind, &at])?;
    database
        .prepare_cached("INSERT INTO history VALUES (?, ?, ?)")?
        .execute([lead, &at, kind])?;
    database
        .prepare_cached("INSERT INTO counts VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1")?
        .execute([lead, kind])?;
    Ok(())
}

/// The event as another lead's: every id that begins with the lead's begins with the copy's too.
fn renamed(line: &str, copy: usize) -> String {
    let event = cloud_event::parse(line.as_bytes()).expect("an event");
    let lead = event
        .partition_key
        .as_deref()
        .unwrap_or(&event.id)
        .to_owned();
    let id = format!("\"id\":\"{}", event.id);
    line.replace(&id, &format!("\"id\":\"{copy}-{}", event.id))
        .replace(&format!("\"{lead}"), &format!("\"{copy}-{lead}"))
}

fn reported_memory(summary: &str) -> Option<f64> {
    let line = summary
        .lines()
        .find_map(|line| line.strip_prefix("memory"))?;
    let mut words = line.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let scale = match words.next()? {
        "GiB" => 1_024.0,
        "KiB" => 1.0 / 1_024.0,
        _ => 1.0,
    };
    Some(number * scale)
}

fn median(figures: &[Figures]) -> Figures {
    let mut sorted = figures.to_vec();
    sorted.sort_by_key(|figures| figures.elapsed);
    *sorted.get(sorted.len() / 2).expect("at least one run")
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
