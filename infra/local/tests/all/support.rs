//! Running the binary, and the events to run it on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::model::cloud_event;
use tempfile::TempDir;

/// The tables, by name.
pub(crate) const TABLES: [&str; 5] = [
    "RSLead",
    "RSAppointment",
    "RSAppointmentChanges",
    "RSLeadGlobalConversions",
    DAYS,
];
/// The table that is fed across groups.
pub(crate) const DAYS: &str = "RSTenantDailyConversions";

/// A data directory and the binary that works on it.
pub(crate) struct Foldback {
    pub(crate) scratch: TempDir,
    /// Where its rows are, if not in the data directory.
    pub(crate) mongodb: Option<String>,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Foldback {
    pub(crate) fn new() -> Self {
        Self {
            scratch: tempfile::tempdir().expect("a scratch directory"),
            mongodb: None,
        }
    }

    /// One whose rows are in MongoDB.
    pub(crate) fn over(uri: String) -> Self {
        Self {
            mongodb: Some(uri),
            ..Self::new()
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// Writes a file beside the data directory and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.scratch.path().join(name);
        std::fs::write(&path, text).expect("write a scratch file");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foldback"));
        command
            .args(args)
            .current_dir(self.scratch.path())
            .stdin(Stdio::null());
        if args
            .first()
            .is_some_and(|name| !["generate", "bench"].contains(name))
        {
            command.arg("--data").arg(self.data());
        }
        match &self.mongodb {
            Some(uri) => command.env("FOLDBACK_MONGODB", uri),
            None => command.env_remove("FOLDBACK_MONGODB"),
        };
        command
    }

    /// Runs a command to its end.
    pub(crate) fn ends(&self, args: &[&str]) -> Ended {
        let output = self.command(args).output().expect("the binary starts");
        Ended {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Runs a command that must end well.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ended = self.ends(args);
        assert_eq!(
            ended.status, 0,
            "{args:?}\n{}\n{}",
            ended.stdout, ended.stderr
        );
        ended.stdout
    }

    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts")
    }

    /// Every table in its canonical form.
    pub(crate) fn tables(&self) -> BTreeMap<&'static str, String> {
        TABLES
            .into_iter()
            .map(|table| (table, self.ok(&["export", table])))
            .collect()
    }

    /// The store's file, to be damaged.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.data().join("foldback.db")).expect("the store's file")
    }
}

/// Takes the lock that says who writes, as another process would.
pub(crate) fn lock(foldback: &Foldback) -> File {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(foldback.data().join("foldback.lock"));
    let file = file.expect("the lock");
    file.lock().expect("locked");
    file
}

/// Events in order, what they mean, and the tables they must lead to.
pub(crate) struct Dataset {
    pub(crate) lines: Vec<String>,
    pub(crate) settings: PathBuf,
    expected: BTreeMap<&'static str, String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn bpic_settings() -> PathBuf {
    root().join("tests/fixtures/bpic2012.toml")
}

pub(crate) fn bpic_log() -> PathBuf {
    root().join("../shared/data/bpic2012.cloudevents.jsonl.gz")
}

fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    let file = File::open(path).expect("a readable file");
    flate2::read::MultiGzDecoder::new(file)
        .read_to_string(&mut text)
        .expect("gzip of UTF-8");
    text
}

#[expect(
    clippy::print_stderr,
    reason = "a test says what it went by, and what it came to"
)]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

