//! Several processes write the same rows without locks, every event handled by each of them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use foldback_tests::fixtures::Lives;
use foldback_tests::servers::{Durability, Secantus};
use shared::adapters::mongo::{Mongo, Retention};

use super::expected::InOrder;
use crate::mongo::run;

/// A process that ends with the test.
struct Racer {
    process: Child,
    says: BufReader<ChildStdout>,
    hears: Option<ChildStdin>,
}

impl Racer {
    fn start(args: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_race_worker"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        Self {
            says: BufReader::new(process.stdout.take().expect("piped")),
            hears: process.stdin.take(),
            process,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "a process ended before its work");
        line
    }

    fn go(&mut self) {
        let hears = self.hears.as_mut().expect("open");
        hears.write_all(b"go\n").expect("it listens");
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Starts the racers, keeps them at the same share of the events, and returns what they report.
fn race(uri: &str, lives: &Lives, racers: u32, share: usize) -> Vec<serde_json::Value> {
    let scratch = tempfile::tempdir().expect("a directory");
    let events = scratch.path().join("events.jsonl");
    std::fs::write(&events, lives.arrivals.join("\n")).expect("a file");
    let text = |path: std::path::PathBuf| path.to_str().expect("a UTF-8 path").to_owned();
    let (events, settings) = (text(events), text(Lives::settings_file()));
    let start = |seed: u32| {
        let directory = text(scratch.path().join(seed.to_string()));
        let (seed, share) = (seed.to_string(), share.to_string());
        Racer::start(&[uri, &directory, &events, &settings, &seed, &share])
    };
    let mut racers: Vec<Racer> = (0..racers).map(start).collect();
    for _share in lives.arrivals.chunks(share) {
        for racer in &mut racers {
            assert_eq!(racer.line(), "journaled\n");
        }
        for racer in &mut racers {
            racer.go();
        }
    }
    let report = |racer: &mut Racer| serde_json::from_str(&racer.line()).expect("JSON");
    racers.iter_mut().map(report).collect()
}

fn sum(reports: &[serde_json::Value], name: &str) -> u64 {
    reports
        .iter()
        .filter_map(|report| report[name].as_u64())
        .sum()
}

fn check(lives: &Lives, racers: u32, share: usize) {
    let server = Secantus::start(Durability::Synced);
    let uri = server.uri("races");
    let reports = race(&uri, lives, racers, share);
    let shown = reports.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(sum(&reports, "conflicts") > 20, "too few races: {shown:#?}");
    assert_eq!(sum(&reports, "parked"), 0, "{shown:#?}");
    run(async {
        let in_order = InOrder::of(lives).await;
        let rows = Mongo::open(&uri, Retention::default()).await.expect("open");
        in_order.check(&rows).await;
    });
}

#[test]
fn three_processes_that_handle_every_event() {
    check(&Lives::new(1, 24, 720), 3, 120);
}

/// So few leads that every batch meets others, again and again.
#[test]
fn four_processes_on_a_few_hot_leads() {
    check(&Lives::new(2, 4, 320), 4, 40);
}
