//! No tenant reads, writes or changes another's data, whatever its ids and whoever asks: over both stores, from
//! outside.

use serde_json::{Value, json};

use crate::support::{Ended, Foldback, TABLES};

/// Tenants whose names are made to be taken for something else.
const TENANTS: [&str; 8] = [
    "acme",
    "globex",
    "acme' OR '1'='1",
    "$ne",
    "acme%23lead-1",
    "a.b",
    "{\"$gt\":\"\"}",
    "*",
];

/// Ids of leads and appointments that are made to leave their place: SQL, operators and paths of MongoDB, the
/// separators of keys, NUL, and what cannot stand in XML.
const IDS: [&str; 18] = [
    "lead-1",
    "x' OR '1'='1",
    "'; DROP TABLE rows; --",
    "\" UNION SELECT body FROM rows --",
    "$ne",
    "{\"$ne\":null}",
    "$where",
    "trail.version",
    "a.b.c",
    "__proto__",
    "lead#1",
    "lead%231",
    "%23",
    "../globex",
    "a\u{0}b",
    "\u{fffe}\u{ffff}",
    " ",
    "名前\u{202e}",
];

/// For each tenant every id, in turn, so that all of them come in the same batches.
fn events(of: impl Fn(&str) -> bool) -> String {
    let mut lines = Vec::new();
    for (number, id) in IDS.iter().enumerate() {
        for (place, tenant) in TENANTS.iter().enumerate().filter(|(_, tenant)| of(tenant)) {
            let event = |kind: &str, n: usize, data: Value| {
                json!({
                    "specversion": "1.0", "source": "//crm", "id": format!("{kind}-{number}"), "type": kind,
                    "time": format!("2026-03-{:02}T09:{:02}:{n:02}Z", number + 1, place), "tenant": tenant,
                    "partitionkey": id, "data": data,
                })
            };
            let stage = format!("seen by {tenant} alone");
            lines.push(event("new", 1, json!({ "stage": stage, "id": id })).to_string());
            lines.push(event("meet", 2, json!({ "stage": stage, "id": id })).to_string());
        }
    }
    lines.join("\n")
}

fn settings() -> String {
    json!({ "version": 1, "tenant": [{
        "ids": TENANTS,
        "set": { "assignee": { "pointer": "/stage" } },
        "map": [
            { "type": "new", "to": "lead.created", "set": { "stage": { "pointer": "/stage" } } },
            { "type": "meet", "to": "appointment.scheduled", "set": { "appointmentId": { "pointer": "/id" } } },
        ],
        "conversion": [{ "name": "won", "on": "lead.created" }],
    }]})
    .to_string()
}

fn run(foldback: &Foldback, events: &str) {
    let file = foldback.file("events.jsonl", events);
    let settings = foldback.file("settings.json", &settings());
    foldback.ok(&["run", &file, "--settings", &settings]);
}

/// Each tenant's tables are what they would be if there were no other tenant.
fn each_has_its_own(foldback: &Foldback) {
    for tenant in TENANTS {
        let alone = Foldback::new();
        run(&alone, &events(|one| one == tenant));
        for table in TABLES {
            let own = foldback.ok(&["export", table, "--tenant", tenant]);
            assert_eq!(own, alone.ok(&["export", table]), "{table} of {tenant}");
            assert!(!own.is_empty(), "{table} of {tenant}");
        }
    }
}

/// Nothing of what a command says is another tenant's.
#[track_caller]
fn only(ended: &Ended, tenant: &str) -> usize {
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let rows = ended.stdout.lines().filter(|line| line.starts_with('{'));
    let rows = rows.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let count = rows
        .filter(|row| {
            assert_eq!(row["tenant"], tenant, "{row}");
            true
        })
        .count();
    for other in TENANTS.iter().filter(|other| **other != tenant) {
        let theirs = format!("seen by {other} alone");
        assert!(
            !ended.stdout.contains(&theirs),
            "{tenant} sees {theirs}: {}",
            ended.stdout
        );
    }
    count
}

