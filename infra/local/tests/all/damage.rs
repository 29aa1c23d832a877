//! Deliberate damage is found by replay with the right class, and `--mode update` mends it.

use serde_json::Value;

use crate::support::{Dataset, Foldback, bpic_settings};

/// A store with a thousand events, and one lead of them with an appointment of several changes.
struct Scene {
    dataset: Dataset,
    foldback: Foldback,
    lead: String,
    appointment: String,
}

fn scene() -> Scene {
    let dataset = Dataset::small(1_000);
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &dataset.lines.join("\n"));
    foldback.ok(&["run", &file, "--settings", dataset.settings()]);
    let (appointment, lead) = foldback
        .database()
        .query_row(
            "SELECT h.id, g.key FROM history h JOIN groups g USING (gid)
             GROUP BY h.gid, h.id HAVING count(*) >= 3 ORDER BY g.key LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("an appointment with three changes");
    Scene {
        dataset,
        foldback,
        lead,
        appointment,
    }
}

impl Scene {
    fn damage(&self, sql: &str) {
        let sql = sql
            .replace("LEAD", &self.lead)
            .replace("APPOINTMENT", &self.appointment);
        let changed = self.foldback.database().execute(&sql, []).expect(&sql);
        assert!(changed > 0, "{sql} damaged nothing");
    }

    /// All rows, trails and histories as they stand.
    fn stored(&self) -> Vec<String> {
        let database = self.foldback.database();
        let mut stored = Vec::new();
        for sql in [
            "SELECT printf('%s %s %s %s %s %s', gid, tbl, id, version, body, hex(trail)) FROM rows",
            "SELECT printf('%s %s %s %s %s %s %s %s %s', gid, tbl, id, n, made, valid_from,
                           valid_to, recorded_to, fields) FROM history",
        ] {
            let mut select = database.prepare(sql).expect("a statement");
            let rows = select.query_map([], |row| row.get(0)).expect("rows");
            stored.extend(rows.map(|row| row.expect("a row")));
        }
        stored
    }

    /// Replay finds exactly these classes on these tables, writes nothing, then mends them all.
    #[track_caller]
    fn found_and_mended(&self, expect: &[(&str, &str)]) {
        let before = self.stored();
        let ended = self
            .foldback
            .ends(&["replay", "--mode", "changes", "--json"]);
        let findings: Vec<Value> = ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut classes: Vec<(String, String)> = findings
            .iter()
            .map(|one| (text(&one["class"]), text(&one["table"])))
            .collect();
        classes.sort();
        let classes: Vec<(&str, &str)> = classes
            .iter()
            .map(|(class, table)| (class.as_str(), table.as_str()))
            .collect();
        assert_eq!(classes, expect, "{findings:#?}");
        assert_eq!(ended.status, 1, "findings show in the exit status");
        let report = self.foldback.ends(&["replay"]);
        assert_eq!(report.status, 1);
        assert_eq!(self.stored(), before, "report and changes write no row");

        let update = self.foldback.ends(&["replay", "--mode", "update"]);
        assert_eq!(update.status, 1, "{}", update.stderr);
        assert!(update.stderr.contains("mended"), "{}", update.stderr);
        self.dataset.check(&self.foldback);
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let scene = scene();
    assert_eq!(scene.foldback.ends(&["replay"]).status, 0);
}

#[test]
fn an_edited_row_is_foreign() {
    let scene = scene();
    scene.damage(
        "UPDATE rows SET body = json_set(body, '$.assignee', 'x') WHERE id = 'LEAD' AND tbl = 0",
    );
    let shown = scene.foldback.ends(&["replay", "--mode", "changes"]).stdout;
    assert!(
        shown.contains("foreign") && shown.contains("assignee: \"x\" →"),
        "{shown}"
    );
    scene.found_and_mended(&[("foreign", "RSLead")]);
}

#[test]
fn an_unreadable_row_is_foreign() {
    let scene = scene();
    scene.damage("UPDATE rows SET body = 'oops' WHERE id = 'LEAD' AND tbl = 3");
    scene.found_and_mended(&[("foreign", "RSLeadGlobalConversions")]);
}

