//! What a late event costs, in events folded and images read: as much as it is late, whatever came before.

use std::sync::Arc;

use foldback_tests::fixtures::{
    amended, before, group, long_life, settings, settings_text, take_in,
};
use pollster::block_on;
use shared::adapters::Joined;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::flow::Imaging;
use shared::model::{Entry, Group, Timestamp};
use shared::ports::{Journal, Locks, Queue, Reports, Tables, Waiting};
use shared::service::{Mode, Parked, Replay, Scope};
use shared::settings::{Format, Settings};
use std::collections::BTreeMap;

use foldback_tests::fixtures::{Standing, at};

use crate::mongo::{connect, fresh_uri, run};

fn lead() -> Group {
    group("acme", "lead-1")
}

/// A life in order, so many events at a time.
async fn live(
    ports: &(impl Journal + Locks + Queue + Reports + Tables),
    events: i64,
    batch: i64,
    imaging: Imaging,
) {
    let settings = settings();
    for first in (0..events).step_by(usize::try_from(batch).expect("small")) {
        let entries: Vec<_> = (first..events.min(first + batch))
            .map(|n| long_life(&lead(), n))
            .collect();
        let processed = take_in(ports, &settings, &entries, imaging).await;
        let processed = processed.expect("taken in");
        assert_eq!(processed.refolded, 0, "in order");
        assert_eq!(processed.events, entries.len() as u64);
    }
}

/// Takes one event in that is late by so many others and says how many were folded, from how many images.
async fn late(
    ports: &(impl Journal + Locks + Queue + Reports + Tables),
    events: i64,
    by: i64,
) -> (u64, u64) {
    let late = before(&lead(), events - by, 1);
    let processed = take_in(ports, &settings(), &[late], Imaging::LIVE).await;
    let processed = processed.expect("taken in");
    assert_eq!((processed.events, processed.late.len()), (1, 1));
    (processed.folded, processed.images)
}

async fn assert_right(ports: &(impl Journal + Locks + Waiting + Tables)) {
    let (settings, parked) = (settings(), Parked::new());
    let replay = Replay {
        ports,
        clock: &Standing(at(60_000_000)),
        settings: &settings,
        parked: &parked,
        grace_ms: 0,
    };
    let mut findings = Vec::new();
    let scope = Scope::Groups(vec![lead()]);
    let replayed = replay
        .run(&scope, Mode::Report, |found| findings.push(found), |_| {})
        .await;
    assert!(replayed.expect("replayed").rows > 0);
    assert!(findings.is_empty(), "{findings:#?}");
}

async fn images(ports: &impl Tables) -> usize {
    let images = ports.images(&lead(), Timestamp::MIN).await;
    images.expect("images").len()
}

/// Twice its lateness, and the smallest image.
fn most(by: i64) -> u64 {
    by.unsigned_abs() * 2 + 40
}

#[test]
fn among_100_000_events_a_late_one_costs_as_much_as_it_is_late() {
    const EVENTS: i64 = 100_000;
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    block_on(async {
        live(&store, EVENTS, 500, Imaging::LIVE).await;
        assert!(
            images(&store).await < 200,
            "{} images",
            images(&store).await
        );
        let mut costs = BTreeMap::new();
        for by in [1, 10, 100, 1_000, 10_000] {
            let (folded, images) = late(&store, EVENTS, by).await;
            assert!(folded > by.unsigned_abs(), "late by {by}: {folded} folded");
            assert!(folded <= most(by), "late by {by}: {folded} folded");
            assert!(images < 200, "late by {by}: {images} images");
            costs.insert(by, folded);
        }
        assert!(images(&store).await < 200);
        assert_right(&store).await;
    });
}

#[test]
fn a_long_group_without_images_folds_everything_once() {
    const EVENTS: i64 = 5_000;
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    block_on(async {
        live(&store, EVENTS, 500, Imaging::NEVER).await;
        assert_eq!(images(&store).await, 0);
        assert_eq!(late(&store, EVENTS, 20).await, (5_001, 0));
        assert!(images(&store).await > 0);
        let (folded, images) = late(&store, EVENTS, 30).await;
        assert!(folded <= most(31), "{folded} folded");
        assert!((1..20).contains(&images), "{images} images");
        assert_right(&store).await;
    });
}