fn asked_for_one_none_sees_another(foldback: &Foldback) {
    let query = |args: &[&str]| foldback.ends(&[&["query"], args].concat());
    let everything = "9999-12-31T23:59:59.999Z/\u{10ffff}";
    for tenant in ["acme", "$ne", "acme' OR '1'='1", "*"] {
        for id in IDS.iter().filter(|id| !id.contains('\0')) {
            let lead = query(&["conversions", "--tenant", tenant, "--lead", id]);
            assert_eq!(only(&lead, tenant), 1, "{id}");
            let changes = query(&["changes", "--tenant", tenant, "--appointment", id]);
            assert_eq!(only(&changes, tenant), 1, "{id}");
            only(&foldback.ends(&["show", id, "--tenant", tenant]), tenant);
        }
        let page = ["conversions", "--tenant", tenant, "--name", "won"];
        assert_eq!(only(&query(&page), tenant), IDS.len());
        let after = query(&[&page[..], &["--after", everything]].concat());
        assert_eq!(only(&after, tenant), IDS.len());
        // Another tenant's cursor is a moment and an id: it leads to one's own rows.
        let theirs = query(&[
            "conversions",
            "--tenant",
            "globex",
            "--name",
            "won",
            "--limit",
            "3",
        ]);
        let cursor = theirs
            .stderr
            .split("--after ")
            .nth(1)
            .expect("a cursor")
            .trim();
        let own = query(&[&page[..], &["--after", cursor]].concat());
        let place = |name: &str| TENANTS.iter().position(|one| *one == name);
        let passed = if place(tenant) < place("globex") {
            2
        } else {
            3
        };
        assert_eq!(only(&own, tenant), IDS.len() - passed);
        for name in ["won' OR '1'='1", "$ne", "", "w%", "{\"$exists\":true}"] {
            let named = query(&["conversions", "--tenant", tenant, "--name", name]);
            assert_eq!(only(&named, tenant), 0, "{name}");
        }
    }
}

/// Who names no tenant there is sees nothing.
fn nobody_sees_nothing(foldback: &Foldback) {
    for nobody in [
        "",
        "acme'--",
        "ACME",
        "acme ",
        "acm",
        "%",
        "_cme",
        "{\"$ne\":\"\"}",
        "$gt",
        ".*",
        "acme#lead-1",
    ] {
        for table in TABLES {
            assert_eq!(
                foldback.ok(&["export", table, "--tenant", nobody]),
                "",
                "{nobody}"
            );
        }
        let page = foldback.ends(&["query", "conversions", "--tenant", nobody, "--name", "won"]);
        assert_eq!((page.status, page.stdout.as_str()), (0, ""), "{nobody}");
        let lead = foldback.ends(&[
            "query",
            "conversions",
            "--tenant",
            nobody,
            "--lead",
            "lead-1",
        ]);
        assert_eq!((lead.status, lead.stdout.as_str()), (0, ""), "{nobody}");
        let shown = foldback.ends(&["show", "lead-1", "--tenant", nobody]);
        assert!(
            !shown.stdout.contains("seen by"),
            "{nobody}: {}",
            shown.stdout
        );
    }
}

fn check(foldback: &Foldback) {
    run(foldback, &events(|_| true));
    each_has_its_own(foldback);
    asked_for_one_none_sees_another(foldback);
    nobody_sees_nothing(foldback);
    foldback.ok(&["replay"]);
}

#[test]
fn tenants_are_apart_in_a_data_directory() {
    let foldback = Foldback::new();
    check(&foldback);
    foldback.ok(&["check"]);
}

#[test]
fn tenants_are_apart_in_mongodb() {
    check(&crate::mongo::foldback());
}

/// An event of one tenant that claims the identity of another's is a tenant's own: it takes nothing away.
#[test]
fn no_identity_is_taken_from_another_tenant() {
    let foldback = Foldback::new();
    run(&foldback, &events(|tenant| tenant == "globex"));
    let before = foldback.ok(&["export", "RSLead", "--tenant", "globex"]);
    let file = foldback.file("more.jsonl", &events(|tenant| tenant == "acme"));
    foldback.ok(&["run", &file]);
    assert_eq!(
        foldback.ok(&["export", "RSLead", "--tenant", "globex"]),
        before
    );
    // Taken in for one tenant, an event of another is refused.
    let ended = foldback.ends(&["run", &file, "--tenant", "globex"]);
    assert!(ended.stdout.contains("rejected"), "{}", ended.stdout);
    assert_eq!(
        foldback.ok(&["export", "RSLead", "--tenant", "globex"]),
        before
    );
}
