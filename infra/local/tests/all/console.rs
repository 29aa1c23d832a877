//! The console in a browser, with a live run behind it whose events come late, twice, damaged.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what is not there fails the test"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::browser::{Browser, By, ENTER};
use crate::serve::{Serving, event};
use crate::support::{Disorder, Foldback};

const SETTINGS: &str = r#"version = 1
[[tenant]]
ids = ["acme"]
[tenant.webhook]
unsigned = true
[tenant.set]
stage = { pointer = "/stage" }
assignee = { pointer = "/owner" }
amount = { pointer = "/amount" }
[[tenant.map]]
type = "lead.created"
to = "lead.created"
[[tenant.map]]
type = "lead.updated"
to = "lead.updated"
[[tenant.map]]
type = "call.planned"
to = "appointment.scheduled"
set = { appointmentId = { pointer = "/call" } }
[[tenant.map]]
type = "call.done"
to = "appointment.completed"
set = { appointmentId = { pointer = "/call" } }
[[tenant.conversion]]
name = "created"
on = "lead.created"
"#;

/// The amount is in another field: what failed over it is mended by reading that.
fn mended() -> String {
    SETTINGS.replace("/amount", "/euros")
}

/// The events of a lead, disordered; some come twice.
fn disordered(lead: &str, disorder: &mut Disorder) -> Vec<Value> {
    let mut events: Vec<Value> = (0..8)
        .map(|minute| {
            let kind = if minute == 0 {
                "lead.created"
            } else {
                "lead.updated"
            };
            event(lead, minute * 5, kind)
        })
        .collect();
    for (minute, kind) in [(17, "call.planned"), (33, "call.done")] {
        let mut call = event(lead, minute, kind);
        call["data"] = json!({"call": format!("call-of-{lead}"), "owner": "Bo"});
        events.push(call);
    }
    disorder.shuffle(&mut events);
    let again = events.first().cloned();
    events.extend(again);
    events
}

/// Sends events until told to stop: what pages show changes while they are looked at.
fn keep_sending(serving: &Serving, stop: &AtomicBool) {
    let mut disorder = Disorder::new(7);
    for lead in 0.. {
        for event in disordered(&format!("live-{lead}"), &mut disorder) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            assert_eq!(serving.event("acme", &event).status, 202);
            thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
}

/// What the story is about.
fn prepare(foldback: &Foldback, serving: &Serving) {
    let mut disorder = Disorder::new(3);
    for event in disordered("lead-7", &mut disorder) {
        assert_eq!(serving.event("acme", &event).status, 202);
    }
    // Processed by now, so that what comes before them is late.
    wait_for(foldback, "RSLead", "\"events\":10");
    let mut late = event("lead-7", 2, "lead.updated");
    late["id"] = "the-late-one".into();
    assert_eq!(serving.event("acme", &late).status, 202);
    let mut poison = event("lead-8", 0, "lead.created");
    poison["id"] = "the-failed-one".into();
    poison["data"] = json!({"stage": "new", "amount": "twelve", "euros": 12, "note": "<b>bold & \"quoted\"</b>"});
    assert_eq!(serving.event("acme", &poison).status, 202);
    wait_for(foldback, "RSLead", "\"events\":11");
}

fn wait_for(foldback: &Foldback, table: &str, text: &str) {
    const LOOKS_MAX: u32 = 3_000;
    let shows = |_look| foldback.ends(&["export", table]).stdout.contains(text);
    assert!((0..LOOKS_MAX).any(shows), "{table} never showed {text}");
}

#[test]
fn every_page_in_a_browser() {
    let foldback = Foldback::new();
    let settings = foldback.file("settings.toml", SETTINGS);
    let args = [
        "--settings",
        &settings,
        "--replay-every",
        "0",
        "--report-every",
        "0",
    ];
    let serving = Serving::start(&foldback, &args);
    prepare(&foldback, &serving);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sending = scope.spawn(|| keep_sending(&serving, &stop));
        let story = scope.spawn(|| story(&foldback, &serving));
        let told = story.join();
        stop.store(true, Ordering::Relaxed);
        sending.join().expect("sent");
        if let Err(why) = told {
            std::panic::resume_unwind(why);
        }
    });
    assert_eq!(serving.end("-TERM"), 0);
    // Rows from before the settings were changed say so until they are brought to the new ones.
    let stale = foldback.ends(&["replay"]).stdout;
    let words = stale.lines().map(str::split_whitespace);
    let findings = words.filter_map(|mut words| Some((words.next()?, words.next()?)));
    let mut findings = findings
        .filter(|(_, table)| table.starts_with("RS"))
        .peekable();
    assert!(findings.peek().is_some(), "{stale}");
    assert!(findings.all(|(class, _)| class == "stale"), "{stale}");
    foldback.ends(&["replay", "--mode", "update"]);
    foldback.ok(&["replay"]);
}

