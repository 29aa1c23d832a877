//! Adoption while legacy code writes at the same moment.

use std::slice::from_ref;

use foldback_tests::contract::{Fixture, LegacyFixture};
use foldback_tests::fixtures::{group, settings};
use pollster::block_on;
use serde_json::{Value, json};
use shared::handlers::{Baseline, Row, Table};
use shared::model::{Entry, Timestamp};
use shared::ports::{Clock, Journal, LegacyTables, Partition};
use shared::service::{Adopt, Adopted, Mode, Replay, Scope, parked_events};

use crate::legacy::WithLegacy;

const CURRENT: [Table; 2] = [Table::RSLead, Table::RSAppointment];

/// A clock that stands still: what must come later has to say so itself.
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn lead(stage: &str) -> Value {
    json!({"tenant": "acme", "leadId": "lead-1", "stage": stage, "events": 1})
}

fn with_lead(stage: &str) -> WithLegacy {
    let fixture = block_on(WithLegacy::fresh());
    block_on(fixture.put_legacy(Table::RSLead, &lead(stage)));
    fixture
}

fn adopt(fixture: &WithLegacy) -> Adopted {
    let adopt = Adopt {
        ports: fixture.ports(),
        clock: &Still(fixture.now()),
        settings: &settings(),
    };
    block_on(adopt.run(&CURRENT, None, |_| {}, |_| {})).expect("adopt")
}

#[track_caller]
fn assert_clean(fixture: &WithLegacy) {
    let parked = block_on(parked_events(fixture.ports())).expect("parked");
    let replay = Replay {
        ports: fixture.ports(),
        clock: &Still(fixture.now()),
        settings: &settings(),
        parked: &parked,
        grace_ms: 0,
    };
    let scope = Scope::Partition(Partition::WHOLE, None);
    let mut found = Vec::new();
    let run = replay.run(&scope, Mode::Report, |finding| found.push(finding), |_| {});
    block_on(run).expect("replay");
    assert_eq!(found, []);
}

fn stage(fixture: &WithLegacy) -> Value {
    let content = block_on(fixture.legacy_content(Table::RSLead, "lead-1"));
    content.get("stage").cloned().unwrap_or_default()
}

/// What the baselines of the lead say its stage was, in the order in which they count.
fn baselines(fixture: &WithLegacy) -> String {
    let group = group("acme", "lead-1");
    let entries = block_on(fixture.ports().entries(from_ref(&group))).expect("entries");
    let mut entries = entries.concat();
    entries.sort_by(|a, b| a.event.cmp_order(&b.event));
    let stage = |entry: &Entry| match Baseline::read(&entry.event)?.ok()?.row() {
        Row::RSLead(lead) => lead.stage.clone(),
        Row::RSAppointment(_)
        | Row::RSAppointmentChanges(_)
        | Row::RSLeadGlobalConversions(_)
        | Row::RSTenantDailyConversions(_) => None,
    };
    let stages: Vec<_> = entries.iter().filter_map(stage).collect();
    stages.concat()
}

#[test]
fn a_row_that_changes_in_between_is_read_again() {
    let fixture = with_lead("a");
    let mut writes = vec!["b"];
    fixture.ports().meddle(move |fields| {
        let next = writes.pop();
        fields.extend(next.map(|stage| ("stage".to_owned(), json!(stage))));
    });
    let adopted = adopt(&fixture);
    assert_eq!(
        (adopted.rows, adopted.adopted, adopted.conflicts),
        (1, 1, 0)
    );
    assert_eq!(
        (stage(&fixture), baselines(&fixture)),
        (json!("b"), "ab".into())
    );
    assert_clean(&fixture);
}

#[test]
fn a_row_that_changes_to_and_fro_ends_as_it_was_read_last() {
    let fixture = with_lead("a");
    let mut writes = vec!["a", "b"];
    fixture.ports().meddle(move |fields| {
        let next = writes.pop();
        fields.extend(next.map(|stage| ("stage".to_owned(), json!(stage))));
    });
    let adopted = adopt(&fixture);
    assert_eq!((adopted.adopted, adopted.conflicts), (1, 0));
    assert_eq!(
        (stage(&fixture), baselines(&fixture)),
        (json!("a"), "aba".into())
    );
    assert_clean(&fixture);
}

#[test]
fn a_row_that_never_rests_is_left_for_another_run() {
    let fixture = with_lead("a");
    let mut count = 0;
    fixture.ports().meddle(move |fields| {
        count += 1;
        fields.insert("events".to_owned(), json!(count + 1));
    });
    let busy = adopt(&fixture);
    assert_eq!(
        (busy.rows, busy.adopted, busy.conflicts, busy.mended),
        (1, 0, 1, 0)
    );
    let rows = block_on(fixture.ports().untracked(Table::RSLead, None, 10));
    assert_eq!(
        rows.expect("untracked").len(),
        1,
        "and nothing stands beside it"
    );
    fixture.ports().meddle(|_| {});
    let adopted = adopt(&fixture);
    assert_eq!((adopted.adopted, adopted.refusals), (1, 0));
    assert_clean(&fixture);
}

/// Some legacy code replaces documents whole, trails included.
#[test]
fn a_row_that_lost_its_trail_is_adopted_anew() {
    let fixture = with_lead("a");
    for (stage_now, said) in [("a", "a"), ("b", "ab"), ("a", "aba"), ("a", "aba")] {
        block_on(fixture.replace_legacy(Table::RSLead, &lead(stage_now)));
        let adopted = adopt(&fixture);
        assert_eq!((adopted.adopted, adopted.refusals), (1, 0));
        assert_eq!(
            (stage(&fixture), baselines(&fixture)),
            (json!(stage_now), said.into())
        );
        assert_clean(&fixture);
    }
}
