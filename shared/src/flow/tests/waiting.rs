//! Events that no row holds yet, but that are not lost: on their way, or parked.

use expect_test::{Expect, expect};

use super::findings::show;
use super::telling::{settings, story};
use super::world::World;

/// Tells a story and shows the findings where some of its events are on their way, others parked.
#[track_caller]
fn check(text: &str, in_flight: &[&str], parked: &[&str], expect: &Expect) {
    let mut world = World::new(settings(1, &[]));
    world.run(&story(text));
    let (parked, in_flight) = (world.named(parked), world.named(in_flight));
    let comparison = world.compare(&parked, &in_flight);
    expect.assert_eq(&show(&comparison));
    world.deliver(&world.journaled());
    world.assert_right();
}

/// As [`check`], where nothing is to be found.
#[track_caller]
fn check_nothing(text: &str, in_flight: &[&str]) {
    check(text, in_flight, &[], &expect![[""]]);
}

#[test]
fn an_event_on_its_way_is_not_lost() {
    check_nothing("created 8:00; journal: scheduled 9:00", &["e2"]);
    check_nothing("journal: created 8:00", &["e1"]);
    check_nothing(
        "created 8:00; scheduled 9:00; journal: completed 10:00; updated 11:00",
        &["e3"],
    );
}

#[test]
fn several_events_on_their_way_are_not_lost() {
    check_nothing(
        "created 8:00; updated 8:10; journal: scheduled 9:00, started 9:30, completed 10:00, converted 11:00",
        &["e3", "e4", "e5", "e6"],
    );
}

#[test]
fn a_derived_row_may_wait_for_its_first_event() {
    check_nothing("closed 8:00; journal: created 9:00", &["e2"]);
}

#[test]
fn an_event_on_its_way_may_take_the_place_of_a_later_one() {
    // Once it is there, it is the one that completes the appointment, not e2.
    check_nothing(
        "scheduled 8:00; no_show 10:00; journal: cancelled 9:00",
        &["e3"],
    );
}

