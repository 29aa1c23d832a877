//! What `compare` says of rows that someone or something spoiled, and that its writes mend them.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use serde_json::Value;

use super::telling::{TENANT, other_settings, settings, story};
use super::world::World;
use crate::flow::{Comparison, RowKey};
use crate::handlers::Table;
use crate::handlers::Table::{
    RSAppointment, RSAppointmentChanges, RSLead, RSLeadGlobalConversions,
};
use crate::model::{Group, Order, Timestamp};

pub(super) const A_LIFE: &str = "created 8:00 stage=new; scheduled 9:00 by=ann; started 9:30 by=bob; \
                      completed 10:00; converted 11:00 amount=50";

/// Tells a story, spoils the world, shows the findings, and makes their writes: after those there
/// is nothing to be found.
#[track_caller]
pub(super) fn check(text: &str, spoil: impl FnOnce(&mut World), expect: &Expect) {
    let mut world = World::new(settings(1, &[]));
    world.run(&story(text));
    spoil(&mut world);
    let comparison = world.compare(&[], &[]);
    expect.assert_eq(&show(&comparison));
    mend(&mut world, &comparison);
    if world.settings.version() == 1 {
        world.assert_right();
    }
}

#[track_caller]
pub(super) fn mend(world: &mut World, comparison: &Comparison) {
    assert!(world.commit(&comparison.writes), "nobody else writes");
    assert_eq!(show(&world.compare(&[], &[])), "", "mended");
}

pub(super) fn show(comparison: &Comparison) -> String {
    let mut text = String::new();
    for finding in &comparison.findings {
        let (class, table, id) = (finding.class, finding.table.name(), &finding.id);
        let events: Vec<&str> = finding.events.iter().map(|one| one.id.as_str()).collect();
        let events = events.join(" ");
        let why = &finding.explanation;
        writeln!(text, "{class} {table} {id} [{events}]: {why}").expect("text");
        for change in &finding.changes {
            let value = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
            let (before, after) = (value(&change.before), value(&change.after));
            let by = change.caused_by.as_ref().map_or("-", |event| &event.id);
            writeln!(text, "  {}: {before} -> {after} by {by}", change.field).expect("text");
        }
    }
    text.replace("2026-03-01T", "").replace(":00.000Z", "")
}

pub(super) fn key(table: Table, id: &str) -> RowKey {
    let group = Group {
        tenant: TENANT.into(),
        key: "l1".into(),
    };
    RowKey {
        group,
        table,
        id: id.into(),
    }
}

/// What another writer does: the row's text changes and nothing else.
fn edit(
    table: Table,
    id: &'static str,
    from: &'static str,
    to: &'static str,
) -> impl Fn(&mut World) {
    move |world| {
        let kept = world.rows.get_mut(&key(table, id)).expect("a row");
        assert!(kept.body.contains(from), "{} has {from:?}", kept.body);
        kept.body = kept.body.replace(from, to);
    }
}

#[test]
fn what_the_flow_wrote_is_as_it_should_be() {
    check(A_LIFE, |_| (), &expect![[""]]);
    check(
        "started 9:30; created 8:00; again e1; scheduled 9:00 a2; viewed 7:00; updated 9 amount=x",
        |_| (),
        &expect![[""]],
    );
}

#[test]
fn counts_what_it_looked_at() {
    let mut world = World::new(settings(1, &[]));
    world.run(&story(
        "created 8:00; scheduled 9:00; viewed 9:10; updated 9:20 amount=x; created 8:00 lead=l2",
    ));
    let Comparison {
        rows,
        events,
        faults,
        ..
    } = world.compare(&[], &[]);
    assert_eq!((rows, events, faults), (6, 3, 1));
}

