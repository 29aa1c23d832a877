//! What every [`Tables`] must do with the histories of temporal rows: event time and recorded time.

use shared::flow::{RowKey, Write};
use shared::handlers::{Table, Version};
use shared::model::{Entry, Timestamp};
use shared::ports::Committed::Conflict;
use shared::ports::{HistoryVersion, Tables};

use super::tables::{commit, commit_all, read};
use super::{Fixture, MARGIN_MS};
use crate::fixtures::{changes, group, handle, happened, key, settings, taking_away, versions};

suite! { $ tables_history_suite, tables_history: Tables;
    versions_are_appended,
    superseded_versions_stay_readable,
    an_append_leaves_superseded_versions,
    versions_can_be_cut_off,
    a_history_can_be_replaced_whole,
    a_write_without_history_leaves_it,
    a_conflict_leaves_the_history,
    a_deleted_rows_versions_end,
    a_row_made_anew_keeps_its_old_history,
    a_late_event_rewrites_history_and_hides_nothing,
    histories_do_not_run_together,
    an_unknown_row_has_no_history,
    histories_survive_reopening,
}

fn meeting() -> RowKey {
    key(
        &group("acme", "lead-1"),
        Table::RSAppointmentChanges,
        "meeting",
    )
}

async fn history(fixture: &impl Fixture<Ports: Tables>, key: &RowKey) -> Vec<HistoryVersion> {
    fixture.ports().history(key).await.expect("history")
}

/// The versions in force as the row itself is read, which must be those that `history` says.
async fn in_force(fixture: &impl Fixture<Ports: Tables>, key: &RowKey) -> Vec<Version> {
    let stored = read(fixture, key).await.expect("a row");
    let versions = stored.history.expect("a history");
    let all = history(fixture, key).await;
    let open = all.into_iter().filter(|one| one.recorded_to.is_none());
    let mut open: Vec<Version> = open.map(|one| one.version).collect();
    open.sort_by_key(|version| version.n);
    assert_eq!(
        open, versions,
        "the row's versions are those that are in force"
    );
    versions
}

/// Commits at a moment of its own and returns the moments between which it was recorded.
async fn commit_later<F: Fixture<Ports: Tables>>(
    fixture: &mut F,
    writes: &[Write],
) -> (Timestamp, Timestamp) {
    fixture.pass(MARGIN_MS).await;
    let before = fixture.now();
    commit_all(fixture, writes).await;
    (before, fixture.now())
}

fn within(at: Timestamp, (from, to): (Timestamp, Timestamp)) -> bool {
    (from..=to).contains(&at)
}

fn is_between(one: &HistoryVersion, from: (Timestamp, Timestamp), to: (Timestamp, Timestamp)) {
    assert!(
        within(one.recorded_from, from),
        "recorded from {}",
        one.recorded_from
    );
    let end = one.recorded_to.expect("superseded");
    assert!(within(end, to), "recorded to {end}");
}

async fn versions_are_appended(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    let first = commit_later(
        fixture,
        &[changes(&key, None, 0, false, &[(0, "a"), (5, "b")])],
    )
    .await;
    assert_eq!(
        in_force(fixture, &key).await,
        versions(0, &[(0, "a"), (5, "b")])
    );
    let more = changes(&key, Some(1), 2, false, &[(7, "c"), (9, "d")]);
    let second = commit_later(fixture, &[more]).await;
    // The version that was open ends where the next begins.
    let whole = versions(0, &[(0, "a"), (5, "b"), (7, "c"), (9, "d")]);
    assert_eq!(in_force(fixture, &key).await, whole);
    let all = history(fixture, &key).await;
    assert_eq!(all.len(), 4, "no version was superseded");
    for one in &all {
        let since = if one.version.n <= 2 { first } else { second };
        assert!(within(one.recorded_from, since), "{one:?}");
        assert_eq!(one.recorded_to, None);
    }
    assert!(all.is_sorted_by_key(|one| one.recorded_from));
}

async fn superseded_versions_stay_readable(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    let was = [(0, "a"), (5, "b"), (9, "c")];
    let first = commit_later(fixture, &[changes(&key, None, 0, false, &was)]).await;
    let late = changes(&key, Some(1), 1, true, &[(3, "late"), (5, "b"), (9, "c")]);
    let second = commit_later(fixture, &[late]).await;
    let is = [(0, "a"), (3, "late"), (5, "b"), (9, "c")];
    assert_eq!(in_force(fixture, &key).await, versions(0, &is));
    let all = history(fixture, &key).await;
    let (old, new): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.recorded_to.is_some());
    let old_versions: Vec<Version> = old.iter().map(|one| one.version.clone()).collect();
    assert_eq!(old_versions, versions(0, &was)[1..]);
    for one in old {
        is_between(one, first, second);
    }
    assert_eq!(new.len(), 4);
    assert!(new.iter().all(|one| within(
        one.recorded_from,
        if one.version.n == 1 { first } else { second }
    )));
    assert!(
        all.is_sorted_by_key(|one| one.recorded_from),
        "by the time it was recorded"
    );

    // Once more, so that a number has three lives.
    let again = changes(&key, Some(2), 1, true, &[(2, "later still")]);
    let third = commit_later(fixture, &[again]).await;
    assert_eq!(
        in_force(fixture, &key).await,
        versions(0, &[(0, "a"), (2, "later still")])
    );
    let all = history(fixture, &key).await;
    assert_eq!(all.len(), 7);
    let ended: Vec<_> = all.iter().filter_map(|one| one.recorded_to).collect();
    assert_eq!(ended.iter().filter(|at| within(**at, second)).count(), 2);
    assert_eq!(ended.iter().filter(|at| within(**at, third)).count(), 3);
}

