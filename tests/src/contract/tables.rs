//! What every [`Tables`] must do with conditional writes.
//!
//! What is read is in [`tables_reading`](super::tables_reading) and
//! [`conversions`](super::conversions), histories in [`tables_history`](super::tables_history).

use std::collections::BTreeSet;
use std::slice::from_ref;
use std::sync::Arc;

use shared::flow::{RowKey, Stored, Write};
use shared::handlers::Table;
use shared::model::{Entry, Group, GroupKind};
use shared::ports::Committed::{Conflict, Done};
use shared::ports::{Committed, Reading, Tables};

use super::Fixture;
use crate::fixtures::{at, group, handle, happened, lead, lead_key, settings, taking_away, write};

suite! { $ tables_suite, tables: Tables;
    rows_of_every_table_come_back_as_they_were,
    a_row_is_inserted_once,
    an_update_needs_the_version,
    an_update_of_no_row_writes_none,
    a_delete_needs_the_version,
    a_deleted_row_can_be_made_anew,
    each_write_is_answered_on_its_own,
    writes_of_one_row_in_one_commit_follow_each_other,
    many_rows_go_in_one_commit,
    rows_survive_reopening,
    a_smaller_fence_than_the_row_has_seen_is_refused,
    a_row_keeps_its_fence_when_nobody_locks_it,
}

pub(super) async fn commit(
    fixture: &impl Fixture<Ports: Tables>,
    writes: &[Write],
) -> Vec<Committed> {
    let committed = fixture.ports().commit(writes, &[], fixture.now()).await;
    committed.expect("commit")
}

/// Commits writes that must all succeed.
pub(super) async fn commit_all(fixture: &impl Fixture<Ports: Tables>, writes: &[Write]) {
    assert_eq!(commit(fixture, writes).await, vec![Done; writes.len()]);
}

pub(super) async fn read(fixture: &impl Fixture<Ports: Tables>, key: &RowKey) -> Option<Stored> {
    let read = fixture
        .ports()
        .read(from_ref(key), Reading::WithHistory)
        .await;
    let mut read = read.expect("read");
    assert!(read.len() <= 1, "one key, {} rows", read.len());
    read.pop()
}

/// The stage of a lead, with its version.
pub(super) async fn stage(
    fixture: &impl Fixture<Ports: Tables>,
    key: &RowKey,
) -> Option<(String, u64)> {
    let stored = read(fixture, key).await?;
    let body: serde_json::Value = serde_json::from_str(&stored.row.body()).expect("JSON");
    Some((body["stage"].as_str()?.to_owned(), stored.trail.version))
}

pub(super) fn one() -> Group {
    group("acme", "lead-1")
}

/// What a store should hold after `write`, which must put a row.
pub(super) fn as_stored(write: &Write) -> Stored {
    let put = write.put.as_ref().expect("a row");
    Stored {
        key: write.key.clone(),
        row: put.row.clone(),
        readable: true,
        trail: put.trail.clone(),
        history: put.row.versions().map(<[_]>::to_vec),
    }
}

fn first_events(group: &Group) -> [Arc<Entry>; 3] {
    [
        happened(group, 0, "lead.created"),
        happened(group, 5, "appointment.scheduled"),
        happened(group, 9, "appointment.completed"),
    ]
}

/// What live handling writes for a lead's first events: rows of all of a lead's tables.
pub(super) fn rows_of_a_lead(group: &Group) -> Vec<Write> {
    let writes = handle(&settings(), group, &[], &[], &first_events(group));
    let of_lead = Table::ALL
        .iter()
        .filter(|table| table.lives_in(GroupKind::Lead));
    assert_eq!(writes.len(), of_lead.count(), "one row of each table");
    writes
}

/// The same, and what is written for the days of which those events are stated to count.
pub(super) fn rows_of_every_table(group: &Group) -> Vec<Write> {
    let mut writes = rows_of_a_lead(group);
    let day = Group::of_day(&group.tenant, at(0));
    let copy = |entry: &Arc<Entry>| Arc::new(entry.copy_to(&day, at(10)));
    let copies = first_events(group).each_ref().map(copy);
    writes.extend(handle(&settings(), &day, &[], &[], &copies));
    let tables: BTreeSet<Table> = writes.iter().map(|write| write.key.table).collect();
    assert_eq!(tables.len(), Table::COUNT, "one row of each table");
    writes
}

