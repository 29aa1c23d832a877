//! What `compare` says of spoiled histories, and that its writes mend them.

use expect_test::{Expect, expect};

use super::findings::{A_LIFE, check, key};
use super::world::Recorded;
use super::world::World;
use crate::handlers::Table::RSAppointmentChanges;
use crate::model::Timestamp;

/// Spoils the versions in force of appointment a1, of which there are three.
fn check_history(spoil: impl FnOnce(&mut Vec<Recorded>), expect: &Expect) {
    let change = |world: &mut World| {
        let changes = key(RSAppointmentChanges, "a1");
        spoil(world.histories.get_mut(&changes).expect("a history"));
    };
    check(A_LIFE, change, expect);
}

#[test]
fn a_row_that_is_gone_but_for_its_history_is_missing_too() {
    check(
        A_LIFE,
        |world| drop(world.rows.remove(&key(RSAppointmentChanges, "a1"))),
        &expect![[r#"
            missing RSAppointmentChanges a1 [e2 e3 e4]: should exist and does not: 3 events lead to it
              appointmentId: - -> "a1" by e2
              assignee: - -> "bob" by e3
              n: - -> 3 by e4
              status: - -> "completed" by e4
              tenant: - -> "acme" by e2
              1.assignee: - -> "ann" by e2
              1.causedBy: - -> "e2" by e2
              1.n: - -> 1 by e2
              1.status: - -> "scheduled" by e2
              1.validFrom: - -> "09:00" by e2
              1.validTo: - -> "09:30" by e2
              2.assignee: - -> "bob" by e3
              2.causedBy: - -> "e3" by e3
              2.n: - -> 2 by e3
              2.status: - -> "started" by e3
              2.validFrom: - -> "09:30" by e3
              2.validTo: - -> "10:00" by e3
              3.assignee: - -> "bob" by e4
              3.causedBy: - -> "e4" by e4
              3.n: - -> 3 by e4
              3.status: - -> "completed" by e4
              3.validFrom: - -> "10:00" by e4
        "#]],
    );
}

#[test]
fn a_version_that_is_gone_is_missing() {
    check_history(
        |history| drop(history.remove(1)),
        &expect![[r#"
            missing RSAppointmentChanges a1 []: should exist and does not: version 2 of its history
              2.assignee: - -> "bob" by e3
              2.causedBy: - -> "e3" by e3
              2.n: - -> 2 by e3
              2.status: - -> "started" by e3
              2.validFrom: - -> "09:30" by e3
              2.validTo: - -> "10:00" by e3
        "#]],
    );
    check_history(
        |history| drop(history.pop()),
        &expect![[r#"
            missing RSAppointmentChanges a1 []: should exist and does not: version 3 of its history
              3.assignee: - -> "bob" by e4
              3.causedBy: - -> "e4" by e4
              3.n: - -> 3 by e4
              3.status: - -> "completed" by e4
              3.validFrom: - -> "10:00" by e4
        "#]],
    );
}

#[test]
fn a_version_too_many_is_an_orphan() {
    let add = |history: &mut Vec<Recorded>| {
        let mut more = history.last().expect("a version").clone();
        more.version.n += 1;
        history.push(more);
    };
    check_history(
        add,
        &expect![[r#"
            orphan RSAppointmentChanges a1 []: exists, but no event of the journal leads to it: version 4 of its history
              4.assignee: "bob" -> - by e4
              4.causedBy: "e4" -> - by e4
              4.n: 4 -> - by e4
              4.status: "completed" -> - by e4
              4.validFrom: "10:00" -> - by e4
        "#]],
    );
}

#[test]
fn a_version_that_someone_else_changed_is_foreign() {
    check_history(
        |history| history[1].version.fields = r#"{"status":"no_show"}"#.into(),
        &expect![[r#"
            foreign RSAppointmentChanges a1 []: holds the right events, but someone else changed its content: its content is not what its last write left
              2.assignee: - -> "bob" by e3
              2.status: "no_show" -> "started" by e3
        "#]],
    );
    check_history(
        |history| history[1].version.caused_by = "x".into(),
        &expect![[r#"
            foreign RSAppointmentChanges a1 []: holds the right events, but someone else changed its content: its content is not what its last write left
              2.causedBy: "x" -> "e3" by e3
        "#]],
    );
}

#[test]
fn a_version_with_another_end_is_foreign() {
    check_history(
        |history| history[0].version.valid_to = None,
        &expect![[r#"
            foreign RSAppointmentChanges a1 []: holds the right events, but someone else changed its content: its content is not what its last write left
              1.validTo: - -> "09:30" by e2
        "#]],
    );
    check_history(
        |history| history[2].version.valid_to = Some(Timestamp::MAX),
        &expect![[r#"
            foreign RSAppointmentChanges a1 []: holds the right events, but someone else changed its content: its content is not what its last write left
              3.validTo: "9999-12-31T23:59:59.999Z" -> - by e4
        "#]],
    );
}