/// A number has had more than one version: only the one in force may get its end.
async fn an_append_leaves_superseded_versions(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    let writes = [
        changes(&key, None, 0, false, &[(0, "a"), (5, "b"), (9, "c")]),
        changes(&key, Some(1), 1, true, &[(3, "late")]),
    ];
    for write in writes {
        commit_later(fixture, &[write]).await;
    }
    let superseded = |all: Vec<HistoryVersion>| -> Vec<HistoryVersion> {
        all.into_iter()
            .filter(|one| one.recorded_to.is_some())
            .collect()
    };
    let before = superseded(history(fixture, &key).await);
    assert_eq!(before.len(), 2);
    commit_later(fixture, &[changes(&key, Some(2), 2, false, &[(20, "d")])]).await;
    let is = [(0, "a"), (3, "late"), (20, "d")];
    assert_eq!(in_force(fixture, &key).await, versions(0, &is));
    assert_eq!(superseded(history(fixture, &key).await), before);
}

/// The event that had begun the last version means something else now: the one before is open again.
async fn versions_can_be_cut_off(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    let was = [(0, "a"), (5, "b"), (9, "c")];
    let first = commit_later(fixture, &[changes(&key, None, 0, false, &was)]).await;
    let second = commit_later(fixture, &[changes(&key, Some(1), 2, true, &[])]).await;
    assert_eq!(in_force(fixture, &key).await, versions(0, &was[..2]));
    let all = history(fixture, &key).await;
    assert_eq!(all.len(), 3);
    let old = all
        .iter()
        .find(|one| one.version.n == 3)
        .expect("the old version");
    is_between(old, first, second);
}

async fn a_history_can_be_replaced_whole(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    commit_later(
        fixture,
        &[changes(&key, None, 0, false, &[(5, "a"), (9, "b")])],
    )
    .await;
    commit_later(
        fixture,
        &[changes(&key, Some(1), 0, true, &[(1, "x"), (5, "a")])],
    )
    .await;
    assert_eq!(
        in_force(fixture, &key).await,
        versions(0, &[(1, "x"), (5, "a")])
    );
    let all = history(fixture, &key).await;
    let old: Vec<_> = all
        .into_iter()
        .filter(|one| one.recorded_to.is_some())
        .collect();
    let old: Vec<Version> = old.into_iter().map(|one| one.version).collect();
    assert_eq!(old, versions(0, &[(5, "a"), (9, "b")]));
}

async fn a_write_without_history_leaves_it(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    commit_later(
        fixture,
        &[changes(&key, None, 0, false, &[(0, "a"), (5, "b")])],
    )
    .await;
    let before = history(fixture, &key).await;
    let mut same = changes(&key, Some(1), 0, false, &[]);
    same.put.as_mut().expect("a row").history = None;
    commit_later(fixture, &[same]).await;
    assert_eq!(history(fixture, &key).await, before);
    assert_eq!(in_force(fixture, &key).await.len(), 2);
}

async fn a_conflict_leaves_the_history(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    commit_later(
        fixture,
        &[changes(&key, None, 0, false, &[(0, "a"), (5, "b")])],
    )
    .await;
    let before = (history(fixture, &key).await, read(fixture, &key).await);
    let lost = [
        changes(&key, None, 0, false, &[(0, "x")]),
        changes(&key, Some(7), 1, true, &[(3, "x")]),
        changes(&key, Some(7), 2, false, &[(9, "x")]),
        taking_away(&key, 7),
    ];
    fixture.pass(MARGIN_MS).await;
    assert_eq!(commit(fixture, &lost).await, [Conflict; 4]);
    assert_eq!(
        (history(fixture, &key).await, read(fixture, &key).await),
        before
    );
}

/// Taking a row away takes its versions in force away, but not what was believed.
async fn a_deleted_rows_versions_end(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    let was = [(0, "a"), (5, "b")];
    let first = commit_later(fixture, &[changes(&key, None, 0, false, &was)]).await;
    let second = commit_later(fixture, &[taking_away(&key, 1)]).await;
    assert_eq!(read(fixture, &key).await, None);
    let all = history(fixture, &key).await;
    assert_eq!(all.len(), 2, "what was believed stays readable");
    for one in &all {
        is_between(one, first, second);
    }
}

