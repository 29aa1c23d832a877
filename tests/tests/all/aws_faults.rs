//! What the adapters of AWS do when a request goes wrong: throttled, done in part, refused in part, or done
//! with an answer that gets lost.

#![expect(clippy::panic, reason = "what does not hold in a test ends it")]

use std::future::Future;
use std::slice::from_ref;
use std::sync::Arc;

use foldback_tests::contract::Fixture;
use foldback_tests::fixtures::{group, message, plain};
use foldback_tests::servers::Fault;
use shared::model::{Entry, Group};
use shared::ports::Appended::{Duplicate, New};
use shared::ports::{Error, ErrorKind, Journal, LockKey, Locks, Message, Partition, Queue};
use shared::service::{Duplicates, ingest};

use crate::aws::OnAws;

/// How often the SDK tries a request.
const TRIES: u32 = 4;
/// More than anybody tries.
const ALWAYS: u32 = 1_000;

const PUT: &str = "DynamoDB_20120810.PutItem";
const WRITE: &str = "DynamoDB_20120810.BatchWriteItem";
const GET: &str = "DynamoDB_20120810.BatchGetItem";
const QUERY: &str = "DynamoDB_20120810.Query";
const UPDATE: &str = "DynamoDB_20120810.UpdateItem";
const SEND: &str = "AmazonSQS.SendMessageBatch";
const RECEIVE: &str = "AmazonSQS.ReceiveMessage";
const DELETE: &str = "AmazonSQS.DeleteMessageBatch";
const HIDE: &str = "AmazonSQS.ChangeMessageVisibilityBatch";
const DEPTH: &str = "AmazonSQS.GetQueueAttributes";

fn lead(number: usize) -> Group {
    group("acme", &format!("lead-{number}"))
}

/// An event of each of so many groups.
fn one_of_each(count: usize) -> Vec<Arc<Entry>> {
    let event = |number| plain(&lead(number), &format!("event-{number}"));
    (0..count).map(event).collect()
}

fn messages(count: usize) -> Vec<Message> {
    let numbered = (0_u128..).zip(0..count);
    let message = |(id, number): (u128, usize)| message(&lead(number), id, &[&number.to_string()]);
    numbered.map(message).collect()
}

/// The ids of all events that the queue gives, sorted; they are deleted.
async fn drained(fixture: &OnAws) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let received = fixture.ports().receive(100, fixture.now()).await;
        let received = received.expect("receive");
        if received.is_empty() {
            ids.sort_unstable();
            return ids;
        }
        for one in &received {
            let entries = one.message.entries.iter();
            ids.extend(entries.map(|entry| entry.event.id.to_string()));
        }
        let receipts: Vec<_> = received.into_iter().map(|one| one.receipt).collect();
        fixture.ports().delete(&receipts).await.expect("delete");
    }
}

/// The ids of all journaled events, sorted.
async fn journaled(fixture: &OnAws) -> Vec<String> {
    let groups = fixture.ports().groups(Partition::WHOLE, None, 1_000).await;
    let entries = fixture.ports().entries(&groups.expect("groups")).await;
    let entries = entries.expect("entries").into_iter().flatten();
    let mut ids: Vec<String> = entries.map(|entry| entry.event.id.to_string()).collect();
    ids.sort_unstable();
    ids
}

fn sorted(count: usize, name: &str) -> Vec<String> {
    let mut ids: Vec<String> = (0..count).map(|number| format!("{name}{number}")).collect();
    ids.sort_unstable();
    ids
}

/// Expects that something fails for now as long as an operation is throttled, and is done after that.
async fn throttled<T, F>(fixture: &OnAws, operation: &str, work: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, Error>>,
{
    fixture.fail(operation, Fault::Throttled, ALWAYS);
    match work().await {
        Ok(_) => panic!("{operation} was not throttled"),
        Err(error) => {
            assert_eq!(
                error.kind(),
                ErrorKind::Retry,
                "{operation}: {}",
                error.chain()
            );
        }
    }
    fixture.end_faults();
    let again = work().await;
    again.unwrap_or_else(|error| panic!("{operation}: {}", error.chain()))
}

#[test]
fn what_is_throttled_in_the_journal_comes_to_its_end_later() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let (ports, some) = (fixture.ports(), one_of_each(3));
        let became = throttled(&fixture, PUT, || ports.append(&some)).await;
        assert_eq!(became, [New; 3]);
        let known = [lead(0), lead(1), lead(2)];
        let entries = throttled(&fixture, QUERY, || ports.entries(&known)).await;
        assert_eq!(entries.concat().len(), 3);
        let asked = [("acme".into(), some[1].hash)];
        let found = throttled(&fixture, GET, || ports.whereabouts(&asked)).await;
        assert_eq!(found, [Some(lead(1))]);
    });
}

