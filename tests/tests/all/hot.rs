//! One day that thousands of leads contribute to: exact, whatever comes twice and in whatever order.

use std::sync::Arc;

use fastrand::Rng;
use foldback_tests::contract::together::AllPorts;
use foldback_tests::fixtures::{Standing, at, conversion_days, conversions, daily_settings};
use pollster::block_on;
use serde_json::{Value, json};
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::model::{Entry, Group};
use shared::ports::{Clock, Message};
use shared::service::{Duplicates, Mode, Parked, Processed, Replay, Scope, ingest, process};
use shared::settings::Settings;

const LEADS: u32 = 5_000;
const BATCH: usize = 200;
/// One batch in so many comes again, as if its worker had died before it said that it was done.
const AGAIN_EVERY: usize = 5;

fn clock() -> Standing {
    Standing(at(60_000_000))
}

/// Handles what is queued.
async fn drain(ports: &impl AllPorts, settings: &Settings, rng: &mut Rng) -> Processed {
    let mut all = Processed::default();
    for batch in 0_usize.. {
        let received = ports.receive(BATCH, clock().now()).await.expect("receive");
        if received.is_empty() {
            break;
        }
        let done = process(ports, &clock(), settings, &received).await;
        all.add(done.expect("processed"));
        if batch % AGAIN_EVERY == 0 {
            let again = received.into_iter().map(|one| Message {
                deduplication_id: rng.u128(..),
                ..one.message
            });
            let again: Vec<Message> = again.collect();
            ports.send(&again, clock().now()).await.expect("send");
        }
    }
    all
}

/// All that the day's journal has comes again, in another order and with others.
async fn come_again(ports: &impl AllPorts, day: &Group, rng: &mut Rng) {
    let journal = ports.entries(std::slice::from_ref(day)).await;
    let mut copies: Vec<Arc<Entry>> = journal
        .expect("entries")
        .concat()
        .into_iter()
        .map(Arc::new)
        .collect();
    assert_eq!(copies.len(), LEADS as usize, "each once");
    rng.shuffle(&mut copies);
    let messages = copies.chunks(300).map(|part| Message {
        group: day.clone(),
        deduplication_id: rng.u128(..),
        entries: part.to_vec(),
    });
    let messages: Vec<Message> = messages.collect();
    ports.send(&messages, clock().now()).await.expect("send");
}

async fn assert_exact(ports: &impl AllPorts, settings: &Settings, day: &Group) {
    let rows = ports.read_groups(std::slice::from_ref(day)).await;
    let rows = rows.expect("rows").concat();
    assert_eq!(rows.len(), 1);
    let row = rows.first().expect("one row");
    let body: Value = serde_json::from_str(&row.row.body()).expect("JSON");
    // Fifty times each of 0.25, 1.25 ... 99.25.
    let sum = json!({ "sale": { "count": LEADS, "value": 248_750 } });
    assert_eq!(body.get("conversions"), Some(&sum));
    assert_eq!(row.trail.held.events, u64::from(LEADS));
    let (parked, mut found) = (Parked::new(), Vec::new());
    let replay = Replay {
        ports,
        clock: &clock(),
        settings,
        parked: &parked,
        grace_ms: 0,
    };
    let scope = Scope::Groups(vec![day.clone()]);
    let run = replay.run(&scope, Mode::Report, |one| found.push(one), |_| {});
    assert_eq!(run.await.expect("replay").events, u64::from(LEADS));
    assert_eq!(found, []);
}

fn check(policy: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    let settings = daily_settings(policy);
    let days = conversion_days(1);
    let day = days.first().expect("one day");
    let mut rng = Rng::with_seed(7);
    let mut events = conversions(LEADS, 1);
    let twice: Vec<Arc<Entry>> = events.iter().step_by(7).cloned().collect();
    events.extend(twice);
    rng.shuffle(&mut events);
    block_on(async {
        for part in events.chunks(500) {
            let told = ingest(&store, part, Duplicates::SendAgain, clock().now()).await;
            told.expect("ingest");
            drain(&store, &settings, &mut rng).await;
        }
        assert_exact(&store, &settings, day).await;
        come_again(&store, day, &mut rng).await;
        let again = drain(&store, &settings, &mut rng).await;
        assert_eq!(again.copies, 0, "nothing is taken in twice");
        assert_exact(&store, &settings, day).await;
    });
}

#[test]
fn a_hot_day_is_exact_by_correction() {
    check("correct");
}

#[test]
fn a_hot_day_is_exact_by_additions() {
    check("atomic");
}