fn story(foldback: &Foldback, serving: &Serving) {
    let browser = Browser::start();
    let open = |path: &str| {
        let address = format!("http://{}{path}", serving.address());
        browser.open(&address);
    };
    open("/");
    browser.wait_for("failed");
    assert_eq!(browser.title(), "Overview · Foldback");
    renewed(&browser);
    a_failed_job(&browser);
    settings_are_mended(&browser, &open);
    it_is_retried(&browser, &open);
    a_late_event(&browser, &open);
    damage(foldback);
    a_finding_is_repaired(foldback, &browser, &open);
    open("/audit");
    let audit = browser.text();
    for deed in ["redrive", "settings", "replay", "repair"] {
        assert!(audit.contains(deed), "{deed}: {audit}");
    }
    pictures(&browser, &open);
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// The overview is shown anew by itself while events come in.
fn renewed(browser: &Browser) {
    const LOOKS_MAX: u32 = 600;
    for _ in 0..LOOKS_MAX {
        let script = "return document.querySelector('main').dataset.renewed || ''";
        let times = browser.script(script, &[]);
        if times.as_str().is_some_and(|times| !times.is_empty()) {
            return;
        }
        thread::park_timeout(std::time::Duration::from_millis(100));
    }
    panic!("the overview was never renewed");
}

/// From the overview to the failed job, and why it failed.
fn a_failed_job(browser: &Browser) {
    browser.press_at(By::Css("a.tile.failed"), "failed");
    browser.wait_for("the-failed-one");
    assert!(browser.text().contains("amount"), "the reason is told");
    browser.press("the-failed-one");
    browser.wait_for("Job the-failed-one");
    let shown = browser.text();
    for part in [
        "failed",
        "is not a decimal number",
        "lead-8",
        "<b>bold & \\\"quoted\\\"</b>",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// A wrong change is refused with the reason; the right one is checked, compared and put in force.
fn settings_are_mended(browser: &Browser, open: &impl Fn(&str)) {
    let check = |text: &str| {
        open("/settings");
        browser.fill("#text", text);
        browser.press("Check");
    };
    check(&SETTINGS.replace("lead.updated", "lead.upd"));
    browser.wait_for("They cannot be put in force");
    assert!(browser.text().contains("lead.upd"));
    check(&mended());
    browser.wait_for("They can be put in force");
    let shown = browser.text();
    assert!(
        shown.contains("/euros") && shown.contains("/amount"),
        "{shown}"
    );
    browser.press("Put in force");
    browser.wait_for("Version 2 of the settings is in force.");
    browser.press("Back");
    browser.wait_for("2 (in force)");
    browser.press("with the one before");
    browser.wait_for("From version 1 to 2");
}

fn it_is_retried(browser: &Browser, open: &impl Fn(&str)) {
    open("/jobs?state=failed");
    browser.press("the-failed-one");
    browser.wait_for("is not a decimal number");
    browser.press("Retry…");
    browser.wait_for("Sure?");
    browser.press("Send back");
    browser.wait_for("1 dead letter sent back to the queue.");
    browser.press("Back");
    browser.wait_for("completed");
    browser.wait_for("changed the row");
    open("/jobs?state=failed");
    browser.wait_for("No such job.");
}

/// By the id of its lead to the event that came late, what it did, and how things were before.
fn a_late_event(browser: &Browser, open: &impl Fn(&str)) {
    open("/");
    browser.types(By::Css("#find"), &format!("lead-7{ENTER}"));
    browser.wait_for("Entity lead-7");
    let late = "//li[contains(@class, 'is-late')]//a[.='the-late-one']";
    browser.press_at(By::XPath(late), "the late event");
    browser.wait_for("Job the-late-one");
    assert!(browser.text().contains("Late by"), "{}", browser.text());
    open("/entity?id=lead-7&tenant=acme&as_of=2026-03-01T09:12&from_as_of=2026-03-01T09:01");
    browser.wait_for("What changed since it was");
    let shown = browser.text();
    for part in ["stage 10", "stage 0", "lead-7-10"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// Somebody writes into a row past Foldback.
fn damage(foldback: &Foldback) {
    let sql = "UPDATE rows SET body = json_set(body, '$.assignee', 'Mallory') WHERE id = 'lead-7' AND tbl = 0";
    assert_eq!(foldback.database().execute(sql, []).expect("damaged"), 1);
}

fn a_finding_is_repaired(foldback: &Foldback, browser: &Browser, open: &impl Fn(&str)) {
    open("/findings");
    browser.press("Replay now…");
    browser.press("Compare");
    browser.wait_for("See run");
    let run = By::XPath("//a[starts-with(normalize-space(.), 'See run')]");
    browser.press_at(run, "the run");
    browser.wait_for("Mallory");
    let shown = browser.text();
    for part in [
        "foreign",
        "someone else changed its content",
        "assignee",
        "Ann",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let repair = "//article[contains(., 'Mallory')]//button";
    browser.press_at(By::XPath(repair), "repair");
    browser.wait_for("Repair the rows of lead-7");
    browser.press("Repair");
    browser.wait_for(" repaired.");
    assert!(!foldback.ok(&["export", "RSLead"]).contains("Mallory"));
    open("/entity?id=lead-7");
    browser.wait_for("Entity lead-7");
    assert!(!browser.text().contains("Mallory"));
}

/// Pictures of every page, to be looked at: light, dark and narrow. None is wider than the window.
fn pictures(browser: &Browser, open: &impl Fn(&str)) {
    let job = "/job?tenant=acme&group=lead-7&source=%2F%2Fcrm&event=the-late-one";
    let pages = [
        ("overview", "/"),
        ("jobs", "/jobs"),
        ("job", job),
        ("entity", "/entity?id=lead-7"),
        (
            "changes",
            "/entity?id=lead-7&as_of=2026-03-01T09:12&from_as_of=2026-03-01T09:01",
        ),
        ("findings", "/findings"),
        ("run", "/findings?run=1"),
        ("settings", "/settings?version=2&against=1"),
        ("audit", "/audit"),
    ];
    for (shape, width, scheme) in [
        ("light", 1_280, "light"),
        ("dark", 1_280, "dark"),
        ("narrow", 360, "light"),
    ] {
        browser.shape(width, 900, scheme);
        for (name, path) in pages {
            open(path);
            browser.wait_for("");
            let script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]";
            let widths = browser.script(script, &[]);
            let widths: (u64, u64) = serde_json::from_value(widths).expect("widths");
            assert!(widths.0 <= widths.1, "{name} is {widths:?} wide");
            browser.picture(&format!("{name}-{shape}"));
        }
    }
}
