//! One of several processes that write the same rows without locks.
//!
//! `race_worker URI DIRECTORY EVENTS SETTINGS SEED SHARE`: journals the events of a file, SHARE at a
//! time, in a store of its own. After each share it says `journaled` and waits for a line: when every
//! process has got one, each has in its journal what any row may hold, as with a journal that they
//! share. Then it handles the share's events, all of them, whoever else does. At the end it says in
//! JSON what it did.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;

use fastrand::Rng;
use foldback_tests::fixtures::entries;
use foldback_tests::worker::{LIMITS, Worked, Worker, messages_of};
use serde_json::json;
use shared::adapters::SystemClock;
use shared::adapters::embedded::Embedded;
use shared::adapters::mongo::{Mongo, Retention};
use shared::ports::{Clock, Journal, Queue};
use shared::settings::{Format, Settings};

/// Small, so that many transactions meet.
const BATCH: usize = 6;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work());
}

fn say(line: &str) {
    let mut out = stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("somebody listens");
}

async fn work() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: [String; 6] = args.try_into().expect("six arguments");
    let [uri, directory, events, settings, seed, share] = args;
    let text = std::fs::read_to_string(settings).expect("settings");
    let settings = Settings::compile(&text, Format::Toml, 1).expect("settings");
    let lines = std::fs::read_to_string(events).expect("events");
    let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    let store = Embedded::open(Path::new(&directory), LIMITS).expect("a store");
    let rows = Mongo::connect(&uri, Retention::default())
        .await
        .expect("connect");
    let worker = Worker {
        events: &store,
        rows: &rows,
        settings: &settings,
        batch: BATCH,
    };
    let mut rng = Rng::with_seed(seed.parse().expect("a seed"));
    let mut sum = Worked::default();
    for share in lines.chunks(share.parse().expect("a number of events")) {
        let entries = entries(&settings, share);
        store.append(&entries).await.expect("journal");
        say("journaled");
        stdin()
            .lock()
            .read_line(&mut String::new())
            .expect("a line");
        let messages = messages_of(&entries, &mut rng);
        store
            .send(&messages, SystemClock.now())
            .await
            .expect("send");
        let worked = worker.drain(|_| {}).await.expect("process");
        sum.processed.add(worked.processed);
        sum.retries += worked.retries;
    }
    let done = sum.processed;
    let report = json!({
        "events": done.events, "held": done.held, "late": done.late.len(), "rows": done.rows,
        "conflicts": done.conflicts, "failed": done.failed.len(), "parked": done.parked.len(),
        "retries": sum.retries,
    });
    say(&report.to_string());
}
