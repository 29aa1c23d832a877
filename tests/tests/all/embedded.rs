//! What the embedded store promises beyond the ports: one writer, many readers, units of work.

use std::error::Error as _;
use std::path::Path;
use std::slice::from_ref;

use foldback_tests::fixtures::{
    addition, at, count, counted, group, lead, lead_key, message, plain, write,
};
use pollster::block_on;
use shared::adapters::embedded::{Embedded, FILE_NAME, QueueLimits};
use shared::model::Timestamp;
use shared::ports::Appended::{Duplicate, New};
use shared::ports::{
    Added, ErrorKind, Journal, Lease, LockKey, Locks, Partition, Queue, Reading, Tables,
};

fn open(directory: &Path) -> Embedded {
    Embedded::open(directory, QueueLimits::default()).expect("open")
}

/// What the caller should do about the failure to open, and the chain of reasons.
fn refusal(opened: Result<Embedded, shared::ports::Error>) -> (ErrorKind, String) {
    let error = opened.expect_err("refused");
    let source = error.source().expect("a reason").to_string();
    let shown = error.to_string();
    assert!(!shown.contains(&source), "the reason is told once: {shown}");
    (error.kind(), format!("{shown}: {source}"))
}

#[test]
fn a_second_writer_is_told_to_try_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = open(directory.path());
    let (kind, text) = refusal(Embedded::open(directory.path(), QueueLimits::default()));
    assert_eq!(kind, ErrorKind::Retry, "{text}");
    drop(first);
    open(directory.path());
}

#[test]
fn a_reader_needs_a_store() {
    let directory = tempfile::tempdir().expect("a directory");
    let (kind, text) = refusal(Embedded::open_to_read(directory.path()));
    assert_eq!(kind, ErrorKind::Reject, "{text}");
}

#[test]
fn a_file_that_is_no_database_is_corrupt_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(FILE_NAME);
    let text = "Dear diary, ".repeat(400);
    std::fs::write(&file, &text).expect("write");
    let (kind, shown) = refusal(Embedded::open(directory.path(), QueueLimits::default()));
    assert_eq!(kind, ErrorKind::Corrupt, "{shown}");
    let (kind, shown) = refusal(Embedded::open_to_read(directory.path()));
    assert_eq!(kind, ErrorKind::Corrupt, "{shown}");
    assert_eq!(std::fs::read_to_string(&file).expect("read"), text);
}

#[test]
fn a_reader_sees_what_a_writer_beside_it_has_committed() {
    let directory = tempfile::tempdir().expect("a directory");
    let writer = open(directory.path());
    let reader = Embedded::open_to_read(directory.path()).expect("open to read");
    let group = group("acme", "lead-1");
    let count = || {
        let entries = block_on(reader.entries(from_ref(&group))).expect("entries");
        entries[0].len()
    };
    block_on(writer.append(&[plain(&group, "1")])).expect("append");
    assert_eq!(count(), 1);
    writer.begin().expect("begin");
    block_on(writer.append(&[plain(&group, "2")])).expect("append");
    assert_eq!(count(), 1, "not yet committed");
    writer.commit().expect("commit");
    assert_eq!(count(), 2);
}

#[test]
fn a_reader_writes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()));
    let reader = Embedded::open_to_read(directory.path()).expect("open to read");
    let group = group("acme", "lead-1");
    assert!(block_on(reader.append(&[plain(&group, "1")])).is_err());
    assert!(block_on(reader.entries(&[group])).is_ok_and(|entries| entries[0].is_empty()));
}

/// One call of each port that writes, within one unit of work.
fn write_everywhere(store: &Embedded) {
    let group = group("acme", "lead-1");
    assert_eq!(
        block_on(store.append(&[plain(&group, "1")])).expect("append"),
        [New]
    );
    block_on(store.send(&[message(&group, 1, &["1"])], at(0))).expect("send");
    let letter = (message(&group, 2, &["x"]), "why".to_owned());
    block_on(store.park(&[letter], at(0))).expect("park");
    let insert = write(&lead_key(&group), None, lead(&group, "open"));
    block_on(Tables::commit(store, &[insert], &[], at(0))).expect("commit");
}