async fn rows_of_every_table_come_back_as_they_were(fixture: &mut impl Fixture<Ports: Tables>) {
    for group in [one(), group("globex", "名前 \u{1f600}/#%_'")] {
        let writes = rows_of_every_table(&group);
        commit_all(fixture, &writes).await;
        for write in &writes {
            assert_eq!(read(fixture, &write.key).await, Some(as_stored(write)));
        }
    }
}

async fn a_row_is_inserted_once(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    commit_all(fixture, &[write(&key, None, lead(&one(), "first"))]).await;
    let second = write(&key, None, lead(&one(), "second"));
    assert_eq!(commit(fixture, &[second]).await, [Conflict]);
    assert_eq!(stage(fixture, &key).await, Some(("first".into(), 1)));
}

async fn an_update_needs_the_version(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let update = |expected: u64, stage: &str| write(&key, Some(expected), lead(&one(), stage));
    commit_all(fixture, &[write(&key, None, lead(&one(), "first"))]).await;
    commit_all(fixture, &[update(1, "second")]).await;
    // Two that read version 2: the one that comes second has lost.
    commit_all(fixture, &[update(2, "third")]).await;
    for wrong in [0, 1, 2, 4] {
        assert_eq!(
            commit(fixture, &[update(wrong, "lost")]).await,
            [Conflict],
            "{wrong}"
        );
        assert_eq!(stage(fixture, &key).await, Some(("third".into(), 3)));
    }
}

async fn an_update_of_no_row_writes_none(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let updates = [
        write(&key, Some(1), lead(&one(), "lost")),
        taking_away(&key, 1),
    ];
    assert_eq!(commit(fixture, &updates).await, [Conflict; 2]);
    assert_eq!(read(fixture, &key).await, None);
}

async fn a_delete_needs_the_version(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    commit_all(fixture, &[write(&key, None, lead(&one(), "first"))]).await;
    commit_all(fixture, &[write(&key, Some(1), lead(&one(), "second"))]).await;
    for wrong in [1, 3] {
        assert_eq!(
            commit(fixture, &[taking_away(&key, wrong)]).await,
            [Conflict]
        );
        assert_eq!(stage(fixture, &key).await, Some(("second".into(), 2)));
    }
    commit_all(fixture, &[taking_away(&key, 2)]).await;
    assert_eq!(read(fixture, &key).await, None);
    assert_eq!(
        commit(fixture, &[taking_away(&key, 2)]).await,
        [Conflict],
        "it is gone"
    );
}

async fn a_deleted_row_can_be_made_anew(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let insert = |stage: &str| write(&key, None, lead(&one(), stage));
    commit_all(
        fixture,
        &[insert("first"), taking_away(&key, 1), insert("anew")],
    )
    .await;
    assert_eq!(stage(fixture, &key).await, Some(("anew".into(), 1)));
}

/// Losing one race costs no other row its write.
async fn each_write_is_answered_on_its_own(fixture: &mut impl Fixture<Ports: Tables>) {
    let [one, two, three] = ["lead-1", "lead-2", "lead-3"].map(|key| group("acme", key));
    commit_all(
        fixture,
        &[write(&lead_key(&two), None, lead(&two, "there"))],
    )
    .await;
    let inserts = [&one, &two, &three].map(|g| write(&lead_key(g), None, lead(g, "new")));
    assert_eq!(commit(fixture, &inserts).await, [Done, Conflict, Done]);
    let mut stages = Vec::new();
    for group in [one, two, three] {
        stages.extend(
            stage(fixture, &lead_key(&group))
                .await
                .map(|(stage, _)| stage),
        );
    }
    assert_eq!(stages, ["new", "there", "new"]);
    assert_eq!(commit(fixture, &[]).await, []);
}

async fn writes_of_one_row_in_one_commit_follow_each_other(
    fixture: &mut impl Fixture<Ports: Tables>,
) {
    let key = lead_key(&one());
    let writes = [
        write(&key, None, lead(&one(), "first")),
        write(&key, Some(1), lead(&one(), "second")),
        write(&key, Some(1), lead(&one(), "lost")),
        write(&key, Some(2), lead(&one(), "third")),
    ];
    assert_eq!(commit(fixture, &writes).await, [Done, Done, Conflict, Done]);
    assert_eq!(stage(fixture, &key).await, Some(("third".into(), 3)));
}