#[test]
fn what_is_throttled_in_the_queue_comes_to_its_end_later() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let (ports, now) = (fixture.ports(), fixture.now());
        let all = messages(3);
        throttled(&fixture, SEND, || ports.send(&all, now)).await;
        let received = throttled(&fixture, RECEIVE, || ports.receive(3, now)).await;
        assert_eq!(received.len(), 3);
        let receipts: Vec<_> = received.into_iter().map(|one| one.receipt).collect();
        throttled(&fixture, HIDE, || ports.hide_until(&receipts, now)).await;
        throttled(&fixture, DELETE, || ports.delete(&receipts)).await;
        let depth = throttled(&fixture, DEPTH, || ports.depth(now)).await;
        assert_eq!(depth.visible + depth.in_flight, 0);
    });
}

#[test]
fn a_throttled_lock_is_taken_and_given_back_later() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let (ports, now) = (fixture.ports(), fixture.now());
        let key = LockKey {
            tenant: "acme".into(),
            name: "RSLead lead-1".into(),
        };
        let lease = throttled(&fixture, PUT, || ports.acquire(&key, "one", 30_000, now)).await;
        let lease = lease.expect("free");
        throttled(&fixture, UPDATE, || ports.release(&lease)).await;
        let next = ports.acquire(&key, "two", 30_000, now).await;
        assert!(next.expect("acquire").is_some(), "it was given back");
    });
}

/// `UnprocessedItems` and `UnprocessedKeys`: of a group's segment, of the list of groups, of what is looked up.
#[test]
fn what_a_batch_of_dynamodb_leaves_undone_is_asked_for_again() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let some = one_of_each(60);
        fixture.fail(WRITE, Fault::Partial, 9);
        fixture.fail(GET, Fault::Partial, 3);
        let became = fixture.ports().append(&some).await;
        assert_eq!(became.expect("append"), [New; 60]);
        assert_eq!(journaled(&fixture).await, sorted(60, "event-"));
        let asked: Vec<_> = some.iter().map(|one| ("acme".into(), one.hash)).collect();
        fixture.fail(GET, Fault::Partial, 5);
        let found = fixture.ports().whereabouts(&asked).await;
        let expected: Vec<_> = (0..60).map(|number| Some(lead(number))).collect();
        assert_eq!(found.expect("whereabouts"), expected);
    });
}

#[test]
fn what_a_batch_of_sqs_leaves_undone_is_sent_again_in_order() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let mut all = messages(25);
        for (id, name) in [(100, "x"), (101, "y"), (102, "z")] {
            all.push(message(&lead(3), id, &[name]));
        }
        fixture.fail(SEND, Fault::Partial, 6);
        let sent = fixture.ports().send(&all, fixture.now()).await;
        sent.expect("send");
        let mut of_three = Vec::new();
        let mut count = 0;
        fixture.fail(DELETE, Fault::Partial, 2);
        loop {
            let received = fixture.ports().receive(10, fixture.now()).await;
            let received = received.expect("receive");
            if received.is_empty() {
                break;
            }
            for one in &received {
                count += 1;
                if one.message.group == lead(3) {
                    let entries = one.message.entries.iter();
                    of_three.extend(entries.map(|entry| entry.event.id.to_string()));
                }
            }
            let receipts: Vec<_> = received.into_iter().map(|one| one.receipt).collect();
            fixture.ports().delete(&receipts).await.expect("delete");
        }
        assert_eq!(count, all.len(), "each once");
        assert_eq!(of_three, ["3", "x", "y", "z"]);
        let depth = fixture.ports().depth(fixture.now()).await.expect("depth");
        assert_eq!(
            depth.visible + depth.in_flight,
            0,
            "what was deleted is gone"
        );
    });
}

/// A batch that stays undone is a failure for now, and to send it again doubles nothing.
#[test]
fn what_stays_undone_is_for_another_try() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let all = messages(4);
        fixture.fail(SEND, Fault::Partial, ALWAYS);
        let sent = fixture.ports().send(&all, fixture.now()).await;
        assert_eq!(sent.expect_err("undone").kind(), ErrorKind::Retry);
        fixture.end_faults();
        let sent = fixture.ports().send(&all, fixture.now()).await;
        sent.expect("send");
        assert_eq!(drained(&fixture).await, sorted(4, ""));
    });
}

