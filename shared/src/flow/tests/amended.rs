//! Events that are amended or withdrawn: whatever order their tellings come in, the last one counts.

use expect_test::{Expect, expect};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::findings::{mend, show};
use super::images::imaging;
use super::lives::{Course, amended_life, config, turns};
use super::stories::told;
use super::telling::{Told, story};
use crate::handlers::Table;
use crate::handlers::Table::{
    RSAppointment, RSAppointmentChanges, RSLead, RSLeadGlobalConversions,
};
use crate::model::Class;

/// Tells a story and shows what became of each event, and the rows of some tables. All rows must be right.
#[track_caller]
fn check(text: &str, tables: &[Table], expect: &Expect) {
    let world = told(text, &[]);
    expect.assert_eq(&(world.log.clone() + &world.show(tables)));
    world.assert_right();
    assert_eq!(world.compare(&[], &[]).findings, [], "and replay agrees");
}

#[test]
fn an_amendment_takes_the_place_of_the_event() {
    check(
        "created 8:00 stage=new; scheduled 9:00 by=ann; started 9:30; scheduled 9:10 id=e2 rev=1 by=bob",
        &[RSLead, RSAppointment, RSAppointmentChanges],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 step: e2 applied (4 writes)
            3 step: e3 applied (3 writes)
            4 correct: e2 applied (4 writes)
            RSLead l1: assignee=bob createdAt=08:00 events=3 stage=new | 3 events to e3, version 4
            RSAppointment a1: assignee=bob scheduledAt=09:10 startedAt=09:30 starts=1 status=started | 2 events to e3, version 3
            RSAppointmentChanges a1: assignee=bob n=2 status=started | 2 events to e3, version 3
              1 09:00..09:30 assignee=ann status=scheduled by e2, known 2..4
              2 09:30.. assignee=ann status=started by e3, known 3..4
              1 09:10..09:30 assignee=bob status=scheduled by e2, known 4..
              2 09:30.. assignee=bob status=started by e3, known 4..
        "#]],
    );
}

