//! What every [`Queue`] must do with messages that are handled: order and groups.
//!
//! Those that are not handled are in [`queue_failures`](super::queue_failures), those that are sent
//! again in [`queue_deduplication`](super::queue_deduplication).

use std::slice::from_ref;

use shared::model::Group;
use shared::ports::{Depth, Message, Queue, Receipt, Received};

use super::{Fixture, MARGIN_MS};
use crate::fixtures::{every_shape, group, message};

suite! { $ queue_suite, queue: Queue;
    messages_come_back_as_they_were,
    an_empty_queue_gives_nothing,
    a_group_is_first_in_first_out,
    many_messages_go_in_one_send,
    a_batch_may_hold_several_of_a_group_in_order,
    one_batch_of_a_group_is_in_flight,
    a_part_of_a_batch_keeps_its_group_back,
    a_released_part_waits_for_the_rest,
    groups_do_not_run_together,
    long_keys_make_groups_like_others,
    a_hot_group_starves_nobody,
    no_more_come_than_asked_for,
    deleted_messages_are_gone,
    depth_counts,
    messages_survive_reopening,
}

pub(super) async fn send(fixture: &impl Fixture<Ports: Queue>, messages: &[Message]) {
    let sent = fixture.ports().send(messages, fixture.now()).await;
    sent.expect("send");
}

pub(super) async fn receive(fixture: &impl Fixture<Ports: Queue>, limit: usize) -> Vec<Received> {
    let received = fixture.ports().receive(limit, fixture.now()).await;
    received.expect("receive")
}

pub(super) async fn delete(fixture: &impl Fixture<Ports: Queue>, received: &[Received]) {
    let deleted = fixture.ports().delete(&receipts(received)).await;
    deleted.expect("delete");
}

/// Makes received messages visible after so many milliseconds.
pub(super) async fn hide(fixture: &impl Fixture<Ports: Queue>, received: &[Received], ms: i64) {
    let until = fixture.now().plus_ms(ms);
    let hidden = fixture.ports().hide_until(&receipts(received), until).await;
    hidden.expect("hide until");
}

pub(super) fn receipts(received: &[Received]) -> Vec<Receipt> {
    received.iter().map(|one| one.receipt.clone()).collect()
}

/// The ids of the events that were received.
pub(super) fn ids(received: &[Received]) -> Vec<&str> {
    received
        .iter()
        .flat_map(|one| &one.message.entries)
        .map(|entry| entry.event.id.as_str())
        .collect()
}

/// Messages of one event each, by the events' ids; the place is the deduplication id.
pub(super) fn messages(group: &Group, ids: &[&str]) -> Vec<Message> {
    let base = u128::from(group.hash().unsigned_abs());
    let numbered = (base..).zip(ids);
    numbered
        .map(|(number, id)| message(group, number, from_ref(id)))
        .collect()
}

/// Handles all there is, so many at a time, and says in which order it came.
pub(super) async fn drain(fixture: &impl Fixture<Ports: Queue>, limit: usize) -> Vec<String> {
    let mut came = Vec::new();
    loop {
        let received = receive(fixture, limit).await;
        if received.is_empty() {
            return came;
        }
        came.extend(ids(&received).iter().map(ToString::to_string));
        delete(fixture, &received).await;
        assert!(came.len() < 10_000, "the queue has no end");
    }
}

async fn messages_come_back_as_they_were(fixture: &mut impl Fixture<Ports: Queue>) {
    for (group, deduplication_id) in [
        (group("acme", "lead-1"), u128::MAX),
        (group("Ünï", "名前 \u{1f600}/#%_'"), 0),
    ] {
        let sent = Message {
            deduplication_id,
            entries: every_shape(&group),
            group,
        };
        let before = fixture.now();
        send(fixture, from_ref(&sent)).await;
        let after = fixture.now();
        let received = receive(fixture, 10).await;
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].message, sent);
        assert_eq!(received[0].receives, 1);
        assert!((before..=after).contains(&received[0].sent));
    }
}

async fn an_empty_queue_gives_nothing(fixture: &mut impl Fixture<Ports: Queue>) {
    send(fixture, &[]).await;
    assert_eq!(receive(fixture, 10).await, []);
    assert_eq!(counts(fixture).await, (0, 0, 0));
}

async fn a_group_is_first_in_first_out(fixture: &mut impl Fixture<Ports: Queue>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    let ones = messages(&one, &["9", "1", "5", "3", "7"]);
    let twos = messages(&two, &["b", "a", "c"]);
    send(
        fixture,
        &[ones[0].clone(), twos[0].clone(), ones[1].clone()],
    )
    .await;
    fixture.pass(MARGIN_MS).await;
    send(fixture, &[twos[1].clone(), ones[2].clone()]).await;
    let mut came = drain(fixture, 1).await;
    send(fixture, &ones[3..]).await;
    send(fixture, &twos[2..]).await;
    came.extend(drain(fixture, 2).await);
    let (letters, digits): (Vec<_>, Vec<_>) = came
        .into_iter()
        .partition(|id| id.chars().all(char::is_alphabetic));
    assert_eq!(digits, ["9", "1", "5", "3", "7"]);
    assert_eq!(letters, ["b", "a", "c"]);
}

