//! What every [`Queue`] must do with messages that are not handled: visibility, receipts, dead
//! letters.

use std::slice::from_ref;

use shared::model::{Group, Timestamp};
use shared::ports::{Letter, Message, Queue, Received};

use super::queue::{counts, delete, drain, hide, ids, messages, receive, send, visibility_passed};
use super::{Fixture, MARGIN_MS};
use crate::fixtures::{every_shape, group, message};

suite! { $ queue_failures_suite, queue_failures: Queue;
    an_unfinished_message_comes_again,
    an_unfinished_batch_comes_again_in_order,
    a_stale_receipt_deletes_nothing,
    a_stale_receipt_hides_nothing,
    a_released_message_comes_at_once,
    a_message_can_be_hidden_for_longer,
    an_unknown_receipt_does_nothing,
    a_spent_message_is_a_dead_letter_and_its_group_goes_on,
    a_spent_message_counts_its_own_receives,
    releasing_counts_as_a_receive,
    dead_letters_do_not_come_again,
    parked_letters_keep_message_and_reason,
    dead_letters_are_paged,
    redriven_letters_are_delivered,
    a_redriven_letter_can_be_spent_again,
    letters_that_are_gone_are_passed_over,
    redriven_letters_of_a_group_keep_their_order,
    discarded_letters_are_gone,
    letters_that_are_gone_are_not_discarded,
}

fn lead() -> Group {
    group("acme", "lead-1")
}

async fn letters(fixture: &impl Fixture<Ports: Queue>, after: u128, limit: usize) -> Vec<Letter> {
    let letters = fixture.ports().dead_letters(after, limit).await;
    letters.expect("dead letters")
}

async fn park(fixture: &impl Fixture<Ports: Queue>, message: &Message, reason: &str) {
    let letters = [(message.clone(), reason.to_owned())];
    let parked = fixture.ports().park(&letters, fixture.now()).await;
    parked.expect("park");
}

async fn redrive(fixture: &impl Fixture<Ports: Queue>, letters: &[u128]) -> u64 {
    let redriven = fixture.ports().redrive(letters, fixture.now()).await;
    redriven.expect("redrive")
}

async fn discard(fixture: &impl Fixture<Ports: Queue>, letters: &[u128]) -> u64 {
    let discarded = fixture.ports().discard(letters).await;
    discarded.expect("discard")
}

/// The numbers of all dead letters.
async fn numbers(fixture: &impl Fixture<Ports: Queue>) -> Vec<u128> {
    let dead = letters(fixture, 0, 10).await;
    dead.iter().map(|letter| letter.id).collect()
}

/// Receives one message and leaves it until it is visible again, so many times.
async fn fail<F: Fixture<Ports: Queue>>(fixture: &mut F, id: &str, times: u32) {
    for receives in 1..=times {
        let received = receive(fixture, 1).await;
        assert_eq!(ids(&received), [id], "receive {receives}");
        assert_eq!(received[0].receives, receives);
        fixture.pass(visibility_passed(fixture)).await;
    }
}

async fn an_unfinished_message_comes_again<F: Fixture<Ports: Queue>>(fixture: &mut F) {
    send(fixture, &messages(&lead(), &["1", "2"])).await;
    let first = receive(fixture, 1).await;
    fixture.pass(F::VISIBILITY_MS / 2).await;
    assert_eq!(receive(fixture, 10).await, [], "hidden");
    fixture.pass(F::VISIBILITY_MS / 2 + MARGIN_MS).await;
    let again = receive(fixture, 1).await;
    assert_eq!(again.len(), 1);
    assert_eq!(
        (again[0].receives, &again[0].message),
        (2, &first[0].message)
    );
    assert_eq!(again[0].sent, first[0].sent);
    delete(fixture, &again).await;
    assert_eq!(drain(fixture, 1).await, ["2"]);
}

async fn an_unfinished_batch_comes_again_in_order(fixture: &mut impl Fixture<Ports: Queue>) {
    send(fixture, &messages(&lead(), &["1", "2", "3"])).await;
    receive(fixture, 2).await;
    send(fixture, &messages(&group("acme", "lead-2"), &["a"])).await;
    fixture.pass(visibility_passed(fixture)).await;
    let mut came = drain(fixture, 2).await;
    came.retain(|id| id != "a");
    assert_eq!(came, ["1", "2", "3"]);
}