#[test]
fn an_unreadable_trail_is_foreign_too() {
    let scene = scene();
    scene.damage("UPDATE rows SET trail = x'00ff' WHERE id = 'APPOINTMENT' AND tbl = 1");
    scene.found_and_mended(&[("foreign", "RSAppointment")]);
}

/// Events that no rule maps any more are not "extra": the rows are of other settings.
#[test]
fn rows_of_rules_that_are_gone_are_stale() {
    let scene = scene();
    let text = std::fs::read_to_string(&scene.dataset.settings).expect("settings");
    let fewer = text.replacen("[[tenant.conversion]]", "[[tenant.conversion]] # kept", 1);
    let (start, rest) = fewer.split_once("[[tenant.map]]").expect("a first rule");
    let (_, others) = rest.split_once("[[tenant.map]]").expect("a second rule");
    let settings = scene
        .foldback
        .file("fewer.toml", &format!("{start}[[tenant.map]]{others}"));
    let none = scene.foldback.file("none.jsonl", "");
    assert_eq!(
        scene
            .foldback
            .ends(&["run", &none, "--settings", &settings])
            .status,
        1
    );
    let report = scene.foldback.ends(&["replay", "--json"]).stdout;
    assert!(
        report
            .lines()
            .all(|line| line.contains("\"class\":\"stale\"")),
        "{report}"
    );
    scene.foldback.ends(&["replay", "--mode", "update"]);
    assert_eq!(scene.foldback.ends(&["replay"]).status, 0);
}

#[test]
fn a_deleted_row_is_missing() {
    let scene = scene();
    scene.damage("DELETE FROM rows WHERE id = 'LEAD' AND tbl = 0");
    scene.damage("DELETE FROM rows WHERE id = 'APPOINTMENT' AND tbl = 1");
    scene.found_and_mended(&[("missing", "RSAppointment"), ("missing", "RSLead")]);
}

#[test]
fn a_row_of_no_event_is_an_orphan() {
    let scene = scene();
    scene.damage(
        "INSERT INTO rows SELECT gid, tbl, 'ghost', version, body, trail FROM rows
         WHERE id = 'APPOINTMENT' AND tbl = 1",
    );
    scene.found_and_mended(&[("orphan", "RSAppointment")]);
}

#[test]
fn a_removed_history_row_is_missing() {
    let scene = scene();
    scene.damage("DELETE FROM history WHERE id = 'APPOINTMENT' AND n = 2");
    let report = scene.foldback.ends(&["replay"]).stdout;
    assert!(report.contains("version 2 of its history"), "{report}");
    scene.found_and_mended(&[("missing", "RSAppointmentChanges")]);
}

#[test]
fn an_edited_history_row_is_foreign() {
    let scene = scene();
    scene.damage(
        "UPDATE history SET fields = json_set(fields, '$.status', 'no_show')
         WHERE id = 'APPOINTMENT' AND n = 1",
    );
    scene.found_and_mended(&[("foreign", "RSAppointmentChanges")]);
}