async fn many_messages_go_in_one_send(fixture: &mut impl Fixture<Ports: Queue>) {
    let names: Vec<String> = (0..120).map(|i| format!("{i:03}")).collect();
    let mut all = Vec::new();
    for place in 0..4 {
        let group = group("acme", &format!("lead-{place}"));
        let own: Vec<&str> = names
            .iter()
            .skip(place)
            .step_by(4)
            .map(String::as_str)
            .collect();
        all.extend(messages(&group, &own));
    }
    send(fixture, &all).await;
    let came = drain(fixture, 50).await;
    for place in 0..4 {
        let own: Vec<&String> = names.iter().skip(place).step_by(4).collect();
        let came: Vec<&String> = came.iter().filter(|id| own.contains(id)).collect();
        assert_eq!(came, own, "group {place}");
    }
    assert_eq!(came.len(), names.len(), "each once");
}

async fn a_batch_may_hold_several_of_a_group_in_order(fixture: &mut impl Fixture<Ports: Queue>) {
    let group = group("acme", "lead-1");
    send(fixture, &messages(&group, &["c", "a", "b"])).await;
    let received = receive(fixture, 10).await;
    assert_eq!(["c", "a", "b"][..received.len()], ids(&received));
    assert!(!received.is_empty());
    delete(fixture, &received).await;
    let rest = drain(fixture, 10).await;
    assert_eq!(["c", "a", "b"][received.len()..], rest);
}

async fn one_batch_of_a_group_is_in_flight(fixture: &mut impl Fixture<Ports: Queue>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    send(fixture, &messages(&one, &["1", "2"])).await;
    let first = receive(fixture, 1).await;
    assert_eq!(ids(&first), ["1"]);
    assert_eq!(receive(fixture, 10).await, [], "the group is in flight");
    send(fixture, &messages(&two, &["a"])).await;
    let second = receive(fixture, 10).await;
    assert_eq!(ids(&second), ["a"], "another group goes on");
    delete(fixture, &second).await;
    assert_eq!(
        receive(fixture, 10).await,
        [],
        "the first is still in flight"
    );
    delete(fixture, &first).await;
    assert_eq!(ids(&receive(fixture, 10).await), ["2"]);
}

/// Receives one group's `1` and `2` in one batch, with `3` behind.
async fn two_in_flight(fixture: &impl Fixture<Ports: Queue>) -> Vec<Received> {
    send(
        fixture,
        &messages(&group("acme", "lead-1"), &["1", "2", "3"]),
    )
    .await;
    let received = receive(fixture, 2).await;
    assert_eq!(ids(&received), ["1", "2"]);
    received
}

async fn a_part_of_a_batch_keeps_its_group_back(fixture: &mut impl Fixture<Ports: Queue>) {
    let both = two_in_flight(fixture).await;
    delete(fixture, &both[..1]).await;
    assert_eq!(receive(fixture, 10).await, [], "2 is in flight");
    delete(fixture, &both[1..]).await;
    assert_eq!(drain(fixture, 10).await, ["3"]);
}

/// A batch whose end was done first, as a partial batch failure reports it.
async fn a_released_part_waits_for_the_rest(fixture: &mut impl Fixture<Ports: Queue>) {
    let both = two_in_flight(fixture).await;
    hide(fixture, &both[..1], 0).await;
    assert_eq!(receive(fixture, 10).await, [], "2 is in flight");
    hide(fixture, &both[1..], 0).await;
    assert_eq!(drain(fixture, 1).await, ["1", "2", "3"]);
}

async fn groups_do_not_run_together(fixture: &mut impl Fixture<Ports: Queue>) {
    let alike = [
        group("ab", "c"),
        group("a", "bc"),
        group("a", "b#c"),
        group("A", "bc"),
    ];
    for (group, id) in alike.iter().zip(["1", "2", "3", "4"]) {
        send(fixture, &messages(group, &[id])).await;
        assert_eq!(
            ids(&receive(fixture, 10).await),
            [id],
            "others are in flight"
        );
    }
}