#[test]
fn what_is_withdrawn_takes_back_what_followed_from_it() {
    check(
        "created 8:00; converted 9:00 amount=5; completed 10:00 amount=2; converted 9:00 id=e2 rev=1 withdrawn",
        &[RSLead, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 step: e2 applied (2 writes)
            3 step: e3 applied (4 writes)
            4 correct: e2 applied (2 writes)
            RSLead l1: createdAt=08:00 events=2 | 2 events to e3, version 4
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=1 appointmentsOpen=0 conversions(visit(count=1 firstAt=10:00 lastAt=10:00 value=2)) | 2 events to e3, version 4
        "#]],
    );
}

#[test]
fn a_withdrawal_may_come_before_the_event() {
    check(
        "created 8:00; started 9:00 id=s rev=1 withdrawn; started 9:00 id=s; completed 10:00",
        &[RSLead, RSAppointment, RSAppointmentChanges],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 correct: s held (4 writes)
            3 correct: s held (4 writes)
            4 step: e4 applied (4 writes)
            RSLead l1: createdAt=08:00 events=2 | 2 events to e4, version 4
            RSAppointment a1: completedAt=10:00 starts=0 status=completed | 1 events to e4, version 3
            RSAppointmentChanges a1: n=1 status=completed | 1 events to e4, version 3
              1 10:00.. status=completed by e4, known 4..
        "#]],
    );
}

#[test]
fn an_old_telling_that_comes_again_brings_nothing_back() {
    check(
        "created 8:00 stage=new; created 8:00 id=e1 rev=1 withdrawn; again e1; again e1 rev=1;
         updated 9:00 stage=won; again e1",
        &[RSLead, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 correct: e1 applied (2 writes)
            3 correct: e1 held (0 writes)
            4 correct: e1 held (0 writes)
            5 step: e3 applied (2 writes)
            6 correct: e1 held (0 writes)
            RSLead l1: events=1 stage=won | 1 events to e3, version 3
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=0 conversions(touch(count=1 firstAt=09:00 lastAt=09:00)) | 1 events to e3, version 3
        "#]],
    );
}

#[test]
fn an_event_may_move_to_another_appointment_and_back() {
    check(
        "scheduled 9:00 a1 id=s by=ann; scheduled 9:00 a2 id=s rev=1 by=ann; scheduled 9:00 a1 id=s rev=2",
        &[RSAppointment, RSAppointmentChanges],
        &expect![[r#"
            1 step: s applied (4 writes)
            2 correct: s applied (6 writes)
            3 correct: s applied (6 writes)
            RSAppointment a1: scheduledAt=09:00 starts=0 status=scheduled | 1 events to s, version 3
            RSAppointment a2: gone | 0 events to nothing, version 2
            RSAppointmentChanges a1: n=1 status=scheduled | 1 events to s, version 3
              1 09:00.. assignee=ann status=scheduled by s, known 1..2
              1 09:00.. status=scheduled by s, known 3..
            RSAppointmentChanges a2: gone | 0 events to nothing, version 2
              1 09:00.. assignee=ann status=scheduled by s, known 2..3
        "#]],
    );
}

#[test]
fn one_that_cannot_be_read_counts_for_nothing_until_it_is_amended() {
    check(
        "converted 9:00 id=c amount=5; converted 9:00 id=c rev=1 amount=1x;
         converted 9:00 id=c rev=2 amount=7",
        &[RSLead, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: c applied (2 writes)
            2 correct: c amount: "1x" is not a decimal number (2 writes)
            3 correct: c applied (2 writes)
            RSLead l1: amount=7 convertedAt=09:00 events=1 | 1 events to c, version 3
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=0 conversions(signed(count=1 firstAt=09:00 lastAt=09:00 value=7) won(count=1 firstAt=09:00 lastAt=09:00)) convertedAt=09:00 | 1 events to c, version 3
        "#]],
    );
}

#[test]
fn a_row_that_is_gone_cannot_be_made_by_who_saw_none() {
    let mut world = told("scheduled 9:00 id=s", &[]);
    let group = world.journal.keys().next().expect("a group").clone();
    let first = world.named(&["s"]);
    let accepted = world.accept(&first);
    let entries = &accepted[&group];
    let slow = {
        let mut empty = super::world::World::new(super::telling::settings(1, &[]));
        empty.accept(&first);
        empty.decide(&group, entries, false)
    };
    let withdrawal = Told {
        revision: 1,
        withdrawn: true,
        ..first[0].clone()
    };
    world.deliver(&[withdrawal]);
    let before = world.rows.clone();
    assert!(!world.commit(&slow.outcome.writes), "it saw no row");
    assert_eq!(world.rows, before);
    world.assert_right();
    world.deliver(&first);
    world.assert_right();
}

/// Nothing is left of the row but its trail, and then other code writes into it.
#[test]
fn content_in_a_row_that_is_gone_is_an_orphan() {
    let started =
        r#"{"appointmentId":"a1","leadId":"l1","starts":3,"status":"started","tenant":"acme"}"#;
    for body in [started, r#"{"status":"started"}"#] {
        let mut world = told(
            "created 8:00; scheduled 9:00 id=s; scheduled 9:00 id=s rev=1 withdrawn",
            &[],
        );
        let mut rows = world.rows.iter_mut();
        let (_, row) = rows
            .find(|(key, _)| key.table == RSAppointment)
            .expect("what is left of it");
        body.clone_into(&mut row.body);
        let comparison = world.compare(&[], &[]);
        let found: Vec<_> = comparison
            .findings
            .iter()
            .map(|one| (one.table, one.class))
            .collect();
        assert_eq!(found, [(RSAppointment, Class::Orphan)], "{body}");
        mend(&mut world, &comparison);
        assert_eq!(world.compare(&[], &[]).findings, []);
        // Who takes an event in meanwhile does not go on from it.
        let (_, row) = world
            .rows
            .iter_mut()
            .find(|(key, _)| key.table == RSAppointment)
            .expect("what is left of it");
        body.clone_into(&mut row.body);
        world.run(&story("completed 10:00 id=c"));
        world.assert_right();
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_to_amended_events_the_last_telling_counts(
        life in amended_life(),
        turns in turns(),
        rest in 1_usize..8,
        backwards in any::<bool>(),
    ) {
        let mut course = Course::new(&life, &[]);
        course.world.stated = Some(Vec::new());
        course.run(&turns, rest);
        course.world.assert_right();
        course.world.deliver_stated(backwards);
        course.world.assert_days();
        prop_assert_eq!(show(&course.world.compare(&[], &[])), "");
        course.assert_contiguous();
        course.assert_remembered();
    }

    #[test]
    fn images_change_no_row_of_amended_events(
        life in amended_life(),
        turns in turns(),
        rest in 1_usize..8,
        imaging in imaging(),
    ) {
        let mut course = Course::new(&life, &[]);
        course.world.imaging = imaging;
        course.run(&turns, rest);
        course.world.assert_right();
        prop_assert_eq!(show(&course.world.compare(&[], &[])), "");
        course.assert_contiguous();
    }

    #[test]
    fn rows_under_detect_lose_nothing_by_amendments(
        life in amended_life(),
        turns in turns(),
        rest in 1_usize..8,
    ) {
        let mut course = Course::new(&life, &Table::ALL);
        course.run(&turns, rest);
        course.assert_contiguous();
        let comparison = course.world.compare(&[], &[]);
        for finding in &comparison.findings {
            let fed = finding.table == RSLeadGlobalConversions;
            prop_assert!(fed || finding.class == Class::Late, "{}", show(&comparison));
        }
        mend(&mut course.world, &comparison);
        course.world.assert_right();
    }

    #[test]
    fn amendments_that_wait_are_not_lost(
        life in amended_life(),
        fates in vec(0_u8..4, 32),
        rest in 1_usize..8,
    ) {
        let fated = |fate: &[u8]| -> Vec<Told> {
            let fates = life.iter().zip(&fates).filter(|(_, known)| fate.contains(known));
            fates.map(|(told, _)| told.clone()).collect()
        };
        let delivered = fated(&[0, 1]);
        let mut course = Course::new(&delivered, &[]);
        course.run(&[], rest);
        let (in_flight, parked) = (fated(&[2]), fated(&[3]));
        course.world.accept(&[in_flight.clone(), parked.clone()].concat());
        let comparison = course.world.compare(&parked, &in_flight);
        for finding in &comparison.findings {
            prop_assert_eq!(finding.class, Class::Parked, "{}", show(&comparison));
        }
        let comparison = course.world.compare(&[], &[]);
        mend(&mut course.world, &comparison);
        course.world.assert_right();
    }

    #[test]
    fn a_lost_telling_is_found_and_mended(
        life in amended_life(),
        which in any::<Index>(),
        rest in 1_usize..8,
    ) {
        let mut delivered = life.clone();
        let lost = delivered.remove(which.index(life.len()));
        let mut course = Course::new(&delivered, &[]);
        course.run(&[], rest);
        course.world.accept(std::slice::from_ref(&lost));
        let comparison = course.world.compare(&[], &[]);
        for finding in &comparison.findings {
            let class = matches!(finding.class, Class::Lost | Class::Missing);
            prop_assert!(class, "{}", show(&comparison));
        }
        mend(&mut course.world, &comparison);
        course.world.assert_right();
    }
}
