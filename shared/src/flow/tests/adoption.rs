//! Baselines: folding goes on from rows that other code wrote.

use expect_test::{Expect, expect};

use super::findings::{key, mend, show};
use super::stories::told;
use super::telling::{Step, TENANT, Told, settings, story};
use super::world::World;
use crate::flow::{begin, first_writes};
use crate::handlers::Table::{
    RSAppointment, RSAppointmentChanges, RSLead, RSLeadGlobalConversions,
};
use crate::handlers::{Baseline, Table};
use crate::model::{Entry, Payload, Stamps, Timestamp};
use crate::observers;
use crate::settings::{Mapping, Meaning};

/// Tells a story with baselines in it; at the end all rows must be right, and replay must agree.
#[track_caller]
fn check(text: &str, tables: &[Table], expect: &Expect) {
    let world = told(text, &[]);
    expect.assert_eq(&without_hashes(&(world.log.clone() + &world.show(tables))));
    world.assert_right();
    assert_eq!(world.compare(&[], &[]).findings, [], "and replay agrees");
}

/// The text with `#` and dots for the hashes in baselines' ids.
fn without_hashes(text: &str) -> String {
    let mut parts = text.split('#');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| shown + "#…" + &part[32..])
}

#[test]
fn events_after_a_baseline_go_on_from_it() {
    check(
        "baseline 9:00 RSLead stage=open amount=12.5 createdAt=7:00 events=7;
         updated 10:00 stage=won; converted 11:00",
        &Table::ALL,
        &expect![[r#"
            1 step: l1#… applied (2 writes)
            2 step: e2 applied (2 writes)
            3 step: e3 applied (2 writes)
            RSLead l1: amount=12.5 convertedAt=11:00 createdAt=07:00 events=9 stage=won | 3 events to e3, version 3
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=0 conversions(signed(count=1 firstAt=11:00 lastAt=11:00) touch(count=1 firstAt=10:00 lastAt=10:00) won(count=1 firstAt=11:00 lastAt=11:00)) convertedAt=11:00 secondsToConversion=14400 | 3 events to e3, version 3
        "#]],
    );
}

#[test]
fn earlier_events_that_come_late_are_held_and_change_nothing() {
    check(
        "baseline 9:00 RSLead stage=open createdAt=7:00 events=7; created 8:00 stage=new by=bob;
         updated 10:00 by=ann; closed 8:30 reason=lost; again e2",
        &[RSLead, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: l1#… applied (2 writes)
            2 correct: e2 applied, 3600000 ms behind l1#… (2 writes)
            3 step: e3 applied (2 writes)
            4 correct: e4 applied, 5400000 ms behind e3 (1 writes)
            5 correct: e2 held (0 writes)
            RSLead l1: assignee=ann createdAt=07:00 events=8 stage=open | 4 events to e3, version 4
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=0 conversions(touch(count=1 firstAt=10:00 lastAt=10:00)) | 3 events to e3, version 3
        "#]],
    );
}

#[test]
fn a_history_goes_on_from_the_baseline_of_its_appointment() {
    check(
        "baseline 9:00 RSAppointment a1 status=started assignee=ann starts=2 scheduledAt=7:00;
         completed 10:00; scheduled 8:00 by=bob",
        &Table::ALL,
        &expect![[r#"
            1 step: a1#… applied (3 writes)
            2 step: e2 applied (4 writes)
            3 correct: e3 applied, 7200000 ms behind e2 (4 writes)
            RSLead l1: assignee=bob events=2 | 2 events to e2, version 2
            RSAppointment a1: assignee=ann completedAt=10:00 scheduledAt=07:00 starts=2 status=completed | 3 events to e2, version 3
            RSAppointmentChanges a1: assignee=ann n=3 status=completed | 3 events to e2, version 3
              1 09:00..10:00 assignee=ann status=started by a1#…, known 1..3
              2 10:00.. assignee=ann status=completed by e2, known 2..3
              1 08:00..09:00 assignee=bob status=scheduled by e3, known 3..
              2 09:00..10:00 assignee=ann status=started by a1#…, known 3..
              3 10:00.. assignee=ann status=completed by e2, known 3..
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=1 appointmentsOpen=0 conversions(visit(count=1 firstAt=10:00 lastAt=10:00)) | 2 events to e2, version 3
        "#]],
    );
}

#[test]
fn a_baseline_may_come_after_events() {
    check(
        "scheduled 8:00 by=ann; started 10:00; baseline 9:00 RSAppointment a1 status=cancelled starts=4;
         baseline 11:00 RSAppointment a1 starts=5",
        &[RSAppointment, RSAppointmentChanges, RSLeadGlobalConversions],
        &expect![[r#"
            1 step: e1 applied (4 writes)
            2 step: e2 applied (3 writes)
            3 correct: a1#… applied, 3600000 ms behind e2 (3 writes)
            4 step: a1#… applied (3 writes)
            RSAppointment a1: starts=5 | 4 events to a1#…, version 4
            RSAppointmentChanges a1: n=4 | 4 events to a1#…, version 4
              1 08:00..09:00 assignee=ann status=scheduled by e1, known 1..
              2 10:00.. assignee=ann status=started by e2, known 2..3
              2 09:00..10:00 status=cancelled by a1#…, known 3..
              3 10:00..11:00 status=started by e2, known 3..
              4 11:00..  by a1#…, known 4..
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=0 appointmentsOpen=0 conversions() | 4 events to a1#…, version 3
        "#]],
    );
}

#[test]
fn what_observers_saw_of_rows_adopted_together_is_absorbed() {
    check(
        "baseline 9:00 RSLeadGlobalConversions appointmentsOpen=3 convertedAt=8:00,
         baseline 9:00 RSLead createdAt=7:00 convertedAt=8:30,
         baseline 9:00 RSAppointment a1 status=started,
         baseline 9:00 RSAppointment a2 status=completed;
         completed 10:00 a1; started 10:00 a3 id=new",
        &[RSLeadGlobalConversions],
        &expect![[r#"
            1 step: a1#… applied; a2#… applied; l1#… applied; l1#… applied (6 writes)
            2 step: e5 applied (4 writes)
            3 step: new applied (4 writes)
            RSLeadGlobalConversions l1: appointmentsCancelled=0 appointmentsCompleted=1 appointmentsOpen=3 conversions(visit(count=1 firstAt=10:00 lastAt=10:00)) convertedAt=08:00 | 6 events to new, version 3
        "#]],
    );
}

/// At one moment, baselines come in the order of their sources.
#[test]
fn rows_that_observers_feed_are_adopted_after_those_that_feed_them() {
    let adoptable = Table::ALL.into_iter().filter(|table| table.is_adoptable());
    for fed in adoptable {
        for feeder in observers::feeders(fed) {
            assert!(
                Baseline::source(feeder) < Baseline::source(fed),
                "{feeder:?} {fed:?}"
            );
        }
    }
}

#[test]
fn the_extremes_of_a_legacy_row_stop_nothing() {
    let most = u64::MAX;
    let least = i64::MIN;
    let text = format!(
        "baseline 9:00 RSLead events={most}, baseline 9:00 RSAppointment starts={most} status=started,
         baseline 9:00 RSLeadGlobalConversions appointmentsOpen={least}; started 10:00; completed 11:00"
    );
    let world = told(&text, &[]);
    assert_eq!(world.compare(&[], &[]).findings, []);
}

#[test]
fn a_baseline_means_the_same_whatever_the_settings() {
    let good = baselines("baseline 9:00 RSAppointment a1 status=started").remove(0);
    let settings = settings(1, &[]);
    let map = |spoil: fn(&mut Entry)| {
        let mut entry = Entry::clone(&good.entry(&settings, Timestamp::MIN));
        spoil(&mut entry);
        match settings
            .tenant(TENANT)
            .expect("the tenant")
            .map(&entry.event)
        {
            Mapping::Mapped(Meaning::Baseline(baseline)) => baseline.row().body(),
            Mapping::Mapped(Meaning::Event(mapped)) => format!("{mapped:?}"),
            Mapping::Unmapped => "unmapped".into(),
            Mapping::Fault(why) => why,
        }
    };
    let shown = [
        map(|_| ()),
        map(|entry| entry.event.source = "//crm".into()),
        map(|entry| entry.event.data = Payload::None),
        map(|entry| entry.event.partition_key = Some("l2".into())),
        map(|entry| entry.event.source = Baseline::source(RSLead)),
    ];
    expect![[r#"
        {"appointmentId":"a1","leadId":"l1","starts":0,"status":"started","tenant":"acme"}
        unmapped
        baseline: the event has no JSON data
        baseline: the row is acme#l1's, the event is not
        baseline: the row is RSAppointment "a1", the event's is not
    "#]]
    .assert_eq(&(shown.join("\n") + "\n"));
}

/// What a row of the tests' lead is.
fn read(text: &str) -> Baseline {
    let told = baselines(&format!("baseline 9:00 {text}")).remove(0);
    let entry = told.entry(&settings(1, &[]), Timestamp::MIN);
    let read = Baseline::read(&entry.event).expect("a baseline");
    read.expect("a row")
}

#[test]
fn the_last_baseline_of_a_row_says_what_it_was_when_it_was_read_last() {
    let mut journal = Vec::new();
    let mut shown = String::new();
    for (text, read_start) in [
        ("RSLead stage=x", 100),
        ("RSLead stage=x", 200),
        ("RSLead stage=y", 200),
        // Read by someone whose clock is behind.
        ("RSLead stage=x", 50),
        ("RSLead stage=y", 50),
        ("RSLead stage=y", 300),
        ("RSAppointment a1 status=started", 50),
        ("RSLeadGlobalConversions", 50),
    ] {
        let entry = begin(&read(text), &journal, Timestamp::from_ms(read_start));
        let told = entry.as_ref().map_or("is there".to_owned(), |entry| {
            format!("{} ms {}", entry.event.time.ms(), entry.event.source)
        });
        shown += &format!("{text} at {read_start}: {told}\n");
        journal.extend(entry);
    }
    expect![[r#"
        RSLead stage=x at 100: 100 ms foldback:adopt/RSLead
        RSLead stage=x at 200: is there
        RSLead stage=y at 200: 200 ms foldback:adopt/RSLead
        RSLead stage=x at 50: 201 ms foldback:adopt/RSLead
        RSLead stage=y at 50: 202 ms foldback:adopt/RSLead
        RSLead stage=y at 300: is there
        RSAppointment a1 status=started at 50: 202 ms foldback:adopt/RSAppointment
        RSLeadGlobalConversions at 50: 202 ms foldback:adopt/RSLeadGlobalConversions
    "#]]
    .assert_eq(&shown);
    let mut identities: Vec<_> = journal.iter().map(|entry| entry.hash).collect();
    identities.sort();
    identities.dedup();
    assert_eq!(
        identities.len(),
        journal.len(),
        "each is an event of its own"
    );
}

/// Journals the baselines of rows and writes their rows, as the service does.
fn adopt(world: &mut World, told: &[Told]) {
    for (group, entries) in world.accept(told) {
        let rows: Vec<_> = entries
            .iter()
            .filter_map(|entry| Baseline::read(&entry.event)?.ok())
            .map(|baseline| (baseline.table(), baseline.id().clone()))
            .collect();
        let tenant = world.settings.tenant(TENANT).expect("the tenant");
        let journal = &world.journal[&group];
        let writes = first_writes(tenant, &group, journal, &rows, Stamps::default());
        let writes: Vec<_> = writes.into_iter().flatten().collect();
        assert!(world.commit(&writes));
    }
}

fn baselines(text: &str) -> Vec<Told> {
    match story(text).remove(0) {
        Step::Deliver(told) => told,
        other @ (Step::Journal(_) | Step::Torn(..)) => panic!("{other:?}"),
    }
}

#[test]
fn the_first_write_of_an_adopted_row_is_what_it_was() {
    let mut world = World::new(settings(1, &[]));
    adopt(
        &mut world,
        &baselines(
            "baseline 9:00 RSLead stage=open createdAt=7:00 events=3,
             baseline 9:00 RSAppointment a1 status=started starts=1",
        ),
    );
    expect![[r#"
        RSLead l1: createdAt=07:00 events=3 stage=open | 1 events to l1#…, version 1
        RSAppointment a1: starts=1 status=started | 1 events to a1#…, version 1
    "#]]
    .assert_eq(&without_hashes(&world.show(&Table::ALL)));
    let missing = world.compare(&[], &[]);
    expect![[r#"
        missing RSAppointmentChanges a1 [a1#…]: should exist and does not: 1 events lead to it
          appointmentId: - -> "a1" by a1#…
          n: - -> 1 by a1#…
          status: - -> "started" by a1#…
          tenant: - -> "acme" by a1#…
          1.causedBy: - -> "a1#…" by a1#…
          1.n: - -> 1 by a1#…
          1.status: - -> "started" by a1#…
          1.validFrom: - -> "09:00" by a1#…
        missing RSLeadGlobalConversions l1 [l1#… a1#…]: should exist and does not: 2 events lead to it
          appointmentsCancelled: - -> 0 by a1#…
          appointmentsCompleted: - -> 0 by a1#…
          appointmentsOpen: - -> 1 by a1#…
          leadId: - -> "l1" by a1#…
          tenant: - -> "acme" by a1#…
    "#]].assert_eq(&without_hashes(&show(&missing)));
    mend(&mut world, &missing);
    world.assert_right();
    world.run(&story("started 10:00 by=ann; scheduled 8:00 by=bob"));
    world.assert_right();
}

#[test]
fn the_first_write_of_a_row_that_went_on_is_the_fold() {
    let mut world = World::new(settings(1, &[]));
    let row = baselines("baseline 9:00 RSLead stage=open events=3");
    world.run(&[Step::Journal(row.clone())]);
    world.run(&story(
        "journal: updated 10:00 stage=won, updated 8:00 by=ann",
    ));
    adopt(&mut world, &row);
    expect![[r#"
        RSLead l1: events=4 stage=won | 3 events to e1, version 1
    "#]]
    .assert_eq(&without_hashes(&world.show(&[RSLead])));
}

#[test]
fn what_someone_else_writes_afterwards_is_foreign() {
    let mut world = World::new(settings(1, &[]));
    adopt(
        &mut world,
        &baselines("baseline 9:00 RSLead stage=open events=3"),
    );
    let kept = world.rows.get_mut(&key(RSLead, "l1")).expect("a row");
    kept.body = kept.body.replace("open", "shut");
    let found = world.compare(&[], &[]);
    expect![[r#"
        foreign RSLead l1 []: holds the right events, but someone else changed its content: its content is not what its last write left
          stage: "shut" -> "open" by l1#ef8bef19b386860b882b6e8f5443dbdf
    "#]].assert_eq(&show(&found));
    mend(&mut world, &found);
    world.assert_right();
}