async fn many_rows_go_in_one_commit(fixture: &mut impl Fixture<Ports: Tables>) {
    let groups: Vec<Group> = (0..250)
        .map(|i| group("acme", &format!("lead-{i}")))
        .collect();
    let writes: Vec<Write> = groups
        .iter()
        .map(|group| write(&lead_key(group), None, lead(group, &group.key)))
        .collect();
    commit_all(fixture, &writes).await;
    let keys: Vec<RowKey> = groups.iter().map(lead_key).collect();
    let mut read = fixture
        .ports()
        .read(&keys, Reading::Row)
        .await
        .expect("read");
    let mut expect: Vec<Stored> = writes.iter().map(as_stored).collect();
    read.sort_by(|a, b| a.key.cmp(&b.key));
    expect.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(read, expect);
}

/// The write of a stage under a lease.
fn fenced(key: &RowKey, expected: Option<u64>, fence: u64, stage: &str) -> Write {
    let mut write = write(key, expected, lead(&key.group, stage));
    write.put.as_mut().expect("a row").trail.fence = fence;
    write
}

/// Even if the version is the expected one: who took the lock later need not have written through here.
async fn a_smaller_fence_than_the_row_has_seen_is_refused(
    fixture: &mut impl Fixture<Ports: Tables>,
) {
    let key = lead_key(&one());
    // Fences are moments in microseconds; their bytes must not compare as signs or texts.
    let fences = [0, 1, 255, 256, 65_535, 65_536, 1_774_342_000_000_000];
    commit_all(fixture, &[write(&key, None, lead(&one(), "never locked"))]).await;
    for (version, pair) in (1..).zip(fences.windows(2)) {
        let later = fenced(&key, Some(version), pair[1], &pair[1].to_string());
        commit_all(fixture, &[later]).await;
        let late = fenced(&key, Some(version + 1), pair[0], "late");
        assert_eq!(commit(fixture, &[late]).await, [Conflict], "{pair:?}");
        let expect = (pair[1].to_string(), version + 1);
        assert_eq!(stage(fixture, &key).await, Some(expect));
        let stored = read(fixture, &key).await.expect("a row");
        assert_eq!(stored.trail.fence, pair[1]);
    }
    let last = fences[fences.len() - 1];
    let version = fences.len() as u64;
    commit_all(
        fixture,
        &[fenced(&key, Some(version), last, "the same lease")],
    )
    .await;
    fixture.reopen().await;
    let late = fenced(&key, Some(version + 1), last - 1, "late");
    assert_eq!(commit(fixture, &[late]).await, [Conflict]);
}

/// Handling without a lease writes the fence that it read.
async fn a_row_keeps_its_fence_when_nobody_locks_it(fixture: &mut impl Fixture<Ports: Tables>) {
    let group = one();
    let first = happened(&group, 0, "lead.created");
    let mut writes = handle(&settings(), &group, &[], &[], from_ref(&first));
    for write in &mut writes {
        write.put.as_mut().expect("a row").trail.fence = 7;
    }
    commit_all(fixture, &writes).await;
    let mut stored = Vec::new();
    for write in &writes {
        stored.extend(read(fixture, &write.key).await);
    }
    let next = [happened(&group, 5, "lead.updated")];
    let writes = handle(&settings(), &group, &stored, &[], &next);
    assert!(!writes.is_empty());
    commit_all(fixture, &writes).await;
    for write in &writes {
        let trail = read(fixture, &write.key).await.map(|row| row.trail);
        assert_eq!(trail.map(|trail| trail.fence), Some(7));
    }
}

async fn rows_survive_reopening(fixture: &mut impl Fixture<Ports: Tables>) {
    let writes = rows_of_every_table(&one());
    commit_all(fixture, &writes).await;
    fixture.reopen().await;
    for write in &writes {
        assert_eq!(read(fixture, &write.key).await, Some(as_stored(write)));
    }
    assert_eq!(commit(fixture, &writes).await, vec![Conflict; writes.len()]);
}
