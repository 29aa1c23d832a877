//! What every [`Queue`] must do with a message that is sent again.

use std::slice::from_ref;

use shared::ports::Queue;

use super::queue::{counts, drain, receive, send};
use super::{Fixture, MARGIN_MS};
use crate::fixtures::{group, message};

suite! { $ queue_deduplication_suite, queue_deduplication: Queue;
    a_message_sent_twice_comes_once,
    a_message_sent_again_after_its_end_does_not_come,
    a_swallowed_message_does_not_prolong_the_window,
}

/// How long a deduplication id counts: five minutes, as on SQS.
const DEDUPLICATION_MS: i64 = 300_000;

async fn a_message_sent_twice_comes_once(fixture: &mut impl Fixture<Ports: Queue>) {
    let group = group("acme", "lead-1");
    let [first, second] = [message(&group, 7, &["1"]), message(&group, 8, &["2"])];
    send(fixture, &[first.clone(), first.clone(), second.clone()]).await;
    send(fixture, from_ref(&first)).await;
    assert_eq!(drain(fixture, 1).await, ["1", "2"]);
    assert_eq!(counts(fixture).await, (0, 0, 0));
}

async fn a_message_sent_again_after_its_end_does_not_come(
    fixture: &mut impl Fixture<Ports: Queue>,
) {
    let sent = message(&group("acme", "lead-1"), 7, &["1"]);
    send(fixture, from_ref(&sent)).await;
    assert_eq!(drain(fixture, 1).await, ["1"]);
    send(fixture, from_ref(&sent)).await;
    assert_eq!(receive(fixture, 10).await, [], "at once");
    fixture.pass(DEDUPLICATION_MS - 10 * MARGIN_MS).await;
    send(fixture, from_ref(&sent)).await;
    assert_eq!(receive(fixture, 10).await, [], "just within the window");
    fixture.pass(11 * MARGIN_MS).await;
    send(fixture, from_ref(&sent)).await;
    assert_eq!(drain(fixture, 10).await, ["1"], "after the window");
}

async fn a_swallowed_message_does_not_prolong_the_window(fixture: &mut impl Fixture<Ports: Queue>) {
    let sent = message(&group("acme", "lead-1"), 7, &["1"]);
    send(fixture, from_ref(&sent)).await;
    assert_eq!(drain(fixture, 1).await, ["1"]);
    fixture.pass(DEDUPLICATION_MS - 10 * MARGIN_MS).await;
    send(fixture, from_ref(&sent)).await;
    fixture.pass(11 * MARGIN_MS).await;
    send(fixture, from_ref(&sent)).await;
    assert_eq!(
        drain(fixture, 10).await,
        ["1"],
        "the window begins with the first"
    );
    // That one was delivered: it begins a window of its own.
    fixture.pass(DEDUPLICATION_MS - 10 * MARGIN_MS).await;
    send(fixture, from_ref(&sent)).await;
    assert_eq!(receive(fixture, 10).await, []);
}
