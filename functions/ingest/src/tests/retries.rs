use std::sync::atomic::Ordering;

use shared::adapters::SystemClock;
use shared::model::Timestamp;
use shared::ports::{Error, ErrorKind, Partition, Queue};
use shared::service::{Mode, Parked, Replay, Scope, process};

use super::world::{NOW, World, batch, event};
use crate::{before, failed};

/// After which a deduplication id no longer counts.
const LATER: &str = "2026-03-01T09:40:00.000Z";

#[test]
fn a_failed_journal_takes_nothing_and_a_retry_takes_all() {
    let world = World::new();
    let sent = batch(&[event("1", "7", "{}"), event("2", "8", "{}")]);
    world.store.appends.store(1, Ordering::SeqCst);
    assert_eq!(
        world.send(&sent),
        "503 retry-after: 5 foldback:problem/try-again\nthe events could not all be taken just now; \
         send the same request again: what is journaled already is not journaled twice"
    );
    assert!(world.journal("acme", "7").is_empty());
    assert_eq!(world.send(&sent), r#"202 {"accepted":2,"duplicates":0}"#);
    assert_eq!(world.messages(NOW), ["acme#7 1", "acme#8 2"]);
}

/// The journal has the events, the queue has not: the retry finds duplicates and sends them all the
/// same.
#[test]
fn what_was_journaled_and_not_sent_is_sent_by_the_retry() {
    let world = World::new();
    let sent = batch(&[event("1", "7", "{}"), event("2", "8", "{}")]);
    world.store.sends.store(1, Ordering::SeqCst);
    assert!(world.send(&sent).starts_with("503 retry-after: 5 "));
    assert_eq!(world.journal("acme", "7"), ["1"]);
    assert!(world.messages(NOW).is_empty());
    assert_eq!(world.send(&sent), r#"202 {"accepted":0,"duplicates":2}"#);
    assert_eq!(world.messages(NOW), ["acme#7 1", "acme#8 2"]);
    // Sent once more, the queue drops them.
    assert_eq!(world.send(&sent), r#"202 {"accepted":0,"duplicates":2}"#);
    assert!(world.messages(NOW).is_empty());
    assert_eq!(world.journal("acme", "7"), ["1"]);
    assert!(world.messages(LATER).is_empty());
}

#[test]
fn a_store_that_can_never_take_it_says_so() {
    let mut world = World::new();
    world.store.kind = ErrorKind::Corrupt;
    world.store.sends.store(1, Ordering::SeqCst);
    assert_eq!(
        world.send(&batch(&[event("1", "7", "{}")])),
        "500 foldback:problem/failed\nthe request was not taken, because of a fault that its sender \
         can do nothing about; it is logged"
    );
}

#[test]
fn other_content_under_a_known_identity_is_named_and_the_rest_is_taken() {
    let world = World::new();
    let first = batch(&[event("1", "7", r#"{"a":1}"#)]);
    assert_eq!(world.send(&first), r#"202 {"accepted":1,"duplicates":0}"#);
    let second = [
        event("0", "7", "{}"),
        event("1", "7", r#"{"a":2}"#),
        event("2", "8", "{}"),
    ];
    assert_eq!(
        world.send(&batch(&second)),
        "409 foldback:problem/conflict\n1 of 3 events were not taken; the others are: 2 new, 0 known \
         before. To send the request again changes nothing\n1 conflict: source \"//crm\", id \"1\" is \
         journaled with other content, which stays; what happened anew needs an id of its own, and \
         what amends an event a higher revision"
    );
    assert_eq!(world.journal("acme", "7"), ["1", "0"]);
    assert_eq!(world.messages(NOW), ["acme#7 1", "acme#7 0", "acme#8 2"]);
}

/// Handles what is in the queue: how many events rows took in, how many came late, how many they held.
fn process_all(world: &World) -> (u64, usize, u64) {
    let now = Timestamp::parse(NOW).expect("a time");
    let store = &world.store.inner;
    pollster::block_on(async {
        let received = store.receive(100, now).await.expect("messages");
        let done = process(store, &SystemClock, &world.settings, &received).await;
        let done = done.expect("processed");
        (done.events, done.late.len(), done.held)
    })
}

/// Another event of the lead overtook the one whose message was lost; the retry brings it in.
#[test]
fn rows_are_right_after_a_retry_that_comes_late() {
    let world = World::new();
    let first = batch(&[event("1", "7", "{}")]);
    world.store.sends.store(1, Ordering::SeqCst);
    assert!(world.send(&first).starts_with("503 "));
    world.send(&batch(&[event("2", "7", "{}")]));
    assert_eq!(process_all(&world), (1, 0, 0));
    assert_eq!(world.send(&first), r#"202 {"accepted":0,"duplicates":1}"#);
    assert_eq!(process_all(&world), (1, 1, 0));
    let replay = Replay {
        ports: &world.store.inner,
        clock: &SystemClock,
        settings: &world.settings,
        parked: &Parked::new(),
        grace_ms: 0,
    };
    let scope = Scope::Partition(Partition::WHOLE, None);
    let found = |finding| panic!("{finding:?}");
    let replayed = pollster::block_on(replay.run(&scope, Mode::Report, found, |_| {}));
    let replayed = replayed.expect("replayed");
    assert_eq!((replayed.events, replayed.findings), (2, 0));
}

#[test]
fn a_function_without_settings_asks_to_try_again() {
    let status = |kind| failed(&Error::new(kind, "read the settings", "no")).status_code;
    assert_eq!(status(ErrorKind::Retry), 503);
    assert_eq!(status(ErrorKind::Corrupt), 500);
}

/// Whatever group an amendment names, or none, it stands in the journal of its event, and its message goes
/// there.
#[test]
fn amendments_and_withdrawals_go_where_their_event_is() {
    let world = World::new();
    let amends =
        |text: &str, revision: u32| text.replacen('{', &format!(r#"{{"revision":{revision},"#), 1);
    let withdrawal = r#"{"specversion":"1.0","id":"1","source":"//crm","type":"t","withdrawn":true,
        "time":"2026-03-01T09:29:00Z"}"#;
    let new = r#"202 {"accepted":1,"duplicates":0}"#;
    let known = r#"202 {"accepted":0,"duplicates":1}"#;
    let first = event("1", "7", r#"{"a":1}"#);
    let elsewhere = amends(&event("1", "8", r#"{"a":2}"#), 1);
    for (told, expect) in [
        (first.clone(), new),
        (elsewhere.clone(), new),
        (elsewhere, known),
        (amends(withdrawal, 2), new),
        (amends(withdrawal, 2), known),
        (first, known),
    ] {
        assert_eq!(
            world.send(&batch(std::slice::from_ref(&told))),
            expect,
            "{told}"
        );
    }
    assert_eq!(world.journal("acme", "7"), ["1", "1", "1"]);
    assert!(world.journal("acme", "8").is_empty());
    assert_eq!(world.messages(NOW), ["acme#7 1", "acme#7 1", "acme#7 1"]);
    let other = amends(&event("1", "8", r#"{"a":3}"#), 1);
    assert!(world.send(&batch(&[other])).starts_with("409 "));
    let alone = world.send(&batch(&[withdrawal.to_owned()]));
    assert!(
        alone.contains("withdrawn needs a revision above"),
        "{alone}"
    );
}

/// Lambda would answer 502 with a body of its own.
#[test]
fn a_function_whose_time_is_up_asks_to_try_again() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let now = Timestamp::parse(NOW).expect("a time");
    let deadline_ms = u64::try_from(now.ms()).expect("after 1970") + 1_010;
    let never = std::future::pending();
    let answer = runtime.block_on(before(deadline_ms, now, never));
    assert_eq!(answer.status_code, 503);
    let kind = answer.headers.get("content-type").expect("a type");
    assert_eq!(kind, "application/problem+json");
    assert!(answer.headers.contains_key("retry-after"));
    let ready = async { failed(&Error::new(ErrorKind::Corrupt, "read", "no")) };
    let answer = runtime.block_on(before(deadline_ms, now, ready));
    assert_eq!(answer.status_code, 500, "what is there in time is given");
}