/// A worker that was given up for dead must not take away what another one has in hand.
async fn a_stale_receipt_deletes_nothing(fixture: &mut impl Fixture<Ports: Queue>) {
    send(fixture, &messages(&lead(), &["1", "2"])).await;
    let stale = receive(fixture, 1).await;
    fixture.pass(visibility_passed(fixture)).await;
    let current = receive(fixture, 1).await;
    assert_ne!(stale[0].receipt, current[0].receipt);
    delete(fixture, &stale).await;
    assert_eq!(counts(fixture).await.1, 1);
    fixture.pass(visibility_passed(fixture)).await;
    let again = receive(fixture, 1).await;
    assert_eq!((ids(&again), again[0].receives), (vec!["1"], 3));
    delete(fixture, &again).await;
    assert_eq!(drain(fixture, 1).await, ["2"]);
}

async fn a_stale_receipt_hides_nothing(fixture: &mut impl Fixture<Ports: Queue>) {
    send(fixture, &messages(&lead(), &["1"])).await;
    let stale = receive(fixture, 1).await;
    fixture.pass(visibility_passed(fixture)).await;
    let current = receive(fixture, 1).await;
    hide(fixture, &stale, 0).await;
    assert_eq!(
        receive(fixture, 1).await,
        [],
        "the current receive holds it"
    );
    hide(fixture, &current, 0).await;
    hide(fixture, &stale, 4 * visibility_passed(fixture)).await;
    assert_eq!(ids(&receive(fixture, 1).await), ["1"]);
}

async fn a_released_message_comes_at_once(fixture: &mut impl Fixture<Ports: Queue>) {
    send(fixture, &messages(&lead(), &["1", "2"])).await;
    for (receives, ms) in [(1, 0), (2, -MARGIN_MS)] {
        let received = receive(fixture, 1).await;
        assert_eq!(
            (ids(&received), received[0].receives),
            (vec!["1"], receives)
        );
        assert_eq!(receive(fixture, 1).await, []);
        hide(fixture, &received, ms).await;
    }
    assert_eq!(drain(fixture, 1).await, ["1", "2"]);
}

async fn a_message_can_be_hidden_for_longer(fixture: &mut impl Fixture<Ports: Queue>) {
    send(fixture, &messages(&lead(), &["1", "2"])).await;
    let received = receive(fixture, 1).await;
    hide(fixture, &received, 3 * visibility_passed(fixture)).await;
    fixture.pass(2 * visibility_passed(fixture)).await;
    assert_eq!(
        receive(fixture, 10).await,
        [],
        "hidden, and its group with it"
    );
    assert_eq!(counts(fixture).await.1, 1);
    fixture.pass(visibility_passed(fixture) + MARGIN_MS).await;
    let again = receive(fixture, 1).await;
    assert_eq!((ids(&again), again[0].receives), (vec!["1"], 2));
}

async fn an_unknown_receipt_does_nothing(fixture: &mut impl Fixture<Ports: Queue>) {
    send(fixture, &messages(&lead(), &["1"])).await;
    let received = receive(fixture, 1).await;
    delete(fixture, &received).await;
    delete(fixture, &received).await;
    hide(fixture, &received, 0).await;
    assert_eq!(receive(fixture, 10).await, []);
    send(fixture, &[message(&lead(), 2, &["2"])]).await;
    let next = receive(fixture, 1).await;
    delete(fixture, &received).await;
    hide(fixture, &received, 0).await;
    assert_eq!(
        receive(fixture, 1).await,
        [],
        "the old receipt fits no other message"
    );
    hide(fixture, &next, 0).await;
    assert_eq!(drain(fixture, 1).await, ["2"]);
}

async fn a_spent_message_is_a_dead_letter_and_its_group_goes_on<F: Fixture<Ports: Queue>>(
    fixture: &mut F,
) {
    let sent = messages(&lead(), &["poison", "2", "3"]);
    let other = messages(&group("acme", "lead-2"), &["a"]);
    send(fixture, &sent).await;
    fail(fixture, "poison", F::RECEIVES_MAX).await;
    send(fixture, &other).await;
    let before = if F::LETTERS_SAY_WHEN {
        fixture.now()
    } else {
        Timestamp::MIN
    };
    let mut came = drain(fixture, 1).await;
    came.retain(|id| id != "a");
    assert_eq!(came, ["2", "3"]);
    let letters = letters(fixture, 0, 10).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message, sent[0]);
    assert_eq!(letters[0].receives, F::RECEIVES_MAX);
    assert!((before..=fixture.now()).contains(&letters[0].at));
    assert!(!letters[0].reason.is_empty());
}

