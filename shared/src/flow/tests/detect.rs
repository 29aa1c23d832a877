//! Policy `detect`: late events are taken in as they come, and told.

use expect_test::{Expect, expect};

use super::findings::{mend, show};
use super::stories::told;
use super::telling::{settings, story};
use super::world::World;
use crate::handlers::Table;
use crate::handlers::Table::{
    RSAppointment, RSAppointmentChanges, RSLead, RSLeadGlobalConversions,
};

/// Tells a story in which some tables take late events in on arrival, and shows their rows.
#[track_caller]
fn check(text: &str, detect: &[Table], expect: &Expect) {
    check_beside(text, detect, &[], expect);
}

/// As [`check`], and shows other tables too.
#[track_caller]
fn check_beside(text: &str, detect: &[Table], beside: &[Table], expect: &Expect) {
    let world = told(text, detect);
    expect.assert_eq(&(world.log.clone() + &world.show(&[detect, beside].concat())));
}

#[test]
fn applies_on_arrival_and_says_how_late() {
    check(
        "scheduled 9:00 by=ann; completed 11:00; started 10:00 by=bob; cancelled 10:30, no_show 12:00",
        &[RSAppointment],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: e2 applied (4 writes)
            3 correct: e3 applied, 3600000 ms behind e2 (3 writes)
            4 correct: e4 applied, 1800000 ms behind e2; e5 applied (4 writes)
            RSAppointment a1: assignee=bob cancelledAt=10:30 completedAt=11:00 scheduledAt=09:00 startedAt=10:00 starts=1 status=no_show | 5 events to e5, version 4, 2 out of order
        "#]],
    );
}

#[test]
fn appends_to_a_history() {
    check(
        "scheduled 9:00 by=ann; completed 11:00; started 10:00; cancelled 12:00; rescheduled 11:30 by=bob",
        &[RSAppointmentChanges],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: e2 applied (4 writes)
            3 correct: e3 applied, 3600000 ms behind e2 (3 writes)
            4 step: e4 applied (4 writes)
            5 correct: e5 applied, 1800000 ms behind e4 (4 writes)
            RSAppointmentChanges a1: assignee=bob n=5 status=scheduled | 5 events to e4, version 5, 2 out of order
              1 09:00..11:00 assignee=ann status=scheduled by e1, known 1..
              2 11:00..10:00 assignee=ann status=completed by e2, known 2..
              3 10:00..12:00 assignee=ann status=started by e3, known 3..
              4 12:00..11:30 assignee=ann status=cancelled by e4, known 4..
              5 11:30.. assignee=bob status=scheduled by e5, known 5..
        "#]],
    );
}

#[test]
fn changes_nothing_when_an_event_comes_again() {
    check(
        "scheduled 9:00; completed 11:00; started 10:00; again e3; again e1, again e2",
        &[RSLead, RSAppointment, RSAppointmentChanges],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: e2 applied (4 writes)
            3 correct: e3 applied, 3600000 ms behind e2 (3 writes)
            4 correct: e3 held (0 writes)
            5 correct: e1 held; e2 held (0 writes)
            RSLead l1: events=3 | 3 events to e2, version 3, 1 out of order
            RSAppointment a1: completedAt=11:00 scheduledAt=09:00 startedAt=10:00 starts=1 status=started | 3 events to e2, version 3, 1 out of order
            RSAppointmentChanges a1: n=3 status=started | 3 events to e2, version 3, 1 out of order
              1 09:00..11:00 status=scheduled by e1, known 1..
              2 11:00..10:00 status=completed by e2, known 2..
              3 10:00.. status=started by e3, known 3..
        "#]],
    );
}

#[test]
fn takes_in_what_a_death_kept_from_a_row() {
    check(
        "created 8:00; scheduled 9:00; torn RSLead: started 9:30; again e3;
         torn RSLead+RSAppointment: completed 10:00; again e4",
        &[RSAppointment, RSAppointmentChanges, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 step: e2 applied (4 writes)
            3 step: e3 applied (3 writes, torn)
            4 correct: e3 applied (2 writes)
            5 step: e4 applied (4 writes, torn)
            6 correct: e4 applied (2 writes)
            RSAppointment a1: completedAt=10:00 scheduledAt=09:00 startedAt=09:30 starts=1 status=completed | 3 events to e4, version 3
            RSAppointmentChanges a1: n=3 status=completed | 3 events to e4, version 3
              1 09:00..09:30 status=scheduled by e2, known 2..
              2 09:30..10:00 status=started by e3, known 4..
              3 10:00.. status=completed by e4, known 6..
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=1 appointmentsOpen=0 conversions(visit(count=1 firstAt=10:00 lastAt=10:00)) | 3 events to e4, version 3
        "#]],
    );
}

#[test]
fn takes_in_what_a_corrected_row_held_before() {
    check(
        "created 8:00; scheduled 9:00; updated 10:00; journal: started 11:00; updated 9:30; again e4",
        &[RSAppointment],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 step: e2 applied (4 writes)
            3 step: e3 applied (2 writes)
            4 correct: e5 applied, 1800000 ms behind e3 (2 writes)
            5 correct: e4 applied (2 writes)
            RSAppointment a1: scheduledAt=09:00 startedAt=11:00 starts=1 status=started | 2 events to e4, version 2
        "#]],
    );
}

#[test]
fn does_not_mislead_the_rows_it_feeds() {
    check_beside(
        "scheduled 9:00; cancelled 8:00; rescheduled 10:00",
        &[RSAppointment],
        &[RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 correct: e2 applied, 3600000 ms behind e1 (4 writes)
            3 correct: e3 applied (3 writes)
            RSAppointment a1: cancelledAt=08:00 scheduledAt=09:00 starts=0 status=scheduled | 3 events to e3, version 3, 1 out of order
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=1 conversions() | 2 events to e1, version 2
        "#]],
    );
}

/// Tells a story under policy `detect` for some tables and shows the findings, which mend them.
#[track_caller]
fn check_findings(text: &str, detect: &[Table], expect: &Expect) {
    let mut world = World::new(settings(1, detect));
    world.run(&story(text));
    let comparison = world.compare(&[], &[]);
    expect.assert_eq(&show(&comparison));
    mend(&mut world, &comparison);
    world.assert_right();
}

#[test]
fn a_late_event_taken_in_on_arrival_shows_as_late() {
    check_findings(
        "scheduled 9:00 by=ann; completed 11:00; started 10:00 by=bob",
        &[RSAppointment],
        &expect![[r#"
            late RSAppointment a1 [e3]: holds the right events, but one was applied after a later one: 1 applied out of order
              status: "started" -> "completed" by e2
        "#]],
    );
    check_findings(
        "scheduled 9:00 by=ann; completed 11:00; started 10:00 by=bob",
        &[RSAppointmentChanges],
        &expect![[r#"
            late RSAppointmentChanges a1 [e3]: holds the right events, but one was applied after a later one: 1 applied out of order
              status: "started" -> "completed" by e2
              1.validTo: "11:00" -> "10:00" by e1
              2.n: 3 -> 2 by e3
              2.validTo: - -> "11:00" by e3
              3.assignee: "ann" -> "bob" by e2
              3.n: 2 -> 3 by e2
              3.validTo: "10:00" -> - by e2
        "#]],
    );
}

#[test]
fn a_late_event_that_would_have_made_no_difference_is_no_finding() {
    check_findings(
        "no_show 11:00; no_show 10:00",
        &[RSLead, RSAppointment],
        &expect![""],
    );
}