/// Entries, visible messages, dead letters, rows, groups.
fn contents(store: &Embedded) -> [usize; 5] {
    let group = group("acme", "lead-1");
    let depth = block_on(store.depth(at(0))).expect("depth");
    let lead = lead_key(&group);
    let small = |count: u64| usize::try_from(count).expect("small");
    [
        block_on(store.entries(&[group]))
            .expect("entries")
            .concat()
            .len(),
        small(depth.visible),
        small(depth.dead),
        block_on(store.read(&[lead], Reading::Row))
            .expect("read")
            .len(),
        block_on(store.groups(Partition::WHOLE, None, 10))
            .expect("groups")
            .len(),
    ]
}

#[test]
fn a_unit_of_work_takes_effect_whole_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    store.begin().expect("begin");
    write_everywhere(&store);
    store.roll_back();
    assert_eq!(contents(&store), [0; 5]);
    store.begin().expect("begin");
    write_everywhere(&store);
    assert_eq!(contents(&store), [1; 5], "it sees what it wrote");
    store.commit().expect("commit");
    drop(store);
    let store = open(directory.path());
    assert_eq!(contents(&store), [1; 5]);
    let again = block_on(store.append(&[plain(&group("acme", "lead-1"), "1")]));
    assert_eq!(again.expect("append"), [Duplicate]);
}

/// The unit goes on, so what came before the fault in the same call must not stay in it.
#[test]
fn additions_that_fail_leave_nothing_in_their_unit() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let key = lead_key(&group("acme", "lead-1"));
    let stored = || block_on(store.read(from_ref(&key), Reading::Row)).expect("read");
    store.begin().expect("begin");
    let wrong = addition(&key, 2, &[count("leadId", 1)]);
    let failed = block_on(store.add(&[counted(&key, 1), wrong], at(0)));
    assert!(failed.is_err_and(|error| error.kind() == ErrorKind::Corrupt));
    assert_eq!(stored(), []);
    let added = block_on(store.add(&[counted(&key, 1)], at(0)));
    assert_eq!(added.expect("add"), [Added::Done]);
    store.commit().expect("commit");
    assert_eq!(stored().len(), 1);
}

#[test]
fn a_unit_that_nobody_ended_is_gone_with_its_owner() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    store.begin().expect("begin");
    write_everywhere(&store);
    drop(store);
    assert_eq!(contents(&open(directory.path())), [0; 5]);
}

#[test]
fn units_do_not_nest() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    store.begin().expect("begin");
    assert!(store.begin().is_err());
    write_everywhere(&store);
    store.commit().expect("the unit that was open stays open");
    assert_eq!(contents(&store), [1; 5]);
}

/// The lock says that the owner is gone, so nobody else holds the receipt; and that it was killed is
/// not the message's fault.
#[test]
fn what_a_dead_owner_had_received_comes_again_and_the_receive_is_given_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let group = group("acme", "lead-1");
    let store = open(directory.path());
    block_on(store.send(&[message(&group, 1, &["1"])], at(0))).expect("send");
    drop(store);
    for _ in 0..10 {
        let store = open(directory.path());
        let received = block_on(store.receive(1, at(0))).expect("receive");
        assert_eq!(received.first().map(|one| one.receives), Some(1));
    }
    let store = open(directory.path());
    assert_eq!(block_on(store.depth(at(0))).expect("depth").dead, 0);
}

/// A lock that nobody has used for long goes, and its fences still grow.
#[test]
fn old_locks_are_forgotten() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let acquire = |name: &str, now: Timestamp| {
        let key = LockKey {
            tenant: "acme".into(),
            name: name.into(),
        };
        let acquired = block_on(store.acquire(&key, "one", 1_000, now));
        acquired.expect("acquire").expect("a lease")
    };
    let database = rusqlite::Connection::open(directory.path().join(FILE_NAME)).expect("the file");
    let count = || -> i64 {
        let count = database.query_row("SELECT count(*) FROM locks", [], |row| row.get(0));
        count.expect("a count")
    };
    let old = acquire("old", at(0));
    acquire("not so old", at(60));
    acquire("young", at(24 * 60));
    assert_eq!(count(), 3);
    let over = old.until.plus_ms(Lease::KEPT_MS);
    acquire("young", over.max(at(24 * 60 + 60)));
    assert_eq!(count(), 2, "the oldest is gone");
    assert!(acquire("old", over).fence > old.fence);
}