/// Later messages of the group wait for the spent one; that must not spend them too.
async fn a_spent_message_counts_its_own_receives<F: Fixture<Ports: Queue>>(fixture: &mut F) {
    send(fixture, &messages(&lead(), &["poison", "2"])).await;
    fail(fixture, "poison", F::RECEIVES_MAX).await;
    let next: Vec<Received> = receive(fixture, 10).await;
    assert_eq!((ids(&next), next[0].receives), (vec!["2"], 1));
}

async fn releasing_counts_as_a_receive<F: Fixture<Ports: Queue>>(fixture: &mut F) {
    send(fixture, &messages(&lead(), &["poison"])).await;
    for receives in 1..=F::RECEIVES_MAX {
        let received = receive(fixture, 1).await;
        assert_eq!(received[0].receives, receives);
        hide(fixture, &received, 0).await;
    }
    assert_eq!(receive(fixture, 1).await, []);
    assert_eq!(letters(fixture, 0, 10).await.len(), 1);
}

async fn dead_letters_do_not_come_again<F: Fixture<Ports: Queue>>(fixture: &mut F) {
    let sent = messages(&lead(), &["poison"]);
    send(fixture, &sent).await;
    fail(fixture, "poison", F::RECEIVES_MAX).await;
    for _look in 0..3 {
        assert_eq!(receive(fixture, 10).await, []);
        fixture.pass(visibility_passed(fixture)).await;
    }
    assert_eq!(letters(fixture, 0, 10).await.len(), 1, "once");
    assert_eq!(counts(fixture).await, (0, 0, 1));
}

async fn parked_letters_keep_message_and_reason(fixture: &mut impl Fixture<Ports: Queue>) {
    let parked = Message {
        group: lead(),
        deduplication_id: u128::MAX,
        entries: every_shape(&lead()),
    };
    let reason = "amount: \"12x\" is not a decimal number; 名前 '\n";
    let before = fixture.now();
    park(fixture, &parked, reason).await;
    let letters = letters(fixture, 0, 10).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].reason.as_str(), &letters[0].message),
        (reason, &parked)
    );
    assert!((before..=fixture.now()).contains(&letters[0].at));
    assert_eq!(
        receive(fixture, 10).await,
        [],
        "a parked message is not sent"
    );
}

async fn dead_letters_are_paged(fixture: &mut impl Fixture<Ports: Queue>) {
    let names: Vec<String> = (0..9).map(|i| format!("letter-{i}")).collect();
    for (place, name) in names.iter().enumerate() {
        let group = group("acme", &format!("lead-{}", place % 2));
        park(fixture, &message(&group, place as u128, &[name]), name).await;
    }
    for limit in [1, 3, 4, 9, 20] {
        let mut paged: Vec<Letter> = Vec::new();
        loop {
            let after = paged.last().map_or(0, |letter| letter.id);
            let page = letters(fixture, after, limit).await;
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
            assert!(paged.len() <= names.len(), "pages of {limit} overlap");
        }
        assert!(paged.is_sorted_by(|a, b| a.id < b.id));
        let reasons: Vec<&String> = paged.iter().map(|letter| &letter.reason).collect();
        assert!(
            reasons.iter().copied().eq(&names),
            "pages of {limit}: {reasons:?}"
        );
    }
}

/// Redriving is a new send by intent: no window may swallow it.
async fn redriven_letters_are_delivered<F: Fixture<Ports: Queue>>(fixture: &mut F) {
    let sent = messages(&lead(), &["poison"]);
    send(fixture, &sent).await;
    fail(fixture, "poison", F::RECEIVES_MAX).await;
    assert_eq!(receive(fixture, 10).await, []);
    park(
        fixture,
        &message(&group("acme", "lead-2"), 55, &["parked"]),
        "why",
    )
    .await;
    let dead = letters(fixture, 0, 10).await;
    let dead: Vec<u128> = dead.iter().map(|letter| letter.id).collect();
    assert_eq!(redrive(fixture, &dead).await, 2);
    assert_eq!(letters(fixture, 0, 10).await, []);
    let received = receive(fixture, 10).await;
    let mut came = ids(&received);
    came.sort_unstable();
    assert_eq!(came, ["parked", "poison"]);
    assert!(received.iter().all(|one| one.receives == 1), "counted anew");
    let poison = received.iter().find(|one| one.message.group == lead());
    assert_eq!(poison.map(|one| &one.message), sent.first());
    delete(fixture, &received).await;
    assert_eq!(receive(fixture, 10).await, []);
}