/// A row set back to what it was some events ago, as a restored backup would.
#[test]
fn a_row_set_back_has_lost_events() {
    let scene = scene();
    let earlier = Foldback::new();
    let last = scene
        .dataset
        .lines
        .iter()
        .rposition(|line| line.contains(&scene.appointment))
        .expect("an event of the appointment");
    let file = earlier.file("events.jsonl", &scene.dataset.lines[..last].join("\n"));
    earlier.ok(&["run", &file, "--settings", scene.dataset.settings()]);
    let (body, trail): (String, Vec<u8>) = earlier
        .database()
        .query_row(
            "SELECT body, trail FROM rows WHERE id = ? AND tbl = 1",
            [&scene.appointment],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("the earlier row");
    scene
        .foldback
        .database()
        .execute(
            "UPDATE rows SET body = ?, trail = ? WHERE id = ? AND tbl = 1",
            rusqlite::params![body, trail, scene.appointment],
        )
        .expect("set back");
    let finding = scene.foldback.ends(&["replay", "--json"]).stdout;
    let finding: Value = serde_json::from_str(&finding).expect("one finding");
    let lost = &scene.dataset.lines[last];
    let id = finding["events"][0]["id"]
        .as_str()
        .expect("names the event");
    assert!(
        lost.contains(&format!("\"id\":\"{id}\"")),
        "{id} is not {lost}"
    );
    scene.found_and_mended(&[("lost", "RSAppointment")]);
}

/// A row that holds an event which the journal does not have.
#[test]
fn a_row_with_an_unjournaled_event_holds_an_extra_one() {
    let scene = scene();
    let late = Foldback::new();
    let mut lines = scene.dataset.lines.clone();
    let extra = lines
        .iter()
        .rposition(|line| line.contains(&scene.appointment))
        .map(|place| lines.remove(place))
        .expect("an event of the appointment");
    let without = late.file("without.jsonl", &lines.join("\n"));
    late.ok(&["run", &without, "--settings", scene.dataset.settings()]);
    let tables = late.tables();
    let one = late.file("extra.jsonl", &extra);
    let last = "SELECT max(position) FROM journal";
    let last: i64 = late
        .database()
        .query_row(last, [], |row| row.get(0))
        .expect("a position");
    late.ok(&["run", &one]);
    // The journal forgets the event, the rows do not.
    let database = late.database();
    let forgotten = database.execute("DELETE FROM journal WHERE position > ?", [last]);
    assert!(forgotten.expect("forgotten") > 0);
    let report = late.ends(&["replay", "--json"]);
    assert_eq!(report.status, 1);
    let all_extra = report
        .stdout
        .lines()
        .all(|line| line.contains("\"class\":\"extra\""));
    assert!(
        all_extra && report.stdout.lines().count() >= 3,
        "{}",
        report.stdout
    );
    late.ends(&["replay", "--mode", "update"]);
    assert_eq!(late.tables(), tables);
}

/// Under `detect` a late event is applied as it comes: found as `late`, mended by an update.
#[test]
fn a_late_event_under_detect_is_late() {
    let scene = scene();
    let detecting = Foldback::new();
    let settings = std::fs::read_to_string(&scene.dataset.settings).expect("settings");
    let detect = "\n[tenant.tables.RSAppointment]\npolicy = \"detect\"\n";
    let settings = detecting.file(
        "detect.toml",
        &settings.replacen("[[tenant.map]]", &format!("{detect}\n[[tenant.map]]"), 1),
    );
    let mut lines = scene.dataset.lines.clone();
    let late = lines
        .iter()
        .position(|line| line.contains(&scene.appointment))
        .map(|place| lines.remove(place))
        .expect("an event of the appointment");
    let first = detecting.file("first.jsonl", &lines.join("\n"));
    let then = detecting.file("then.jsonl", &late);
    detecting.ok(&["run", &first, "--settings", &settings]);
    let run = detecting.ends(&["run", &then]);
    assert_eq!(
        run.status, 1,
        "the run's own verdict says so: {}",
        run.stdout
    );
    assert!(run.stdout.contains("1 events, by up to"), "{}", run.stdout);
    let scene = Scene {
        foldback: detecting,
        ..scene
    };
    scene.found_and_mended(&[("late", "RSAppointment")]);
}

/// New settings give events another meaning: the rows are stale until an update.
#[test]
fn rows_of_older_settings_are_stale() {
    let scene = scene();
    let text = std::fs::read_to_string(&scene.dataset.settings).expect("settings");
    let renamed = text.replace("const = \"submitted\"", "const = \"received\"");
    let renamed = renamed.replace("lower = true", "lower = false");
    let renamed = renamed.replace("const = \"new\"", "const = \"fresh\"");
    assert_ne!(renamed, text, "the settings have something to rename");
    let settings = scene.foldback.file("renamed.toml", &renamed);
    let none = scene.foldback.file("none.jsonl", "");
    let run = scene
        .foldback
        .ends(&["run", &none, "--settings", &settings]);
    assert_eq!(run.status, 1);
    let report = scene.foldback.ends(&["replay", "--json"]).stdout;
    assert!(
        report
            .lines()
            .all(|line| line.contains("\"class\":\"stale\"")),
        "{report}"
    );
    let update = scene.foldback.ends(&["replay", "--mode", "update"]);
    assert_eq!(update.status, 1);
    assert_eq!(scene.foldback.ends(&["replay"]).status, 0);
}

/// A row made under older settings is not added to: the next event brings it to the new ones whole.
#[test]
fn the_next_event_brings_a_row_to_new_settings() {
    let foldback = Foldback::new();
    let event = |id: &str, kind: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"{kind}","time":"2026-01-01T1{id}:00:00Z","tenant":"east","partitionkey":"7","data":{{"amountRequested":5}}}}"#
        )
    };
    let old = std::fs::read_to_string(bpic_settings()).expect("settings");
    let renamed = old.replacen("name = \"submitted\"", "name = \"received\"", 1);
    let (old, new) = (
        foldback.file("old.toml", &old),
        foldback.file("new.toml", &renamed),
    );
    let first = foldback.file("first.jsonl", &event("0", "A_SUBMITTED.COMPLETE"));
    let second = foldback.file("second.jsonl", &event("1", "A_ACCEPTED.COMPLETE"));
    foldback.ok(&["run", &first, "--settings", &old]);
    assert!(
        foldback
            .ok(&["export", "RSLeadGlobalConversions"])
            .contains("submitted")
    );
    // The row of the day gets no event, and stays as it is until a replay.
    foldback.ok(&["run", &second, "--settings", &new, "--no-verify"]);
    let conversions = foldback.ok(&["export", "RSLeadGlobalConversions"]);
    assert!(
        conversions.contains("received") && !conversions.contains("submitted"),
        "{conversions}"
    );
    let query = [
        "query",
        "conversions",
        "--tenant",
        "east",
        "--name",
        "submitted",
    ];
    assert_eq!(foldback.ok(&query), "", "the index follows");
}

