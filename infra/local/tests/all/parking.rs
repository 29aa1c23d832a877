//! Parked events of an entity: the later ones go on, the rows say so, and any order of redrive heals them.

#![expect(
    clippy::indexing_slicing,
    reason = "tests say with a panic what is not as it must be"
)]

use serde_json::Value;

use crate::support::{Foldback, TABLES};

/// What reads the amount of an event, where a broken sender put words.
fn settings(amount: &str) -> String {
    format!(
        r#"version = 1
[[tenant]]
ids = ["acme"]
[tenant.set]
stage = {{ pointer = "/stage" }}
amount = {{ pointer = "/{amount}" }}
appointmentId = {{ pointer = "/meeting" }}
[[tenant.map]]
type = "lead.updated"
to = "lead.updated"
[[tenant.map]]
type = "meeting.done"
to = "appointment.completed"
[[tenant.conversion]]
name = "visit"
on = "appointment.completed"
value = "amount"
"#
    )
}

/// Five events of one lead in order, the second, third and fourth of which cannot be read at first.
fn events() -> Vec<String> {
    let event = |n: u32, kind: &str, data: &str| {
        format!(
            concat!(
                r#"{{"specversion":"1.0","source":"//crm","id":"e{}","type":"{}","tenant":"acme","#,
                r#""time":"2026-03-01T09:0{}:00Z","partitionkey":"lead-7","data":{}}}"#
            ),
            n, kind, n, data
        )
    };
    let broken = |stage: &str| format!(r#"{{"stage":"{stage}","amount":"ten","euros":"10"}}"#);
    vec![
        event(
            1,
            "lead.updated",
            r#"{"stage":"one","amount":"1","euros":"1"}"#,
        ),
        event(2, "lead.updated", &broken("two")),
        event(
            3,
            "meeting.done",
            r#"{"meeting":"m1","amount":"ten","euros":"30"}"#,
        ),
        event(4, "lead.updated", &broken("four")),
        event(5, "lead.updated", r#"{"stage":"five"}"#),
    ]
}

/// By row, the events that `show` says it waits for.
fn parked(foldback: &Foldback) -> Vec<String> {
    let shown = foldback.ok(&["show", "lead-7", "--json"]);
    let shown: Value = serde_json::from_str(shown.lines().next().expect("a line")).expect("JSON");
    let rows = shown["rows"].as_array().expect("rows");
    let waiting = rows
        .iter()
        .filter(|row| row["parked"] != serde_json::json!([]));
    let mut waiting: Vec<String> = waiting
        .map(|row| format!("{} {}: {}", row["table"], row["id"], row["parked"]))
        .map(|line| line.replace('"', ""))
        .collect();
    waiting.sort();
    waiting
}

/// The letters' numbers, by event.
fn letters(foldback: &Foldback) -> Vec<(String, String)> {
    let list = foldback.ends(&["dlq", "list"]).stdout;
    let lines = list.lines().filter(|line| line.contains("acme#lead-7"));
    let mut letters: Vec<(String, String)> = lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let event = words
                .iter()
                .find(|word| word.starts_with('e'))
                .expect("an event");
            let letter = words.iter().find(|word| word.parse::<u64>().is_ok());
            ((*event).to_owned(), (*letter.expect("a number")).to_owned())
        })
        .collect();
    letters.sort();
    letters
}

#[test]
fn later_events_go_on_and_any_order_of_redrive_heals() {
    let right = Foldback::new();
    let file = right.file("events.jsonl", &events().join("\n"));
    let mended = right.file("mended.toml", &settings("euros"));
    right.ok(&["run", &file, "--settings", &mended]);
    let right = TABLES.map(|table| right.ok(&["export", table]));

    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let foldback = Foldback::new();
        let file = foldback.file("events.jsonl", &events().join("\n"));
        let first = foldback.file("first.toml", &settings("amount"));
        let mended = foldback.file("mended.toml", &settings("euros"));
        let none = foldback.file("none.jsonl", "");
        assert_eq!(
            foldback.ends(&["run", &file, "--settings", &first]).status,
            1
        );
        let lead = foldback.ok(&["export", "RSLead"]);
        assert!(
            lead.contains(r#""stage":"five""#),
            "later ones go on: {lead}"
        );
        assert!(lead.contains(r#""events":2"#), "{lead}");
        // Nobody can read them, so all that is known is whose they are.
        assert_eq!(parked(&foldback), ["RSLead lead-7: [e2,e3,e4]"]);
        let shown = foldback.ok(&["show", "lead-7"]);
        assert!(
            shown.contains("RSLead lead-7  parked: waits for e2, e3, e4"),
            "{shown}"
        );

        foldback.ends(&["run", &none, "--settings", &mended]);
        let rows = [
            "RSAppointment m1: [e3]",
            "RSAppointmentChanges m1: [e3]",
            "RSLead lead-7: [e2,e3,e4]",
            "RSLeadGlobalConversions lead-7: [e3]",
        ];
        assert_eq!(parked(&foldback), rows, "rows that are not there yet too");
        let letters = letters(&foldback);
        assert_eq!(letters.len(), 3, "{letters:?}");
        for (place, which) in order.into_iter().enumerate() {
            foldback.ok(&["dlq", "redrive", &letters[which].1]);
            let waiting = parked(&foldback);
            let done: Vec<&str> = order[..=place]
                .iter()
                .map(|&one| letters[one].0.as_str())
                .collect();
            for event in &done {
                assert!(!waiting.concat().contains(event), "{order:?}: {waiting:?}");
            }
            // The lead's rows are folded anew, of all that the journal has and that can be read by now. Of the
            // meeting's rows only its own letter tells.
            let meeting = ["RSAppointment m1: [e3]", "RSAppointmentChanges m1: [e3]"];
            let expected: &[&str] = if done.contains(&"e3") { &[] } else { &meeting };
            assert_eq!(waiting, expected, "{order:?}");
        }
        foldback.ok(&["replay"]);
        assert_eq!(
            TABLES.map(|table| foldback.ok(&["export", table])),
            right,
            "{order:?}"
        );
    }
}

#[test]
fn all_at_once_heal_too() {
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &events().join("\n"));
    let first = foldback.file("first.toml", &settings("amount"));
    let mended = foldback.file("mended.toml", &settings("euros"));
    assert_eq!(
        foldback.ends(&["run", &file, "--settings", &first]).status,
        1
    );
    foldback.ok(&["dlq", "redrive", "--settings", &mended]);
    assert_eq!(parked(&foldback), Vec::<String>::new());
    foldback.ok(&["replay"]);
    let lead = foldback.ok(&["export", "RSLead"]);
    assert!(
        lead.contains(r#""events":5"#) && lead.contains(r#""amount":10"#),
        "{lead}"
    );
}