impl Dataset {
    /// The BPI Challenge 2012 log with its independently computed tables, where it lies beside the
    /// project; else generated true events, whose tables an in-order run defines.
    pub(crate) fn whole() -> Self {
        let data = root().join("../shared/data");
        let log = bpic_log();
        if log.exists() {
            let table = |table: &'static str| {
                (
                    table,
                    gunzip(&data.join(format!("bpic2012.expected/{table}.jsonl.gz"))),
                )
            };
            return Self {
                lines: gunzip(&log).lines().map(str::to_owned).collect(),
                settings: bpic_settings(),
                expected: TABLES.into_iter().map(table).collect(),
            };
        }
        say("the BPI 2012 log is not beside the project; generated events stand in for it");
        let generated = Self::generated(LEADS_LIKE_BPIC);
        Self {
            expected: generated.in_order_tables(),
            ..generated
        }
    }

    /// The true events of one tenant's leads, in order, as `foldback generate` makes them up.
    fn generated(leads: &str) -> Self {
        let foldback = Foldback::new();
        let args = [
            "generate",
            "--tenants",
            "1",
            "--leads",
            leads,
            "--truth",
            "truth.jsonl",
        ];
        foldback.ok(&[&args[..], &["--output", "arrivals.jsonl"]].concat());
        let truth = std::fs::read_to_string(foldback.scratch.path().join("truth.jsonl"));
        Self {
            lines: truth
                .expect("the truth")
                .lines()
                .map(str::to_owned)
                .collect(),
            settings: root().join("infra/local/sample/settings.toml"),
            expected: BTreeMap::new(),
        }
    }

    fn in_order_tables(&self) -> BTreeMap<&'static str, String> {
        let foldback = Foldback::new();
        let file = foldback.file("in-order.jsonl", &self.lines.join("\n"));
        foldback.ok(&["run", &file, "--settings", self.settings()]);
        foldback.tables()
    }

    pub(crate) fn settings(&self) -> &str {
        self.settings.to_str().expect("a UTF-8 path")
    }

    /// The same settings, with one policy for some tables of every tenant.
    pub(crate) fn under(&self, policy: &str, tables: &[&str]) -> String {
        let text = std::fs::read_to_string(&self.settings).expect("settings");
        let (start, rules) = text.split_once("[[tenant.map]]").expect("a rule");
        let table = |name: &&str| format!("[tenant.tables.{name}]\npolicy = \"{policy}\"\n");
        let tables: String = tables.iter().map(table).collect();
        format!("{start}{tables}[[tenant.map]]{rules}")
    }

    /// Asserts that the tables are the expected ones, byte for byte, and that a replay agrees.
    #[track_caller]
    pub(crate) fn check(&self, foldback: &Foldback) {
        self.check_tables(&foldback.tables());
        let replay = foldback.ends(&["replay", "--json"]);
        assert_eq!(
            (replay.status, replay.stdout.as_str()),
            (0, ""),
            "{}",
            replay.stderr
        );
    }

    /// Asserts that the tables are the expected ones, byte for byte.
    #[track_caller]
    pub(crate) fn check_tables(&self, tables: &BTreeMap<&'static str, String>) {
        for table in self.expected.keys() {
            self.check_table(table, tables.get(table).expect("a table"));
        }
    }

    /// Asserts that one table is the expected one, byte for byte.
    #[track_caller]
    pub(crate) fn check_table(&self, table: &str, got: &str) {
        let expected = self.expected.get(table).expect("a table");
        let differs = got
            .lines()
            .zip(expected.lines())
            .find(|(got, want)| got != want);
        let rows = (got.lines().count(), expected.lines().count());
        assert!(
            got == expected,
            "{table}: {rows:?} rows, first difference {differs:#?}"
        );
    }

    /// All events of the first leads, in order, and the rows of the expected tables that are theirs. What
    /// they led to on each day is counted here, event by event.
    pub(crate) fn of_leads(count: usize) -> Self {
        if !bpic_log().exists() {
            let generated = Self::generated(&count.to_string());
            let expected = generated.in_order_tables();
            return Self {
                expected,
                ..generated
            };
        }
        let mut dataset = Self::whole();
        let text = |line: &str, field: &str| {
            let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
            row.get(field)?.as_str().map(str::to_owned)
        };
        let mut leads = BTreeSet::new();
        for line in &dataset.lines {
            if leads.len() == count {
                break;
            }
            leads.extend(text(line, "partitionkey"));
        }
        let of = |line: &str, field: &str, ids: &BTreeSet<String>| {
            text(line, field).is_some_and(|id| ids.contains(&id))
        };
        dataset
            .lines
            .retain(|line| of(line, "partitionkey", &leads));
        let appointments = dataset.expected.get("RSAppointment").expect("a table");
        let appointments: BTreeSet<String> = appointments
            .lines()
            .filter(|line| of(line, "leadId", &leads))
            .filter_map(|line| text(line, "appointmentId"))
            .collect();
        for (table, rows) in &mut dataset.expected {
            if *table == DAYS {
                *rows = counted_by_day(&dataset.lines);
                continue;
            }
            let kept = rows.lines().filter(|line| {
                if *table == "RSAppointmentChanges" {
                    of(line, "appointmentId", &appointments)
                } else {
                    of(line, "leadId", &leads)
                }
            });
            *rows = kept.map(|line| format!("{line}\n")).collect();
        }
        dataset
    }

    /// The first events in order, and the tables of an in-order run over them.
    pub(crate) fn small(events: usize) -> Self {
        let mut dataset = if bpic_log().exists() {
            Self::whole()
        } else {
            Self::generated(LEADS_FEW)
        };
        dataset.lines.truncate(events);
        Self {
            expected: dataset.in_order_tables(),
            ..dataset
        }
    }
}