async fn a_row_made_anew_keeps_its_old_history(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    let was = [(0, "a"), (5, "b")];
    let first = commit_later(fixture, &[changes(&key, None, 0, false, &was)]).await;
    let second = commit_later(fixture, &[taking_away(&key, 1)]).await;
    let third = commit_later(fixture, &[changes(&key, None, 0, false, &[(2, "anew")])]).await;
    assert_eq!(in_force(fixture, &key).await, versions(0, &[(2, "anew")]));
    let all = history(fixture, &key).await;
    let (old, new): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.recorded_to.is_some());
    let old_versions: Vec<Version> = old.iter().map(|one| one.version.clone()).collect();
    assert_eq!(old_versions, versions(0, &was));
    for one in &old {
        is_between(one, first, second);
    }
    assert!(new.iter().all(|one| within(one.recorded_from, third)));
}

/// The same through live handling: the rows that it makes, not rows made for the test.
async fn a_late_event_rewrites_history_and_hides_nothing(
    fixture: &mut impl Fixture<Ports: Tables>,
) {
    let (settings, group, key) = (settings(), group("acme", "lead-1"), meeting());
    let arrivals = [
        happened(&group, 0, "appointment.scheduled"),
        happened(&group, 20, "appointment.completed"),
        happened(&group, 10, "appointment.started"),
    ];
    let mut journal: Vec<Entry> = Vec::new();
    let mut moments = Vec::new();
    for new in arrivals {
        journal.push(Entry::clone(&new));
        let stored = fixture
            .ports()
            .read_groups(std::slice::from_ref(&group))
            .await;
        let stored = stored.expect("read groups").remove(0);
        let writes = handle(&settings, &group, &stored, &journal, &[new]);
        assert!(writes.iter().any(|write| write.key == key));
        moments.push(commit_later(fixture, &writes).await);
    }
    let now: Vec<_> = in_force(fixture, &key).await;
    let ends: Vec<_> = now.iter().map(|version| version.valid_to).collect();
    let begins: Vec<_> = now.iter().map(|version| version.valid_from).collect();
    assert_eq!(begins, [0, 10, 20].map(crate::fixtures::at));
    assert_eq!(ends[..2], [Some(begins[1]), Some(begins[2])]);
    assert_eq!(ends[2], None);
    let all = history(fixture, &key).await;
    assert_eq!(all.len(), 4);
    let believed = all
        .iter()
        .find(|one| one.recorded_to.is_some())
        .expect("superseded");
    assert_eq!(
        (believed.version.n, believed.version.valid_from),
        (2, begins[2])
    );
    is_between(believed, moments[1], moments[2]);
}

async fn histories_do_not_run_together(fixture: &mut impl Fixture<Ports: Tables>) {
    let of = |tenant: &str, lead: &str, id: &str| {
        key(&group(tenant, lead), Table::RSAppointmentChanges, id)
    };
    let alike = [
        meeting(),
        of("acme", "lead-1", "meeting-2"),
        of("acme", "lead-2", "meeting"),
        of("globex", "lead-1", "meeting"),
        of("acm", "elead-1", "meeting"),
    ];
    for (key, minutes) in alike.iter().zip(0..) {
        commit_all(fixture, &[changes(key, None, 0, false, &[(minutes, "a")])]).await;
    }
    commit_all(
        fixture,
        &[changes(&alike[0], Some(1), 0, true, &[(50, "b")])],
    )
    .await;
    assert_eq!(history(fixture, &alike[0]).await.len(), 2);
    for (key, minutes) in alike.iter().zip(0..).skip(1) {
        assert_eq!(in_force(fixture, key).await, versions(0, &[(minutes, "a")]));
        assert_eq!(history(fixture, key).await.len(), 1);
    }
}

async fn an_unknown_row_has_no_history(fixture: &mut impl Fixture<Ports: Tables>) {
    assert_eq!(history(fixture, &meeting()).await, []);
    commit_all(fixture, &[changes(&meeting(), None, 0, false, &[(0, "a")])]).await;
    let other = key(&meeting().group, Table::RSAppointmentChanges, "other");
    assert_eq!(history(fixture, &other).await, []);
}

async fn histories_survive_reopening(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = meeting();
    commit_later(
        fixture,
        &[changes(&key, None, 0, false, &[(0, "a"), (5, "b")])],
    )
    .await;
    commit_later(fixture, &[changes(&key, Some(1), 1, true, &[(3, "c")])]).await;
    let before = history(fixture, &key).await;
    fixture.reopen().await;
    assert_eq!(history(fixture, &key).await, before);
    assert_eq!(
        in_force(fixture, &key).await,
        versions(0, &[(0, "a"), (3, "c")])
    );
}