async fn a_redriven_letter_can_be_spent_again<F: Fixture<Ports: Queue>>(fixture: &mut F) {
    send(fixture, &messages(&lead(), &["poison"])).await;
    for _round in 0..2 {
        fail(fixture, "poison", F::RECEIVES_MAX).await;
        assert_eq!(receive(fixture, 10).await, []);
        let dead = letters(fixture, 0, 10).await;
        assert_eq!(dead.len(), 1);
        assert_eq!(redrive(fixture, &[dead[0].id]).await, 1);
    }
    assert_eq!(drain(fixture, 1).await, ["poison"]);
}

async fn letters_that_are_gone_are_passed_over(fixture: &mut impl Fixture<Ports: Queue>) {
    assert_eq!(redrive(fixture, &[1, u128::MAX]).await, 0);
    for (deduplication_id, id) in [(1, "1"), (2, "2"), (3, "3")] {
        park(fixture, &message(&lead(), deduplication_id, &[id]), "why").await;
    }
    let dead: Vec<u128> = letters(fixture, 0, 10)
        .await
        .iter()
        .map(|letter| letter.id)
        .collect();
    assert_eq!(redrive(fixture, &[dead[1], dead[1], u128::MAX]).await, 1);
    assert_eq!(redrive(fixture, from_ref(&dead[1])).await, 0);
    assert_eq!(drain(fixture, 10).await, ["2"]);
    let left: Vec<u128> = letters(fixture, 0, 10)
        .await
        .iter()
        .map(|letter| letter.id)
        .collect();
    assert_eq!(left, [dead[0], dead[2]]);
}

async fn redriven_letters_of_a_group_keep_their_order(fixture: &mut impl Fixture<Ports: Queue>) {
    for (deduplication_id, id) in [(1, "1"), (2, "2"), (3, "3")] {
        park(fixture, &message(&lead(), deduplication_id, &[id]), "why").await;
    }
    send(fixture, &messages(&lead(), &["sent before"])).await;
    let dead: Vec<u128> = letters(fixture, 0, 10)
        .await
        .iter()
        .map(|letter| letter.id)
        .collect();
    assert_eq!(redrive(fixture, &dead).await, 3);
    assert_eq!(drain(fixture, 1).await, ["sent before", "1", "2", "3"]);
}

async fn discarded_letters_are_gone<F: Fixture<Ports: Queue>>(fixture: &mut F) {
    send(fixture, &messages(&lead(), &["poison", "2"])).await;
    fail(fixture, "poison", F::RECEIVES_MAX).await;
    assert_eq!(drain(fixture, 1).await, ["2"]);
    for (deduplication_id, id) in [(11, "a"), (12, "b")] {
        park(fixture, &message(&lead(), deduplication_id, &[id]), "why").await;
    }
    let dead = letters(fixture, 0, 10).await;
    assert_eq!(dead.len(), 3);
    // Letters of one group alone have an order; where the queue numbers them, "a" may come first.
    let is_kept = |letter: &Letter| letter.message.entries.iter().all(|one| one.event.id == "a");
    let (kept, gone): (Vec<Letter>, Vec<Letter>) = dead.into_iter().partition(is_kept);
    let kept: Vec<u128> = kept.iter().map(|letter| letter.id).collect();
    let gone: Vec<u128> = gone.iter().map(|letter| letter.id).collect();
    assert_eq!(discard(fixture, &gone).await, 2);
    assert_eq!(numbers(fixture).await, kept, "the other one stays");
    assert_eq!(redrive(fixture, &gone).await, 0);
    assert_eq!(counts(fixture).await, (0, 0, 1));
    fixture.reopen().await;
    assert_eq!(numbers(fixture).await, kept, "for good");
    assert_eq!(receive(fixture, 10).await, []);
    assert_eq!(redrive(fixture, &kept).await, 1);
    assert_eq!(drain(fixture, 1).await, ["a"]);
}

async fn letters_that_are_gone_are_not_discarded(fixture: &mut impl Fixture<Ports: Queue>) {
    assert_eq!(discard(fixture, &[]).await, 0);
    assert_eq!(discard(fixture, &[1, u128::MAX]).await, 0);
    for (deduplication_id, id) in [(1, "1"), (2, "2"), (3, "3")] {
        park(fixture, &message(&lead(), deduplication_id, &[id]), "why").await;
    }
    let dead = numbers(fixture).await;
    assert_eq!(redrive(fixture, from_ref(&dead[0])).await, 1);
    assert_eq!(discard(fixture, &dead[..1]).await, 0, "it was sent back");
    assert_eq!(
        discard(fixture, &[dead[1], dead[1]]).await,
        1,
        "named twice"
    );
    assert_eq!(discard(fixture, from_ref(&dead[1])).await, 0);
    assert_eq!(numbers(fixture).await, [dead[2]]);
    assert_eq!(drain(fixture, 1).await, ["1"]);
}
