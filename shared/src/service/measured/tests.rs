use std::collections::BTreeSet;

use expect_test::{Expect, expect};

use crate::metrics::Unit;
use crate::model::{Event, Group, cloud_event};
use crate::ports::Message;

use super::*;

fn entry(id: &str, time: &str, recorded: &str) -> Arc<Entry> {
    let text = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"t","time":"{time}"}}"#
    );
    let event: Event = cloud_event::parse(text.as_bytes()).expect("an event");
    let group = Group {
        tenant: "acme".into(),
        key: "lead-7".into(),
    };
    Arc::new(Entry {
        group,
        hash: event.hash(),
        event,
        recorded: at(recorded),
    })
}

fn at(time: &str) -> Timestamp {
    Timestamp::parse(time).expect("a time")
}

fn received(receipt: &str, receives: u32, entries: Vec<Arc<Entry>>) -> Received {
    Received {
        message: Message {
            group: entries[0].group.clone(),
            deduplication_id: 1,
            entries,
        },
        receipt: Receipt(receipt.into()),
        receives,
        sent: at("2026-03-01T10:00:01Z"),
    }
}

/// What is not zero, in the units of the metrics.
fn check(readings: &[Reading], expect: &Expect) {
    let mut lines = BTreeSet::new();
    for reading in readings.iter().filter(|reading| reading.value > 0) {
        assert_eq!(reading.labels.len(), reading.metric.labels.len());
        let value = match reading.metric.unit {
            Unit::Count => reading.value.to_string(),
            Unit::Seconds => format!(
                "{}.{:03}s",
                reading.value / 1_000_000,
                reading.value / 1_000 % 1_000
            ),
        };
        let times = if reading.times > 1 {
            format!(" × {}", reading.times)
        } else {
            String::new()
        };
        lines.insert(format!(
            "{} {:?} {value}{times}\n",
            reading.metric.name, reading.labels
        ));
    }
    expect.assert_eq(&lines.into_iter().collect::<String>());
}

#[test]
fn a_batch_tells_its_waits_its_events_and_what_was_late() {
    let early = "2026-03-01T09:00:00Z";
    let (one, two) = (
        entry("1", early, "2026-03-01T10:00:00Z"),
        entry("2", early, "2026-03-01T10:00:00Z"),
    );
    let (parked, left) = (
        entry("3", early, "2026-03-01T10:00:00Z"),
        entry("4", early, "2026-03-01T10:00:00Z"),
    );
    let late = Late {
        ms: 7_200_000,
        overtaken_by: "9".into(),
        source: None,
        at: None,
        rows: Vec::new(),
    };
    let done = Processed {
        messages: 1,
        events: 2,
        rows: 3,
        refolded: 1,
        folded: 40,
        parked: vec![(Arc::clone(&parked), "no amount".into())],
        late: vec![(Arc::clone(&two), late)],
        failed: vec![Receipt("b".into())],
        ..Processed::default()
    };
    let batch = [
        received("a", 1, vec![one, two, parked]),
        received("b", 3, vec![left]),
    ];
    let when = (
        at("2026-03-01T10:00:01.250Z"),
        at("2026-03-01T10:00:01.300Z"),
    );
    check(
        &of_batch(&batch, &done, 1, when),
        &expect![[r#"
        foldback_arrival_to_rows_seconds [] 1.300s × 2
        foldback_end_to_end_seconds [] 3601.300s × 2
        foldback_events_folded_total [] 40
        foldback_events_late_total ["1h_to_1d", "acme"] 1
        foldback_events_parked_total ["acme"] 1
        foldback_events_processed_total ["applied"] 2
        foldback_lateness_seconds [] 7200.000s
        foldback_message_retries_total [] 1
        foldback_messages_failed_total [] 1
        foldback_messages_received_total [] 2
        foldback_process_seconds [] 0.050s
        foldback_queue_wait_seconds [] 0.250s × 2
        foldback_rows_written_total ["in_order"] 2
        foldback_rows_written_total ["refolded"] 1
    "#]],
    );
}

#[test]
fn a_replay_tells_every_class() {
    let mut run = ReplayRun {
        started: at("2026-03-01T10:00:00Z"),
        finished: at("2026-03-01T10:00:02Z"),
        rows: 10,
        mended: 1,
        ..ReplayRun::default()
    };
    for (class, count) in [("lost", 2), ("late", 1)] {
        run.by_class
            .insert(class.into(), [("RSLead".into(), count)].into());
    }
    let readings = of_replay(&run, true);
    let classes = readings.iter().filter(|one| one.metric == &m::FINDINGS);
    assert_eq!(
        classes.count(),
        Class::ALL.len(),
        "those of none are zero again"
    );
    check(
        &readings,
        &expect![[r#"
        foldback_findings ["late"] 1
        foldback_findings ["lost"] 2
        foldback_findings_mended_total [] 1
        foldback_replay_rows [] 10
        foldback_replay_seconds [] 2.000s
        foldback_replays_total [] 1
    "#]],
    );
    assert!(
        !of_replay(&run, false)
            .iter()
            .any(|one| one.metric == &m::FINDINGS)
    );
}

#[test]
fn a_queue_tells_its_oldest() {
    let depth = Depth {
        visible: 2,
        in_flight: 1,
        dead: 3,
    };
    let now = at("2026-03-01T10:00:02Z");
    let oldest = Some(at("2026-03-01T10:00:00Z"));
    check(
        &of_queue(&depth, oldest, now),
        &expect![[r#"
        foldback_queue_messages ["dead"] 3
        foldback_queue_messages ["in_flight"] 1
        foldback_queue_messages ["visible"] 2
        foldback_queue_oldest_seconds [] 2.000s
    "#]],
    );
}

#[test]
fn events_are_told_by_tenant() {
    let one = entry("1", "2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z");
    let events = [
        (&one, Appended::New),
        (&one, Appended::Duplicate),
        (&one, Appended::Duplicate),
    ];
    check(
        &of_events(events.into_iter()),
        &expect![[r#"
        foldback_events_ingested_total ["duplicate", "acme"] 2
        foldback_events_ingested_total ["new", "acme"] 1
    "#]],
    );
}

#[test]
fn lateness_is_told_in_four_stretches() {
    for (ms, expect) in [
        (0, "under_1m"),
        (59_999, "under_1m"),
        (60_000, "1m_to_1h"),
        (3_600_000, "1h_to_1d"),
        (86_400_000, "over_1d"),
    ] {
        assert_eq!(lateness(ms), expect, "{ms}");
    }
}