#[test]
fn what_is_the_senders_fault_is_not_tried_again() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let all = messages(4);
        fixture.fail(SEND, Fault::Refused, 1);
        let sent = fixture.ports().send(&all, fixture.now()).await;
        let error = sent.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Reject);
        assert!(
            error.chain().contains("InvalidParameterValue"),
            "{}",
            error.chain()
        );
        let sent = fixture.ports().send(&all, fixture.now()).await;
        sent.expect("nothing is wrong with them");
        let received = fixture.ports().receive(10, fixture.now()).await;
        let received = received.expect("receive");
        let receipts: Vec<_> = received.into_iter().map(|one| one.receipt).collect();
        assert_eq!(receipts.len(), 4);
        // A receipt that is no longer valid: somebody else has the message, or it is gone.
        fixture.fail(DELETE, Fault::Refused, 1);
        fixture.ports().delete(&receipts).await.expect("delete");
    });
}

#[test]
fn an_answer_that_gets_lost_does_nothing_twice() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let (ports, now) = (fixture.ports(), fixture.now());
        let some = one_of_each(3);
        for operation in [PUT, WRITE, GET] {
            fixture.fail(operation, Fault::Lost, 1);
        }
        assert_eq!(ports.append(&some).await.expect("append"), [New; 3]);
        assert_eq!(journaled(&fixture).await, sorted(3, "event-"));
        assert_eq!(ports.append(&some).await.expect("append"), [Duplicate; 3]);

        fixture.fail(SEND, Fault::Lost, 1);
        ports.send(&messages(3), now).await.expect("send");
        assert_eq!(drained(&fixture).await, sorted(3, ""));

        let key = LockKey {
            tenant: "acme".into(),
            name: "RSLead lead-1".into(),
        };
        fixture.fail(PUT, Fault::Lost, 1);
        let lease = ports.acquire(&key, "one", 30_000, now).await;
        let lease = lease.expect("acquire").expect("its own");
        fixture.fail(UPDATE, Fault::Lost, 1);
        let renewed = ports.renew(&lease, 30_000, now).await;
        let renewed = renewed.expect("renew").expect("still its own");
        ports.release(&renewed).await.expect("release");
    });
}

/// Messages that were received, with an answer that got lost, come again when they are visible again.
#[test]
fn messages_whose_receive_got_lost_come_again() {
    OnAws::run(async {
        let mut fixture = OnAws::fresh().await;
        let sent = fixture.ports().send(&messages(2), fixture.now()).await;
        sent.expect("send");
        fixture.fail(RECEIVE, Fault::Lost, TRIES);
        let received = fixture.ports().receive(10, fixture.now()).await;
        assert_eq!(received.expect_err("lost").kind(), ErrorKind::Retry);
        fixture.pass(OnAws::VISIBILITY_MS + 1_000).await;
        assert_eq!(drained(&fixture).await, sorted(2, ""));
    });
}

/// An append that died between the claim of an identity and its event: whoever appends next completes it, and
/// its event goes out.
#[test]
fn a_claim_without_its_event_is_completed_by_the_next_append() {
    OnAws::run(async {
        let mut fixture = OnAws::fresh().await;
        let some = one_of_each(3);
        fixture.fail(WRITE, Fault::Throttled, ALWAYS);
        let first = fixture.ports().append(&some).await;
        assert_eq!(first.expect_err("throttled").kind(), ErrorKind::Retry);
        let groups = [lead(0), lead(1), lead(2)];
        let entries = fixture.ports().entries(&groups).await.expect("entries");
        assert!(entries.concat().is_empty(), "{entries:?}");

        fixture.end_faults();
        fixture.reopen().await;
        let (ports, now) = (fixture.ports(), fixture.now());
        let one = ingest(ports, from_ref(&some[0]), Duplicates::Skip, now).await;
        assert_eq!(one.expect("ingest").appended, [New]);
        assert_eq!(drained(&fixture).await, ["event-0"]);
        let rest = fixture.ports().append(&some).await.expect("append");
        assert_eq!(rest, [Duplicate, New, New]);
        let rest = fixture.ports().append(&some).await.expect("append");
        assert_eq!(rest, [Duplicate; 3]);
        assert_eq!(journaled(&fixture).await, sorted(3, "event-"));
    });
}
