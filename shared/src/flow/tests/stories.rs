//! Stories told event by event, with what becomes of the events and the rows.

use expect_test::{Expect, expect};

use super::telling::{Step, Told, settings, story};
use super::world::World;
use crate::handlers::Table;
use crate::handlers::Table::{
    RSAppointment, RSAppointmentChanges, RSLead, RSLeadGlobalConversions,
};
use crate::model::ActionNode;

/// Tells a story and shows what became of each event, and the rows of some tables. At the end every
/// event was delivered, so all rows must be right.
#[track_caller]
fn check(text: &str, tables: &[Table], expect: &Expect) {
    let world = told(text, &[]);
    expect.assert_eq(&(world.log.clone() + &world.show(tables)));
    world.assert_right();
    assert_eq!(world.compare(&[], &[]).findings, [], "and replay agrees");
}

pub(super) fn told(text: &str, detect: &[Table]) -> World {
    let mut world = World::new(settings(1, detect));
    world.run(&story(text));
    world
}

fn events(steps: &[Step]) -> Vec<Told> {
    let told = |step: &Step| match step {
        Step::Journal(told) | Step::Deliver(told) | Step::Torn(_, told) => told.clone(),
    };
    steps.iter().flat_map(told).collect()
}

#[test]
fn events_in_order_need_no_journal() {
    check(
        "created 8:00 stage=new by=ann amount=10.50; scheduled 9:00 kind=visit, started 9:30 by=bob;
         completed 10:00 amount=2; converted 11:00 amount=99.25; closed 12:00 reason=won",
        &Table::ALL,
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 step: e2 applied; e3 applied (4 writes)
            3 step: e4 applied (4 writes)
            4 step: e5 applied (2 writes)
            5 step: e6 applied (1 writes)
            RSLead l1: amount=99.25 assignee=bob closedAt=12:00 closedReason=won convertedAt=11:00 createdAt=08:00 events=6 stage=new | 6 events to e6, version 5
            RSAppointment a1: assignee=bob completedAt=10:00 kind=visit scheduledAt=09:00 startedAt=09:30 starts=1 status=completed | 3 events to e4, version 2
            RSAppointmentChanges a1: assignee=bob n=3 status=completed | 3 events to e4, version 2
              1 09:00..09:30 status=scheduled by e2, known 2..
              2 09:30..10:00 assignee=bob status=started by e3, known 2..
              3 10:00.. assignee=bob status=completed by e4, known 3..
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=1 appointmentsOpen=0 conversions(signed(count=1 firstAt=11:00 lastAt=11:00 value=99.25) visit(count=1 firstAt=10:00 lastAt=10:00 value=2) won(count=1 firstAt=11:00 lastAt=11:00)) convertedAt=11:00 secondsToConversion=10800 | 4 events to e5, version 4
        "#]],
    );
}

#[test]
fn a_late_event_takes_its_place_in_order() {
    check(
        "scheduled 9:00 by=ann; started 8:00 by=bob",
        &[RSAppointment, RSAppointmentChanges],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 correct: e2 applied, 3600000 ms behind e1 (4 writes)
            RSAppointment a1: assignee=ann scheduledAt=09:00 startedAt=08:00 starts=1 status=scheduled | 2 events to e1, version 2
            RSAppointmentChanges a1: assignee=ann n=2 status=scheduled | 2 events to e1, version 2
              1 09:00.. assignee=ann status=scheduled by e1, known 1..2
              1 08:00..09:00 assignee=bob status=started by e2, known 2..
              2 09:00.. assignee=ann status=scheduled by e1, known 2..
        "#]],
    );
}