/// An event that a rule cannot read parks; mended settings and a redrive heal its rows.
#[test]
fn a_poison_event_parks_and_a_redrive_heals() {
    let foldback = Foldback::new();
    let event = |id: &str, time: &str, kind: &str, data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"{kind}","time":"{time}","tenant":"east","partitionkey":"7","data":{data}}}"#
        )
    };
    let events = [
        event(
            "1",
            "2026-01-01T10:00:00Z",
            "A_SUBMITTED.COMPLETE",
            r#"{"amountRequested":100}"#,
        ),
        event(
            "2",
            "2026-01-01T11:00:00Z",
            "W_Call.SCHEDULE",
            r#"{"item":"7/call"}"#,
        ),
        event("3", "2026-01-01T12:00:00Z", "A_ACCEPTED.COMPLETE", "{}"),
    ];
    let file = foldback.file("events.jsonl", &events.join("\n"));
    let settings = bpic_settings();
    let run = foldback.ends(&[
        "run",
        &file,
        "--settings",
        settings.to_str().expect("UTF-8"),
    ]);
    assert!(
        run.stdout.contains("1 parked in the dead-letter queue"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("event 2: appointmentId: the data has no text at /workItem")
    );
    let lead = foldback.ok(&["export", "RSLead"]);
    assert!(lead.contains(r#""events":2"#), "the others go on: {lead}");
    let list = foldback.ends(&["dlq", "list"]);
    assert_eq!(list.status, 1);
    assert!(list.stdout.contains("/workItem"), "{}", list.stdout);

    // With settings that can read it, the event is known to be owed: the rows say parked.
    let mended = std::fs::read_to_string(bpic_settings()).expect("settings");
    let mended = foldback.file("mended.toml", &mended.replace("\"/workItem\"", "\"/item\""));
    let none = foldback.file("none.jsonl", "");
    foldback.ends(&["run", &none, "--settings", &mended]);
    let report = foldback.ends(&["replay", "--json"]).stdout;
    assert!(report.lines().count() >= 3, "{report}");
    assert!(
        report
            .lines()
            .all(|line| line.contains("\"class\":\"parked\"")),
        "{report}"
    );

    foldback.ok(&["dlq", "redrive"]);
    assert_eq!(foldback.ends(&["dlq", "list"]).status, 0);
    assert_eq!(foldback.ends(&["replay"]).status, 0);
    assert!(foldback.ok(&["export", "RSLead"]).contains(r#""events":3"#));
}