/// SQS takes ids of 128 characters at most.
async fn long_keys_make_groups_like_others(fixture: &mut impl Fixture<Ports: Queue>) {
    let long = "k".repeat(199);
    let (one, two) = (format!("{long}1"), format!("{long}2"));
    let (one, two) = (group("acme", &one), group("acme", &two));
    send(fixture, &messages(&one, &["1", "2"])).await;
    send(fixture, &messages(&two, &["a"])).await;
    let first = receive(fixture, 1).await;
    assert_eq!(ids(&first), ["1"]);
    assert_eq!(first[0].message.group, one);
    let second = receive(fixture, 10).await;
    assert_eq!(ids(&second), ["a"], "2 waits for 1, and a for neither");
    assert_eq!(second[0].message.group, two);
    delete(fixture, &first).await;
    delete(fixture, &second).await;
    assert_eq!(drain(fixture, 10).await, ["2"]);
}

/// A long backlog of one group, none of which is done, and then others' messages.
async fn a_hot_group_starves_nobody(fixture: &mut impl Fixture<Ports: Queue>) {
    const BACKLOG: usize = 300;
    let hot = group("acme", "hot");
    let numbers: Vec<String> = (0..BACKLOG).map(|number| number.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    send(fixture, &messages(&hot, &numbers)).await;
    for (key, id) in [("cold", "a"), ("colder", "b")] {
        send(fixture, &messages(&group("globex", key), &[id])).await;
    }
    let first = receive(fixture, 10).await;
    let mut others: Vec<String> = Vec::new();
    let cold = |received: &[Received]| -> Vec<String> {
        let others = received.iter().filter(|one| one.message.group != hot);
        let others = others.flat_map(|one| &one.message.entries);
        others.map(|entry| entry.event.id.to_string()).collect()
    };
    others.extend(cold(&first));
    others.extend(cold(&receive(fixture, 10).await));
    others.sort_unstable();
    assert_eq!(others, ["a", "b"], "behind {BACKLOG} of which none is done");
}

async fn no_more_come_than_asked_for(fixture: &mut impl Fixture<Ports: Queue>) {
    for i in 0..7 {
        let group = group("acme", &format!("lead-{i}"));
        send(fixture, &messages(&group, &["1", "2"])).await;
    }
    let mut count = 0;
    for limit in [1, 3, 2] {
        let received = receive(fixture, limit).await;
        assert!(
            (1..=limit).contains(&received.len()),
            "{} of {limit}",
            received.len()
        );
        delete(fixture, &received).await;
        count += received.len();
    }
    assert_eq!(count + drain(fixture, 3).await.len(), 14);
}

async fn deleted_messages_are_gone(fixture: &mut impl Fixture<Ports: Queue>) {
    send(fixture, &messages(&group("acme", "lead-1"), &["1", "2"])).await;
    assert_eq!(drain(fixture, 1).await, ["1", "2"]);
    fixture.pass(visibility_passed(fixture)).await;
    assert_eq!(receive(fixture, 10).await, []);
}

/// Milliseconds after which what was received now is visible again.
pub(super) fn visibility_passed<F: Fixture>(_fixture: &F) -> i64 {
    F::VISIBILITY_MS + MARGIN_MS
}

async fn depth_counts(fixture: &mut impl Fixture<Ports: Queue>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    send(fixture, &messages(&one, &["1", "2"])).await;
    send(fixture, &messages(&two, &["a"])).await;
    let letter = (message(&one, 99, &["x"]), "why".to_owned());
    fixture
        .ports()
        .park(&[letter], fixture.now())
        .await
        .expect("park");
    assert_eq!(counts(fixture).await, (3, 0, 1));
    let first = receive(fixture, 1).await;
    assert_eq!(counts(fixture).await, (2, 1, 1));
    delete(fixture, &first).await;
    assert_eq!(counts(fixture).await, (2, 0, 1));
    let mut rest = receive(fixture, 1).await;
    rest.extend(receive(fixture, 1).await);
    assert_eq!(counts(fixture).await, (0, 2, 1));
    fixture.pass(visibility_passed(fixture)).await;
    assert_eq!(counts(fixture).await, (2, 0, 1));
}

/// How many messages are visible, in flight and dead.
pub(super) async fn counts(fixture: &impl Fixture<Ports: Queue>) -> (u64, u64, u64) {
    let depth = fixture.ports().depth(fixture.now()).await;
    let Depth {
        visible,
        in_flight,
        dead,
    } = depth.expect("depth");
    (visible, in_flight, dead)
}

async fn messages_survive_reopening(fixture: &mut impl Fixture<Ports: Queue>) {
    let group = group("acme", "lead-1");
    let sent = messages(&group, &["1", "2", "3"]);
    send(fixture, &sent).await;
    let first = receive(fixture, 1).await;
    delete(fixture, &first).await;
    let letter = (message(&group, 99, &["x"]), "why".to_owned());
    fixture
        .ports()
        .park(&[letter], fixture.now())
        .await
        .expect("park");
    fixture.reopen().await;
    assert_eq!(counts(fixture).await, (2, 0, 1));
    send(fixture, &sent).await;
    assert_eq!(
        drain(fixture, 1).await,
        ["2", "3"],
        "the window is remembered"
    );
}