#[test]
fn an_event_that_no_row_holds_is_lost_and_named() {
    check(
        "created 8:00; scheduled 9:00; journal: started 9:30; completed 10:00",
        |_| (),
        &expect![[r#"
            lost RSLead l1 [e3]: lacks events that the journal has: it holds 3 of 4 events
              events: 3 -> 4 by e4
            lost RSAppointment a1 [e3]: lacks events that the journal has: it holds 2 of 3 events
              startedAt: - -> "09:30" by e3
              starts: 0 -> 1 by e3
            lost RSAppointmentChanges a1 [e3]: lacks events that the journal has: it holds 2 of 3 events
              n: 2 -> 3 by e4
              1.validTo: "10:00" -> "09:30" by e2
              2.causedBy: - -> "e3" by e3
              2.n: - -> 2 by e3
              2.status: - -> "started" by e3
              2.validFrom: - -> "09:30" by e3
              2.validTo: - -> "10:00" by e3
              3.n: 2 -> 3 by e4
        "#]],
    );
}

#[test]
fn all_events_after_a_point_are_lost_and_named() {
    check(
        "created 8:00; scheduled 9:00; journal: started 9:30, completed 10:00, converted 11:00",
        |_| (),
        &expect![[r#"
            lost RSLead l1 [e3 e4 e5]: lacks events that the journal has: it holds 2 of 5 events
              convertedAt: - -> "11:00" by e5
              events: 2 -> 5 by e5
            lost RSAppointment a1 [e3 e4]: lacks events that the journal has: it holds 1 of 3 events
              completedAt: - -> "10:00" by e4
              startedAt: - -> "09:30" by e3
              starts: 0 -> 1 by e3
              status: "scheduled" -> "completed" by e4
            lost RSAppointmentChanges a1 [e3 e4]: lacks events that the journal has: it holds 1 of 3 events
              n: 1 -> 3 by e4
              status: "scheduled" -> "completed" by e4
              1.validTo: - -> "09:30" by e2
              2.causedBy: - -> "e3" by e3
              2.n: - -> 2 by e3
              2.status: - -> "started" by e3
              2.validFrom: - -> "09:30" by e3
              2.validTo: - -> "10:00" by e3
              3.causedBy: - -> "e4" by e4
              3.n: - -> 3 by e4
              3.status: - -> "completed" by e4
              3.validFrom: - -> "10:00" by e4
            lost RSLeadGlobalConversions l1 [e4 e5]: lacks events that the journal has: it holds 2 of 4 events
              appointmentsCompleted: 0 -> 1 by e4
              appointmentsOpen: 1 -> 0 by e4
              conversions.signed.count: - -> 1 by e5
              conversions.signed.firstAt: - -> "11:00" by e5
              conversions.signed.lastAt: - -> "11:00" by e5
              conversions.visit.count: - -> 1 by e4
              conversions.visit.firstAt: - -> "10:00" by e4
              conversions.visit.lastAt: - -> "10:00" by e4
              conversions.won.count: - -> 1 by e5
              conversions.won.firstAt: - -> "11:00" by e5
              conversions.won.lastAt: - -> "11:00" by e5
              convertedAt: - -> "11:00" by e5
              secondsToConversion: - -> 10800 by e5
        "#]],
    );
}

#[test]
fn several_lost_events_in_between_are_counted_where_they_cannot_be_told() {
    check(
        "created 8:00; journal: updated 8:10; updated 8:20; journal: closed 8:30; updated 8:40",
        |_| (),
        &expect![[r#"
            lost RSLead l1 []: lacks events that the journal has: it holds 3 of 5 events
              closedAt: - -> "08:30" by e4
              events: 3 -> 5 by e5
            lost RSLeadGlobalConversions l1 [e2]: lacks events that the journal has: it holds 3 of 4 events
              conversions.touch.count: 2 -> 3 by e5
              conversions.touch.firstAt: "08:20" -> "08:10" by e2
        "#]],
    );
}

#[test]
fn a_lost_event_may_change_which_others_a_derived_row_holds() {
    // In order it is e3 that calls the appointment off, and e2 changes no count.
    check(
        "scheduled 8:00; no_show 10:00; journal: cancelled 9:00",
        |_| (),
        &expect![[r#"
            lost RSLead l1 [e3]: lacks events that the journal has: it holds 2 of 3 events
              events: 2 -> 3 by e2
            lost RSAppointment a1 [e3]: lacks events that the journal has: it holds 2 of 3 events
              cancelledAt: - -> "09:00" by e3
            lost RSAppointmentChanges a1 [e3]: lacks events that the journal has: it holds 2 of 3 events
              n: 2 -> 3 by e2
              1.validTo: "10:00" -> "09:00" by e1
              2.causedBy: - -> "e3" by e3
              2.n: - -> 2 by e3
              2.status: - -> "cancelled" by e3
              2.validFrom: - -> "09:00" by e3
              2.validTo: - -> "10:00" by e3
              3.n: 2 -> 3 by e2
            lost RSLeadGlobalConversions l1 [e3]: lacks events that the journal has: it holds 2 of 2 events
        "#]],
    );
}

#[test]
fn a_finding_names_at_most_sixteen_events() {
    let lost: Vec<String> = (10..40).map(|m| format!("closed 9:{m}")).collect();
    check(
        &format!("closed 8:00; journal: {}", lost.join(", ")),
        |_| (),
        &expect![[r#"
            lost RSLead l1 [e2 e3 e4 e5 e6 e7 e8 e9 e10 e11 e12 e13 e14 e15 e16 e17]: lacks events that the journal has: it holds 1 of 31 events
              closedAt: "08:00" -> "09:39" by e31
              events: 1 -> 31 by e31
        "#]],
    );
}

#[test]
fn an_event_that_only_the_row_has_is_extra() {
    check(
        A_LIFE,
        |world| {
            let journal = world.journal.values_mut().next().expect("a journal");
            journal.retain(|entry| entry.event.id != "e3");
        },
        &expect![[r#"
            extra RSLead l1 []: holds events that the journal does not have: it holds 5 of 4 events
              assignee: "bob" -> "ann" by e2
              events: 5 -> 4 by e5
            extra RSAppointment a1 []: holds events that the journal does not have: it holds 3 of 2 events
              assignee: "bob" -> "ann" by e2
              startedAt: "09:30" -> - by -
              starts: 1 -> 0 by e2
            extra RSAppointmentChanges a1 []: holds events that the journal does not have: it holds 3 of 2 events
              assignee: "bob" -> "ann" by e2
              n: 3 -> 2 by e4
              1.validTo: "09:30" -> "10:00" by e2
              2.assignee: "bob" -> "ann" by e4
              2.n: 3 -> 2 by e4
              2.assignee: "bob" -> - by e3
              2.causedBy: "e3" -> - by e3
              2.n: 2 -> - by e3
              2.status: "started" -> - by e3
              2.validFrom: "09:30" -> - by e3
              2.validTo: "10:00" -> - by e3
        "#]],
    );
}

#[test]
fn content_that_someone_else_changed_is_foreign() {
    check(
        A_LIFE,
        edit(RSLead, "l1", r#""stage":"new""#, r#""stage":"won""#),
        &expect![[r#"
            foreign RSLead l1 []: holds the right events, but someone else changed its content: its content is not what its last write left
              stage: "won" -> "new" by e1
        "#]],
    );
    check(
        A_LIFE,
        edit(
            RSLeadGlobalConversions,
            "l1",
            r#""count":1"#,
            r#""count":7"#,
        ),
        &expect![[r#"
            foreign RSLeadGlobalConversions l1 []: holds the right events, but someone else changed its content: its content is not what its last write left
              conversions.signed.count: 7 -> 1 by e5
              conversions.visit.count: 7 -> 1 by e4
              conversions.won.count: 7 -> 1 by e5
        "#]],
    );
}

#[test]
fn a_row_that_cannot_be_read_is_foreign() {
    check(
        A_LIFE,
        edit(RSAppointment, "a1", r#""starts":1"#, r#""starts":"once""#),
        &expect![[r#"
            foreign RSAppointment a1 []: holds the right events, but someone else changed its content: its content is not what its last write left
              assignee: - -> "bob" by e3
              completedAt: - -> "10:00" by e4
              scheduledAt: - -> "09:00" by e2
              startedAt: - -> "09:30" by e3
              starts: 0 -> 1 by e3
              status: - -> "completed" by e4
        "#]],
    );
}

#[test]
fn a_row_that_cannot_be_read_and_would_be_empty_is_foreign() {
    check(
        "created 8:00",
        edit(
            RSLeadGlobalConversions,
            "l1",
            r#""appointmentsOpen":0"#,
            r#""appointmentsOpen":"0""#,
        ),
        &expect![[r#"
            foreign RSLeadGlobalConversions l1 []: holds the right events, but someone else changed its content: its content is not what its last write left
        "#]],
    );
}

#[test]
fn a_row_that_cannot_be_read_is_written_anew_by_the_next_event() {
    let mut world = World::new(settings(1, &[]));
    world.run(&story(A_LIFE));
    edit(RSAppointment, "a1", "{", "[")(&mut world);
    world.run(&story("no_show 12:00 id=next"));
    world.assert_right();
    assert!(
        world.log.ends_with("6 correct: next applied (4 writes)\n"),
        "{}",
        world.log
    );
}

#[test]
fn a_row_with_another_last_event_is_foreign() {
    // It would take a late event for one in order.
    let spoil = |world: &mut World| {
        let kept = world.rows.get_mut(&key(RSLead, "l1")).expect("a row");
        let last = kept.trail.held.last.take().expect("an event");
        kept.trail.held.last = Some(Order {
            time: Timestamp::from_ms(0),
            ..last
        });
    };
    check(
        A_LIFE,
        spoil,
        &expect![[r#"
        foreign RSLead l1 []: holds the right events, but someone else changed its content: its content is not what its last write left
    "#]],
    );
}

#[test]
fn a_row_made_under_older_settings_is_stale_where_they_make_a_difference() {
    check(
        "created 8:00; scheduled 9:00 a1; no_show 10:00 a1; scheduled 9:00 a2 id=f",
        |world| world.settings = other_settings(2),
        &expect![[r#"
            stale RSAppointment a1 []: was made under an older version of the settings or the handler: settings 1 and handler 1; now settings 2 and handler 1
              completedAt: - -> "10:00" by e3
              status: "no_show" -> "completed" by e3
            stale RSAppointmentChanges a1 []: was made under an older version of the settings or the handler: settings 1 and handler 1; now settings 2 and handler 1
              status: "no_show" -> "completed" by e3
              2.status: "no_show" -> "completed" by e3
            stale RSLeadGlobalConversions l1 []: was made under an older version of the settings or the handler: settings 1 and handler 1; now settings 2 and handler 1
              appointmentsCancelled: 1 -> 0 by e1
              appointmentsCompleted: 0 -> 1 by e3
              conversions.visit.count: - -> 1 by e3
              conversions.visit.firstAt: - -> "10:00" by e3
              conversions.visit.lastAt: - -> "10:00" by e3
        "#]],
    );
}

/// Nobody knows what its last write left: that cannot be held against it.
#[test]
fn a_row_that_was_added_to_under_older_settings_is_stale() {
    let spoil = |world: &mut World| {
        let lead = key(RSLead, "l1");
        edit(RSLead, "l1", r#""events":1"#, r#""events":2"#)(world);
        let kept = world.rows.get_mut(&lead).expect("a row");
        kept.trail.checksum = 0;
        kept.trail.settings = 0;
    };
    check(
        "created 8:00",
        spoil,
        &expect![[r#"
            stale RSLead l1 []: was made under an older version of the settings or the handler: settings 0 and handler 1; now settings 1 and handler 1
              events: 2 -> 1 by e1
        "#]],
    );
}

#[test]
fn a_row_made_under_older_settings_that_still_holds_is_left_alone() {
    check(
        A_LIFE,
        |world| world.settings = other_settings(2),
        &expect![[""]],
    );
}

#[test]
fn an_event_under_new_settings_brings_its_rows_up_to_date() {
    let mut world = World::new(settings(1, &[]));
    world.run(&story("scheduled 9:00; no_show 10:00"));
    world.settings = other_settings(2);
    world.run(&story("rescheduled 11:00 id=next"));
    assert_eq!(show(&world.compare(&[], &[])), "");
    assert!(
        world.log.ends_with("3 correct: next applied (4 writes)\n"),
        "{}",
        world.log
    );
}

#[test]
fn a_row_that_is_gone_is_missing() {
    let remove = |table, id| {
        move |world: &mut World| drop(world.rows.remove(&key(table, id)).expect("a row"))
    };
    check(
        A_LIFE,
        remove(RSAppointment, "a1"),
        &expect![[r#"
            missing RSAppointment a1 [e2 e3 e4]: should exist and does not: 3 events lead to it
              appointmentId: - -> "a1" by e2
              assignee: - -> "bob" by e3
              completedAt: - -> "10:00" by e4
              leadId: - -> "l1" by e2
              scheduledAt: - -> "09:00" by e2
              startedAt: - -> "09:30" by e3
              starts: - -> 1 by e3
              status: - -> "completed" by e4
              tenant: - -> "acme" by e2
        "#]],
    );
    check(
        A_LIFE,
        remove(RSLeadGlobalConversions, "l1"),
        &expect![[r#"
            missing RSLeadGlobalConversions l1 [e1 e2 e4 e5]: should exist and does not: 4 events lead to it
              appointmentsCancelled: - -> 0 by e1
              appointmentsCompleted: - -> 1 by e4
              appointmentsOpen: - -> 0 by e4
              conversions.signed.count: - -> 1 by e5
              conversions.signed.firstAt: - -> "11:00" by e5
              conversions.signed.lastAt: - -> "11:00" by e5
              conversions.signed.value: - -> 50 by e5
              conversions.visit.count: - -> 1 by e4
              conversions.visit.firstAt: - -> "10:00" by e4
              conversions.visit.lastAt: - -> "10:00" by e4
              conversions.won.count: - -> 1 by e5
              conversions.won.firstAt: - -> "11:00" by e5
              conversions.won.lastAt: - -> "11:00" by e5
              convertedAt: - -> "11:00" by e5
              leadId: - -> "l1" by e1
              secondsToConversion: - -> 10800 by e5
              tenant: - -> "acme" by e1
        "#]],
    );
}

#[test]
fn a_row_that_no_event_leads_to_is_an_orphan() {
    let copy = |table, from, to| {
        move |world: &mut World| {
            let row = world.rows.get(&key(table, from)).expect("a row").clone();
            world.rows.insert(key(table, to), row);
            if let Some(history) = world.histories.get(&key(table, from)).cloned() {
                world.histories.insert(key(table, to), history);
            }
        }
    };
    check(
        "scheduled 9:00",
        copy(RSAppointment, "a1", "a9"),
        &expect![[r#"
            orphan RSAppointment a9 []: exists, but no event of the journal leads to it
              appointmentId: "a1" -> - by -
              leadId: "l1" -> - by -
              scheduledAt: "09:00" -> - by -
              starts: 0 -> - by -
              status: "scheduled" -> - by -
              tenant: "acme" -> - by -
        "#]],
    );
    check(
        "scheduled 9:00",
        copy(RSAppointmentChanges, "a1", "a9"),
        &expect![[r#"
            orphan RSAppointmentChanges a9 []: exists, but no event of the journal leads to it
              appointmentId: "a1" -> - by -
              n: 1 -> - by -
              status: "scheduled" -> - by -
              tenant: "acme" -> - by -
              1.causedBy: "e1" -> - by e1
              1.n: 1 -> - by e1
              1.status: "scheduled" -> - by e1
              1.validFrom: "09:00" -> - by e1
        "#]],
    );
}

#[test]
fn rows_of_a_group_without_a_journal_are_orphans() {
    check(
        "updated 9:00",
        |world| world.journal.clear(),
        &expect![[r#"
            orphan RSLead l1 []: exists, but no event of the journal leads to it
              events: 1 -> - by -
              leadId: "l1" -> - by -
              tenant: "acme" -> - by -
            orphan RSLeadGlobalConversions l1 []: exists, but no event of the journal leads to it
              appointmentsCancelled: 0 -> - by -
              appointmentsCompleted: 0 -> - by -
              appointmentsOpen: 0 -> - by -
              conversions.touch.count: 1 -> - by -
              conversions.touch.firstAt: "09:00" -> - by -
              conversions.touch.lastAt: "09:00" -> - by -
              leadId: "l1" -> - by -
              tenant: "acme" -> - by -
        "#]],
    );
}