#[test]
fn a_batch_is_put_in_order_and_each_event_counts_once() {
    check(
        "started 9:30, scheduled 9:00 id=s, again s, created 8:00",
        &[RSLead, RSAppointment],
        &expect![[r#"
            1 step: e3 applied; s applied; e1 applied (4 writes)
            RSLead l1: createdAt=08:00 events=3 | 3 events to e1, version 1
            RSAppointment a1: scheduledAt=09:00 startedAt=09:30 starts=1 status=started | 2 events to e1, version 1
        "#]],
    );
}

#[test]
fn what_is_delivered_twice_is_held() {
    check(
        "created 8:00; scheduled 9:00; again e2; again e1; again e1, again e2, started 9:30",
        &[RSLead, RSAppointment, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 step: e2 applied (4 writes)
            3 correct: e2 held (0 writes)
            4 correct: e1 held (0 writes)
            5 correct: e1 held; e2 held; e3 applied (3 writes)
            RSLead l1: createdAt=08:00 events=3 | 3 events to e3, version 3
            RSAppointment a1: scheduledAt=09:00 startedAt=09:30 starts=1 status=started | 2 events to e3, version 2
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=1 conversions() | 2 events to e2, version 2
        "#]],
    );
}

#[test]
fn the_last_event_again_changes_nothing() {
    check(
        "updated 8:00; again e1; again e1",
        &[RSLead, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 correct: e1 held (0 writes)
            3 correct: e1 held (0 writes)
            RSLead l1: events=1 | 1 events to e1, version 1
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=0 conversions(touch(count=1 firstAt=08:00 lastAt=08:00)) | 1 events to e1, version 1
        "#]],
    );
}

#[test]
fn a_death_between_two_writes_is_healed_by_the_redelivery() {
    check(
        "created 8:00; torn RSLead: scheduled 9:00; again e2;
         torn RSAppointmentChanges+RSLeadGlobalConversions: completed 10:00; again e3",
        &Table::ALL,
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 step: e2 applied (4 writes, torn)
            3 correct: e2 applied (3 writes)
            4 step: e3 applied (4 writes, torn)
            5 correct: e3 applied (2 writes)
            RSLead l1: createdAt=08:00 events=3 | 3 events to e3, version 3
            RSAppointment a1: completedAt=10:00 scheduledAt=09:00 starts=0 status=completed | 2 events to e3, version 2
            RSAppointmentChanges a1: n=2 status=completed | 2 events to e3, version 2
              1 09:00..10:00 status=scheduled by e2, known 3..
              2 10:00.. status=completed by e3, known 4..
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=1 appointmentsOpen=0 conversions(visit(count=1 firstAt=10:00 lastAt=10:00)) | 3 events to e3, version 3
        "#]],
    );
}

#[test]
fn a_death_before_the_first_write_and_after_the_last_leaves_no_trace() {
    check(
        "created 8:00; torn -: scheduled 9:00; again e2;
         torn RSLead+RSAppointment+RSAppointmentChanges+RSLeadGlobalConversions: started 9:30;
         again e3",
        &[RSLead, RSAppointment, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 step: e2 applied (4 writes, torn)
            3 step: e2 applied (4 writes)
            4 step: e3 applied (3 writes, torn)
            5 correct: e3 held (0 writes)
            RSLead l1: createdAt=08:00 events=3 | 3 events to e3, version 3
            RSAppointment a1: scheduledAt=09:00 startedAt=09:30 starts=1 status=started | 2 events to e3, version 2
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=1 conversions() | 2 events to e2, version 2
        "#]],
    );
}

#[test]
fn a_torn_batch_may_come_again_after_later_events() {
    check(
        "scheduled 9:00; torn RSLeadGlobalConversions: completed 10:00; cancelled 11:00; again e2",
        &[RSAppointment, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: e2 applied (4 writes, torn)
            3 step: e3 applied (4 writes)
            4 correct: e2 applied, 3600000 ms behind e3 (4 writes)
            RSAppointment a1: cancelledAt=11:00 completedAt=10:00 scheduledAt=09:00 starts=0 status=cancelled | 3 events to e3, version 3
            RSLeadGlobalConversions l1: appointmentsCancelled=1 appointmentsCompleted=0 appointmentsOpen=0 conversions(visit(count=1 firstAt=10:00 lastAt=10:00)) | 3 events to e3, version 4
        "#]],
    );
}

#[test]
fn a_conversion_that_no_longer_follows_is_taken_back() {
    check(
        "created 8:00; converted 12:00; scheduled 9:00; completed 10:00;
         converted 11:00:01.999 id=first; cancelled 10:30",
        &[RSLead, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 step: e2 applied (2 writes)
            3 correct: e3 applied, 10800000 ms behind e2 (4 writes)
            4 correct: e4 applied, 7200000 ms behind e2 (4 writes)
            5 correct: first applied, 3598001 ms behind e2 (2 writes)
            6 correct: e6 applied, 5400000 ms behind e2 (4 writes)
            RSLead l1: convertedAt=11:00:01.999Z createdAt=08:00 events=6 | 6 events to e2, version 6
            RSLeadGlobalConversions l1: appointmentsCancelled=1 appointmentsCompleted=0 appointmentsOpen=0 conversions(signed(count=2 firstAt=11:00:01.999Z lastAt=12:00) visit(count=1 firstAt=10:00 lastAt=10:00) won(count=2 firstAt=11:00:01.999Z lastAt=12:00)) convertedAt=11:00:01.999Z secondsToConversion=10801 | 6 events to e2, version 6
        "#]],
    );
}

#[test]
fn an_appointment_moves_between_the_counts_of_its_lead() {
    check(
        "scheduled 9:00; completed 10:00; rescheduled 11:00; no_show 12:00; started 11:30",
        &[RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: e2 applied (4 writes)
            3 step: e3 applied (4 writes)
            4 step: e4 applied (4 writes)
            5 correct: e5 applied, 1800000 ms behind e4 (3 writes)
            RSLeadGlobalConversions l1: appointmentsCancelled=1 appointmentsCompleted=0 appointmentsOpen=0 conversions(visit(count=1 firstAt=10:00 lastAt=10:00)) | 4 events to e4, version 4
        "#]],
    );
}

#[test]
fn two_appointments_of_one_lead_share_its_counts_and_nothing_else() {
    check(
        "scheduled 9:00 a1, scheduled 9:00 a2 id=f; completed 10:00 a2; started 9:30 a1",
        &[
            RSLead,
            RSAppointment,
            RSAppointmentChanges,
            RSLeadGlobalConversions,
        ],
        &expect![[r#"
            1 step: e1 applied; f applied (6 writes)
            2 step: e3 applied (4 writes)
            3 correct: e4 applied, 1800000 ms behind e3 (3 writes)
            RSLead l1: events=4 | 4 events to e3, version 3
            RSAppointment a1: scheduledAt=09:00 startedAt=09:30 starts=1 status=started | 2 events to e4, version 2
            RSAppointment a2: completedAt=10:00 scheduledAt=09:00 starts=0 status=completed | 2 events to e3, version 2
            RSAppointmentChanges a1: n=2 status=started | 2 events to e4, version 2
              1 09:00..09:30 status=scheduled by e1, known 1..
              2 09:30.. status=started by e4, known 3..
            RSAppointmentChanges a2: n=2 status=completed | 2 events to e3, version 2
              1 09:00..10:00 status=scheduled by f, known 1..
              2 10:00.. status=completed by e3, known 2..
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=1 appointmentsOpen=1 conversions(visit(count=1 firstAt=10:00 lastAt=10:00)) | 3 events to e3, version 2
        "#]],
    );
}

#[test]
fn leads_are_apart_even_where_their_appointments_share_an_id() {
    check(
        "scheduled 9:00 lead=l1; started 8:00 lead=l2; completed 8:30 lead=l1 id=e1 src=//other",
        &[RSAppointment],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: e2 applied (4 writes)
            3 correct: e1 applied, 1800000 ms behind e1 (4 writes)
            RSAppointment a1: completedAt=08:30 scheduledAt=09:00 starts=0 status=scheduled | 2 events to e1, version 2
            RSAppointment a1: startedAt=08:00 starts=1 status=started | 1 events to e2, version 1
        "#]],
    );
}

#[test]
fn equal_times_go_by_sequence_then_source_then_id() {
    check(
        "started 9:00 id=b src=//z; completed 9:00 id=a src=//z; cancelled 9:00 id=z src=//a;
         no_show 9:00 id=y seq=10 src=//a; rescheduled 9:00 id=x seq=9 src=//z",
        &[RSAppointmentChanges],
        &expect![[r#"
            1 step: b applied (4 writes)
            2 correct: a applied, 0 ms behind b (4 writes)
            3 correct: z applied, 0 ms behind b (4 writes)
            4 step: y applied (4 writes)
            5 correct: x applied, 0 ms behind y (3 writes)
            RSAppointmentChanges a1: n=5 status=no_show | 5 events to y, version 5
              1 09:00.. status=started by b, known 1..2
              1 09:00..09:00 status=completed by a, known 2..3
              2 09:00.. status=started by b, known 2..3
              1 09:00..09:00 status=cancelled by z, known 3..
              2 09:00..09:00 status=completed by a, known 3..
              3 09:00..09:00 status=started by b, known 3..
              4 09:00.. status=no_show by y, known 4..5
              4 09:00..09:00 status=scheduled by x, known 5..
              5 09:00.. status=no_show by y, known 5..
        "#]],
    );
}

#[test]
fn times_below_the_millisecond_count() {
    check(
        "started 9:00:00.000000002 id=a; completed 9:00:00.000000001 id=b",
        &[RSAppointment],
        &expect![[r#"
            1 step: a applied (4 writes)
            2 correct: b applied, 0 ms behind a (4 writes)
            RSAppointment a1: completedAt=09:00 startedAt=09:00 starts=1 status=started | 2 events to a, version 2
        "#]],
    );
}

#[test]
fn unmapped_and_faulty_events_change_no_row() {
    check(
        "viewed 8:00; created 9:00; updated 9:30 amount=12x; viewed 8:30, started 9:40;
         again e1; again e3; started 9:20, updated 9:10 amount=1x",
        &[RSLead],
        &expect![[r#"
            1 step: e1 unmapped (0 writes)
            2 step: e2 applied (2 writes)
            3 step: e3 amount: "12x" is not a decimal number (0 writes)
            4 step: e4 unmapped; e5 applied (4 writes)
            5 step: e1 unmapped (0 writes)
            6 step: e3 amount: "12x" is not a decimal number (0 writes)
            7 correct: e7 amount: "1x" is not a decimal number; e6 applied, 1200000 ms behind e5 (4 writes)
            RSLead l1: createdAt=09:00 events=3 | 3 events to e5, version 3
        "#]],
    );
}

#[test]
fn what_history_said_before_a_late_event_stays_readable() {
    check(
        "scheduled 9:00 by=ann; started 10:00; completed 11:00; rescheduled 10:30 by=bob;
         scheduled 8:00 by=ann",
        &[RSAppointmentChanges],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: e2 applied (3 writes)
            3 step: e3 applied (4 writes)
            4 correct: e4 applied, 1800000 ms behind e3 (3 writes)
            5 correct: e5 applied, 10800000 ms behind e3 (4 writes)
            RSAppointmentChanges a1: assignee=bob n=4 status=completed | 5 events to e3, version 5
              1 09:00..10:00 assignee=ann status=scheduled by e1, known 1..5
              2 10:00..10:30 assignee=ann status=started by e2, known 2..5
              3 11:00.. assignee=ann status=completed by e3, known 3..4
              3 10:30..11:00 assignee=bob status=scheduled by e4, known 4..5
              4 11:00.. assignee=bob status=completed by e3, known 4..5
              1 08:00..10:00 assignee=ann status=scheduled by e5, known 5..
              2 10:00..10:30 assignee=ann status=started by e2, known 5..
              3 10:30..11:00 assignee=bob status=scheduled by e4, known 5..
              4 11:00.. assignee=bob status=completed by e3, known 5..
        "#]],
    );
}

#[test]
fn an_event_that_changes_neither_status_nor_assignee_makes_no_version() {
    check(
        "scheduled 9:00 by=ann; rescheduled 10:00; started 11:00; rescheduled 10:30 by=ann",
        &[RSAppointmentChanges],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: e2 applied (3 writes)
            3 step: e3 applied (3 writes)
            4 correct: e4 applied, 1800000 ms behind e3 (3 writes)
            RSAppointmentChanges a1: assignee=ann n=2 status=started | 4 events to e3, version 4
              1 09:00..11:00 assignee=ann status=scheduled by e1, known 1..
              2 11:00.. assignee=ann status=started by e3, known 3..
        "#]],
    );
}

#[test]
fn a_correction_may_run_ahead_of_the_queue() {
    check(
        "journal: scheduled 9:00, started 10:00, completed 11:00, created 8:00; again e1; again e4;
         again e2; again e3; cancelled 12:00",
        &[RSLead, RSAppointment, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 correct: e4 applied, 3600000 ms behind e1 (2 writes)
            3 correct: e2 applied (2 writes)
            4 correct: e3 held (0 writes)
            5 step: e5 applied (4 writes)
            RSLead l1: createdAt=08:00 events=5 | 5 events to e5, version 3
            RSAppointment a1: cancelledAt=12:00 completedAt=11:00 scheduledAt=09:00 startedAt=10:00 starts=1 status=cancelled | 4 events to e5, version 3
            RSLeadGlobalConversions l1: appointmentsCancelled=1 appointmentsCompleted=0 appointmentsOpen=0 conversions(visit(count=1 firstAt=11:00 lastAt=11:00)) | 4 events to e5, version 3
        "#]],
    );
}

#[test]
fn an_event_late_for_several_rows_is_as_late_as_for_the_furthest() {
    check(
        "scheduled 9:00; updated 11:00 id=far; started 8:00",
        &[RSAppointment],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: far applied (2 writes)
            3 correct: e3 applied, 10800000 ms behind far (4 writes)
            RSAppointment a1: scheduledAt=09:00 startedAt=08:00 starts=1 status=scheduled | 2 events to e1, version 2
        "#]],
    );
}

#[test]
fn a_milestone_alone_leads_to_conversions_that_count_nothing() {
    check(
        "created 9:00; created 8:00; converted 7:00; updated 10:00",
        &[RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (2 writes)
            2 correct: e2 applied, 3600000 ms behind e1 (2 writes)
            3 correct: e3 applied, 7200000 ms behind e1 (2 writes)
            4 step: e4 applied (2 writes)
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=0 conversions(signed(count=1 firstAt=07:00 lastAt=07:00) touch(count=1 firstAt=10:00 lastAt=10:00) won(count=1 firstAt=07:00 lastAt=07:00)) convertedAt=07:00 secondsToConversion=-3600 | 3 events to e4, version 4
        "#]],
    );
}

#[test]
fn actions_name_what_observers_asked_for() {
    fn tree(nodes: &[ActionNode]) -> String {
        let one = |node: &ActionNode| {
            let (table, outcome) = (node.table.name(), node.outcome);
            format!("{table} {outcome:?} [{}]", tree(&node.children))
        };
        nodes.iter().map(one).collect::<Vec<_>>().join(", ")
    }
    let mut world = World::new(settings(1, &[]));
    world.run(&story("created 8:00; scheduled 9:00"));
    let mut shown = String::new();
    for event in story(
        "rescheduled 9:30 id=new; converted 10:00 id=sale; updated 8:30 id=late; completed 9:20 id=moves",
    ) {
        for (group, entries) in world.accept(&events(&[event])) {
            let decision = world.decide(&group, &entries, false);
            let id = &entries[0].event.id;
            shown += &format!("{id}: {}\n", tree(&decision.outcome.events[0].nodes));
            world.handle(&group, &entries, false);
        }
    }
    expect![[r#"
        new: RSLead Changed [], RSAppointment Unchanged [], RSAppointmentChanges Unchanged []
        sale: RSLead Changed [RSLeadGlobalConversions Changed [], RSLeadGlobalConversions Changed [], RSLeadGlobalConversions Changed []]
        late: RSLead Changed [RSLeadGlobalConversions Changed []]
        moves: RSLead Changed [RSLeadGlobalConversions Changed []], RSAppointment Changed [RSLeadGlobalConversions Changed []], RSAppointmentChanges Changed []
    "#]].assert_eq(&shown);
}