/// A tenant and a day.
type Day = (String, String);
/// Count and value, by the conversion's name.
type Counted<'n> = BTreeMap<&'n str, (u64, Option<u64>)>;

/// What the BPI 2012 log's events come to by tenant and day, as its settings say what counts: told from the
/// text of each event alone.
pub(crate) fn counted_by_day(lines: &[String]) -> String {
    let mut days: BTreeMap<Day, Counted<'_>> = BTreeMap::new();
    for line in lines {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |field: &str| {
            let value = event.get(field).and_then(serde_json::Value::as_str);
            value.expect(field).to_owned()
        };
        let asked = event.pointer("/data/amountRequested");
        let kind = text("type");
        let (name, value) = match kind.as_str() {
            "A_SUBMITTED.COMPLETE" => ("submitted", asked.and_then(serde_json::Value::as_u64)),
            "O_SENT.COMPLETE" => ("offer", None),
            "A_ACTIVATED.COMPLETE" => ("sale", None),
            kind if kind.starts_with("W_") && kind.ends_with(".COMPLETE") => ("appointment", None),
            _other => continue,
        };
        // All of the log's times are in UTC.
        let day = text("time").split_once('T').expect("a time").0.to_owned();
        let counted = days.entry((text("tenant"), day)).or_default();
        let (count, sum) = counted.entry(name).or_default();
        *count += 1;
        *sum = value.map_or(*sum, |value| Some(sum.unwrap_or(0) + value));
    }
    let row = |((tenant, day), counted): (Day, Counted<'_>)| {
        let figures = counted.iter().map(|(name, (count, value))| {
            let value = value.map_or_else(String::new, |value| format!(",\"value\":{value}"));
            format!("\"{name}\":{{\"count\":{count}{value}}}")
        });
        let figures = figures.collect::<Vec<_>>().join(",");
        format!("{{\"conversions\":{{{figures}}},\"day\":\"{day}\",\"tenant\":\"{tenant}\"}}\n")
    };
    days.into_iter().map(row).collect()
}

/// About as many events as the BPI 2012 log has.
const LEADS_LIKE_BPIC: &str = "26000";
const LEADS_FEW: &str = "1000";

/// A seeded source of disorder.
pub(crate) struct Disorder(ChaCha8Rng);

impl Disorder {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    /// A complete random permutation (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = usize::try_from(self.below(i as u64 + 1)).expect("small");
            items.swap(i, j);
        }
    }

    /// Each event arrives after a delay of its own, from a second to about twelve days, short ones
    /// more often than long ones.
    pub(crate) fn delay(&mut self, lines: &[String]) -> Vec<String> {
        let mut arrivals: Vec<(i64, u64, &String)> = lines
            .iter()
            .map(|line| {
                let event = cloud_event::parse(line.as_bytes()).expect("an event");
                let scale = 1 + self.below(20);
                let seconds = self.below(1 << scale);
                let delay = i64::try_from(seconds * 1_000).expect("days");
                (event.time.ms() + delay, self.below(u64::MAX), line)
            })
            .collect();
        arrivals.sort_unstable();
        arrivals
            .into_iter()
            .map(|(_, _, line)| line.clone())
            .collect()
    }
}

/// Feeds a command's standard input and waits for its end.
pub(crate) fn fed(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input)
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    Ended {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