/// Only the amendment itself needs the whole journal.
#[test]
fn after_an_amendment_of_long_ago_a_late_event_costs_as_much_as_it_is_late() {
    const EVENTS: i64 = 5_000;
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    let folded = |entry: Arc<Entry>| {
        let (settings, entries) = (settings(), [entry]);
        let taken = take_in(&store, &settings, &entries, Imaging::LIVE);
        block_on(taken).expect("taken in").folded
    };
    block_on(live(&store, EVENTS, 500, Imaging::LIVE));
    assert_eq!(folded(amended(&lead(), 100)), EVENTS.unsigned_abs());
    for n in EVENTS..EVENTS + 50 {
        assert_eq!(folded(long_life(&lead(), n)), 0, "in order");
    }
    block_on(async {
        for by in [1, 10, 100] {
            let (folded, _) = late(&store, EVENTS + 50, by).await;
            assert!(folded <= most(by), "late by {by}: {folded} folded");
        }
        assert_right(&store).await;
    });
}

/// Other tenants' settings change: this one's next event needs no journal.
#[test]
fn a_row_stays_current_as_long_as_its_own_tenants_settings_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    let text = |acme: &str| {
        let globex = settings_text().replace("\"acme\", ", "");
        let globex = globex.replace("version = 1", "");
        let acme = settings_text()
            .replace(", \"globex\"", "")
            .replace("/stage", acme);
        format!("{acme}{globex}")
    };
    let leads = [lead(), group("globex", "lead-1")];
    let folded = |text: String, n: i64| {
        let now = at(60_000_000);
        store.put_settings(&text, Format::Toml, now).expect("put");
        let stored = store.settings().expect("settings").expect("some");
        let settings = Settings::of(&stored).expect("settings");
        leads.each_ref().map(|lead| {
            let entries = [long_life(lead, n)];
            let taken = take_in(&store, &settings, &entries, Imaging::LIVE);
            block_on(taken).expect("taken in").folded
        })
    };
    assert_eq!(folded(text("/stage"), 0), [0, 0]);
    assert_eq!(folded(text("/stage"), 1), [0, 0]);
    assert_eq!(folded(text("/phase"), 2), [3, 0], "acme's rows are stale");
    assert_eq!(folded(text("/phase") + "# a remark", 3), [0, 0]);
}

#[test]
fn a_short_group_keeps_no_images() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    block_on(async {
        live(&store, 200, 5, Imaging::LIVE).await;
        assert_eq!(late(&store, 200, 20).await, (201, 0));
        assert_eq!(images(&store).await, 0);
        assert_right(&store).await;
    });
}

#[test]
fn rows_in_mongodb_are_corrected_from_their_images_too() {
    const EVENTS: i64 = 3_000;
    let directory = tempfile::tempdir().expect("a directory");
    let events = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    run(async {
        let tables = connect(&fresh_uri()).await;
        let ports = Joined {
            events: &events,
            tables: &tables,
        };
        live(&ports, EVENTS, 100, Imaging::LIVE).await;
        for by in [1, 10, 100] {
            let (folded, images) = late(&ports, EVENTS, by).await;
            assert!(folded > by.unsigned_abs(), "late by {by}: {folded} folded");
            assert!(folded <= most(by), "late by {by}: {folded} folded");
            assert!((1..200).contains(&images), "late by {by}: {images} images");
        }
        assert_right(&ports).await;
    });
}

/// A replay that mends writes rows, and leaves no image of what they were.
#[test]
fn what_a_replay_mends_has_no_images() {
    const EVENTS: i64 = 1_000;
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    block_on(async {
        live(&store, EVENTS, 100, Imaging::LIVE).await;
        assert!(images(&store).await > 0);
        // One that is journaled, and of which no message comes.
        store
            .append(&[before(&lead(), 900, 1)])
            .await
            .expect("append");
        let (settings, parked) = (settings(), Parked::new());
        let replay = Replay {
            ports: &store,
            clock: &Standing(at(60_000_000)),
            settings: &settings,
            parked: &parked,
            grace_ms: 0,
        };
        let scope = Scope::Groups(vec![lead()]);
        let replayed = replay.run(&scope, Mode::Update, |_| {}, |_| {}).await;
        assert!(replayed.expect("replayed").mended > 0);
        assert_eq!(images(&store).await, 0);
        assert_eq!(late(&store, EVENTS, 10).await, (1_002, 0));
        assert_right(&store).await;
    });
}
