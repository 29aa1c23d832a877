//! What handling costs in requests to MongoDB.

use std::sync::Arc;

use foldback_tests::fixtures::{group, happened, settings};
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::adapters::mongo::{Mongo, Retention};
use shared::adapters::{Joined, SystemClock};
use shared::model::Entry;
use shared::ports::{Clock, Indexes, Queue};
use shared::service::{Duplicates, ingest, process};

use crate::mongo::{fresh_uri, run};

/// As the README says: four finds that go at once, the bulk write, the end of its transaction.
const REQUESTS_MAX: u64 = 6;
/// How many leads the events of a batch are of, at most.
const LEADS: i64 = 20;

/// So many events in order, from a minute on, of as many leads as there are events for.
fn events(count: i64, from: i64) -> Vec<Arc<Entry>> {
    let kinds = [
        "appointment.scheduled",
        "appointment.started",
        "lead.updated",
    ];
    let event = |number: i64| {
        let lead = group("acme", &format!("lead-{}", number % LEADS));
        let kind = kinds
            .iter()
            .cycle()
            .nth(usize::try_from(number / LEADS).unwrap_or(0));
        // An event's identity is its tenant's, whatever its group.
        happened(&lead, from + number, kind.expect("a kind"))
    };
    (0..count).map(event).collect()
}

/// What each of two batches of so many events cost: one that makes rows, and one that changes them.
async fn requests(count: i64) -> [u64; 2] {
    let connected = Mongo::counted(&fresh_uri(), Retention::default()).await;
    let (mongo, sent) = connected.expect("connect");
    mongo.create_indexes().await.expect("indexes");
    let directory = tempfile::tempdir().expect("a directory");
    let queue = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
    let ports = Joined {
        events: &queue,
        tables: &mongo,
    };
    let mut cost = [0, 0];
    for (cost, from) in cost.iter_mut().zip([0, 1_000]) {
        let (entries, now) = (events(count, from), SystemClock.now());
        let told = ingest(&queue, &entries, Duplicates::Skip, now).await;
        told.expect("ingest");
        let received = queue.receive(1_000, now).await.expect("receive");
        let before = sent.count();
        let done = process(&ports, &SystemClock, &settings(), &received).await;
        let done = done.expect("process");
        assert_eq!(done.events, entries.len() as u64);
        assert_eq!((done.late.len(), done.conflicts), (0, 0), "in order");
        *cost = sent.count() - before;
    }
    cost
}

#[test]
fn a_batch_in_order_costs_the_same_whatever_its_size() {
    run(async {
        let one = requests(1).await;
        for count in [10, 100] {
            assert_eq!(requests(count).await, one, "{count} events");
        }
        let most = one.into_iter().max();
        assert!(most.is_some_and(|most| most <= REQUESTS_MAX), "{one:?}");
    });
}