#[test]
fn what_is_on_its_way_hides_nothing_else() {
    check(
        "created 8:00; journal: scheduled 9:00; journal: started 9:30; updated 9:40",
        &["e3"],
        &[],
        &expect![[r#"
            lost RSLead l1 [e2]: lacks events that the journal has: it holds 2 of 4 events
              events: 2 -> 4 by e4
            missing RSAppointment a1 [e2]: should exist and does not: 2 events lead to it
              appointmentId: - -> "a1" by e2
              leadId: - -> "l1" by e2
              scheduledAt: - -> "09:00" by e2
              startedAt: - -> "09:30" by e3
              starts: - -> 1 by e3
              status: - -> "started" by e3
              tenant: - -> "acme" by e2
            missing RSAppointmentChanges a1 [e2]: should exist and does not: 2 events lead to it
              appointmentId: - -> "a1" by e2
              n: - -> 2 by e3
              status: - -> "started" by e3
              tenant: - -> "acme" by e2
              1.causedBy: - -> "e2" by e2
              1.n: - -> 1 by e2
              1.status: - -> "scheduled" by e2
              1.validFrom: - -> "09:00" by e2
              1.validTo: - -> "09:30" by e2
              2.causedBy: - -> "e3" by e3
              2.n: - -> 2 by e3
              2.status: - -> "started" by e3
              2.validFrom: - -> "09:30" by e3
            lost RSLeadGlobalConversions l1 [e2]: lacks events that the journal has: it holds 2 of 3 events
              appointmentsOpen: 0 -> 1 by e2
        "#]],
    );
}

#[test]
fn a_queued_event_that_the_rows_hold_already_hides_nothing_else() {
    // Its message was handled, but not yet taken from the queue.
    check(
        "created 8:00; journal: scheduled 9:00; updated 9:30",
        &["e3"],
        &[],
        &expect![[r#"
            lost RSLead l1 [e2]: lacks events that the journal has: it holds 2 of 3 events
              events: 2 -> 3 by e3
            missing RSAppointment a1 [e2]: should exist and does not: 1 events lead to it
              appointmentId: - -> "a1" by e2
              leadId: - -> "l1" by e2
              scheduledAt: - -> "09:00" by e2
              starts: - -> 0 by e2
              status: - -> "scheduled" by e2
              tenant: - -> "acme" by e2
            missing RSAppointmentChanges a1 [e2]: should exist and does not: 1 events lead to it
              appointmentId: - -> "a1" by e2
              n: - -> 1 by e2
              status: - -> "scheduled" by e2
              tenant: - -> "acme" by e2
              1.causedBy: - -> "e2" by e2
              1.n: - -> 1 by e2
              1.status: - -> "scheduled" by e2
              1.validFrom: - -> "09:00" by e2
            lost RSLeadGlobalConversions l1 [e2]: lacks events that the journal has: it holds 2 of 3 events
              appointmentsOpen: 0 -> 1 by e2
        "#]],
    );
}

/// Copies from many groups overtake each other between the journal and the queue.
#[test]
fn of_many_on_their_way_the_rows_may_hold_any() {
    let queued: Vec<String> = (10..25)
        .map(|minute| format!("updated 8:{minute}"))
        .collect();
    let text = format!("created 8:00; journal: {}; updated 9:30", queued.join(", "));
    let names: Vec<String> = (2..=17).map(|n| format!("e{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    check_nothing(&text, &names);
    // Two are through, and the row holds one alone beside the first.
    let (_, last) = names.split_at(2);
    check(
        &text,
        last,
        &[],
        &expect![[r#"
        lost RSLead l1 []: lacks events that the journal has: it holds 2 of 17 events
          events: 2 -> 17 by e17
        lost RSLeadGlobalConversions l1 []: lacks events that the journal has: it holds 2 of 17 events
          conversions.touch.count: 1 -> 16 by e17
          conversions.touch.firstAt: "09:30" -> "08:10" by e2
    "#]],
    );
}

#[test]
fn rows_wait_for_a_parked_event() {
    check(
        "created 8:00; journal: scheduled 9:00; updated 9:10",
        &[],
        &["e2"],
        &expect![[r#"
            parked RSLead l1 [e2]: waits for an event that sits in the dead-letter queue: it holds 2 of 3 events
              events: 2 -> 3 by e3
            parked RSAppointment a1 [e2]: waits for an event that sits in the dead-letter queue: 1 events lead to it
              appointmentId: - -> "a1" by e2
              leadId: - -> "l1" by e2
              scheduledAt: - -> "09:00" by e2
              starts: - -> 0 by e2
              status: - -> "scheduled" by e2
              tenant: - -> "acme" by e2
            parked RSAppointmentChanges a1 [e2]: waits for an event that sits in the dead-letter queue: 1 events lead to it
              appointmentId: - -> "a1" by e2
              n: - -> 1 by e2
              status: - -> "scheduled" by e2
              tenant: - -> "acme" by e2
              1.causedBy: - -> "e2" by e2
              1.n: - -> 1 by e2
              1.status: - -> "scheduled" by e2
              1.validFrom: - -> "09:00" by e2
            parked RSLeadGlobalConversions l1 [e2]: waits for an event that sits in the dead-letter queue: it holds 2 of 3 events
              appointmentsOpen: 0 -> 1 by e2
        "#]],
    );
}

#[test]
fn rows_wait_for_several_parked_events() {
    check(
        "created 8:00; scheduled 9:00; journal: started 9:30, completed 10:00, cancelled 10:30; \
         updated 11:00; updated 11:10",
        &[],
        &["e3", "e4", "e5"],
        &expect![[r#"
            parked RSLead l1 [e3 e4 e5]: waits for an event that sits in the dead-letter queue: it holds 4 of 7 events
              events: 4 -> 7 by e7
            parked RSAppointment a1 [e3 e4 e5]: waits for an event that sits in the dead-letter queue: it holds 1 of 4 events
              cancelledAt: - -> "10:30" by e5
              completedAt: - -> "10:00" by e4
              startedAt: - -> "09:30" by e3
              starts: 0 -> 1 by e3
              status: "scheduled" -> "cancelled" by e5
            parked RSAppointmentChanges a1 [e3 e4 e5]: waits for an event that sits in the dead-letter queue: it holds 1 of 4 events
              n: 1 -> 4 by e5
              status: "scheduled" -> "cancelled" by e5
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
              3.validTo: - -> "10:30" by e4
              4.causedBy: - -> "e5" by e5
              4.n: - -> 4 by e5
              4.status: - -> "cancelled" by e5
              4.validFrom: - -> "10:30" by e5
            parked RSLeadGlobalConversions l1 [e4 e5]: waits for an event that sits in the dead-letter queue: it holds 4 of 6 events
              appointmentsCancelled: 0 -> 1 by e5
              appointmentsOpen: 1 -> 0 by e4
              conversions.visit.count: - -> 1 by e4
              conversions.visit.firstAt: - -> "10:00" by e4
              conversions.visit.lastAt: - -> "10:00" by e4
        "#]],
    );
}

#[test]
fn rows_wait_for_a_parked_event_while_others_are_on_their_way() {
    check(
        "scheduled 9:00; journal: started 9:30; updated 9:40; journal: completed 10:00, updated 10:10",
        &["e4", "e5"],
        &["e2"],
        &expect![[r#"
            parked RSLead l1 [e2]: waits for an event that sits in the dead-letter queue: it holds 2 of 5 events
              events: 2 -> 5 by e5
            parked RSAppointment a1 [e2]: waits for an event that sits in the dead-letter queue: it holds 1 of 3 events
              completedAt: - -> "10:00" by e4
              startedAt: - -> "09:30" by e2
              starts: 0 -> 1 by e2
              status: "scheduled" -> "completed" by e4
            parked RSAppointmentChanges a1 [e2]: waits for an event that sits in the dead-letter queue: it holds 1 of 3 events
              n: 1 -> 3 by e4
              status: "scheduled" -> "completed" by e4
              1.validTo: - -> "09:30" by e1
              2.causedBy: - -> "e2" by e2
              2.n: - -> 2 by e2
              2.status: - -> "started" by e2
              2.validFrom: - -> "09:30" by e2
              2.validTo: - -> "10:00" by e2
              3.causedBy: - -> "e4" by e4
              3.n: - -> 3 by e4
              3.status: - -> "completed" by e4
              3.validFrom: - -> "10:00" by e4
        "#]],
    );
}

/// It was half written when it was parked: its appointment does not know that it was completed, nor do later events
/// that were handled since.
#[test]
fn rows_that_are_fed_by_one_that_waits_wait_too() {
    let text = "created 8:00; torn RSLead+RSLeadGlobalConversions: completed 9:00; scheduled 9:30";
    check_nothing(text, &["e2"]);
    check(
        text,
        &[],
        &["e2"],
        &expect![[r#"
        parked RSAppointment a1 [e2]: waits for an event that sits in the dead-letter queue: it holds 1 of 2 events
          completedAt: - -> "09:00" by e2
        parked RSAppointmentChanges a1 [e2]: waits for an event that sits in the dead-letter queue: it holds 1 of 2 events
          n: 1 -> 2 by e3
          1.causedBy: - -> "e2" by e2
          1.n: - -> 1 by e2
          1.status: - -> "completed" by e2
          1.validFrom: - -> "09:00" by e2
          1.validTo: - -> "09:30" by e2
          2.n: 1 -> 2 by e3
        parked RSLeadGlobalConversions l1 [e2]: waits for an event that sits in the dead-letter queue: rows that feed it lack events
          appointmentsCompleted: 1 -> 0 by e3
    "#]],
    );
}

/// One that is parked came again, and was handled: the row holds it and lacks the others.
#[test]
fn rows_wait_for_parked_events_of_which_they_hold_some() {
    check(
        "journal: created 8:00, updated 9:00, closed 10:00; again e2",
        &[],
        &["e1", "e2", "e3"],
        &expect![[r#"
            parked RSLead l1 [e1 e3]: waits for an event that sits in the dead-letter queue: it holds 1 of 3 events
              closedAt: - -> "10:00" by e3
              createdAt: - -> "08:00" by e1
              events: 1 -> 3 by e3
            parked RSLeadGlobalConversions l1 [e1]: waits for an event that sits in the dead-letter queue: it holds 1 of 2 events
        "#]],
    );
}

#[test]
fn rows_wait_for_parked_events_of_which_they_hold_any_of_many() {
    let many: Vec<String> = (0..30)
        .map(|minute| format!("updated 9:{minute:02}"))
        .collect();
    let text = format!("journal: {}; again e7; again e11", many.join(", "));
    let parked: Vec<String> = (1..=30).map(|number| format!("e{number}")).collect();
    let parked: Vec<&str> = parked.iter().map(String::as_str).collect();
    let mut world = World::new(settings(1, &[]));
    world.run(&story(&text));
    let comparison = world.compare(&world.named(&parked), &[]);
    let classes: Vec<&str> = comparison
        .findings
        .iter()
        .map(|one| one.class.name())
        .collect();
    assert_eq!(classes, ["parked", "parked"], "{}", show(&comparison));
}
