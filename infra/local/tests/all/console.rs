//! The console in a browser, with a live run behind it whose events come late, twice, damaged.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what is not there fails the test"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use thirtyfour::prelude::*;

use crate::browser::Browser;
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
        let story = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .expect("a runtime")
                .block_on(story(&foldback, &serving));
        });
        let told = story.join();
        stop.store(true, Ordering::Relaxed);
        sending.join().expect("sent");
        if let Err(why) = told {
            std::panic::resume_unwind(why);
        }
    });
    assert_eq!(serving.end("-TERM"), 0);
    foldback.ok(&["replay"]);
}

async fn story(foldback: &Foldback, serving: &Serving) {
    let browser = Browser::start().await;
    let open = async |path: &str| {
        let address = format!("http://{}{path}", serving.address());
        browser.web.goto(address).await.expect("it opens");
    };
    open("/").await;
    browser.wait_for("failed").await;
    assert_eq!(
        browser.web.title().await.expect("a title"),
        "Overview · Foldback"
    );
    renewed(&browser).await;
    a_failed_job(&browser).await;
    settings_are_mended(&browser, &open).await;
    it_is_retried(&browser, &open).await;
    a_late_event(&browser, &open).await;
    damage(foldback);
    a_finding_is_repaired(foldback, &browser, &open).await;
    open("/audit").await;
    let audit = browser.text().await;
    for deed in ["redrive", "settings", "replay", "repair"] {
        assert!(audit.contains(deed), "{deed}: {audit}");
    }
    pictures(&browser, &open).await;
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:#?}");
    browser.end().await;
}

/// The overview is shown anew by itself while events come in.
async fn renewed(browser: &Browser) {
    const LOOKS_MAX: u32 = 600;
    for _ in 0..LOOKS_MAX {
        let script = "return document.querySelector('main').dataset.renewed || ''";
        let times = browser.web.execute(script, vec![]).await.expect("a script");
        if times.json().as_str().is_some_and(|times| !times.is_empty()) {
            return;
        }
        let soon = tokio::time::Instant::now() + std::time::Duration::from_millis(100);
        tokio::time::sleep_until(soon).await;
    }
    panic!("the overview was never renewed");
}

/// From the overview to the failed job, and why it failed.
async fn a_failed_job(browser: &Browser) {
    browser.press_at(By::Css("a.tile.failed"), "failed").await;
    browser.wait_for("the-failed-one").await;
    assert!(
        browser.text().await.contains("amount"),
        "the reason is told"
    );
    browser.press("the-failed-one").await;
    browser.wait_for("Job the-failed-one").await;
    let shown = browser.text().await;
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
async fn settings_are_mended(browser: &Browser, open: &impl AsyncFn(&str)) {
    let check = async |text: &str| {
        open("/settings").await;
        let field = browser.web.find(By::Id("text")).await.expect("a field");
        let script = "arguments[0].value = arguments[1]";
        let element = field.to_json().expect("an element");
        browser
            .web
            .execute(script, vec![element, json!(text)])
            .await
            .expect("filled in");
        browser.press("Check").await;
    };
    check(&SETTINGS.replace("lead.updated", "lead.upd")).await;
    browser.wait_for("They cannot be put in force").await;
    assert!(browser.text().await.contains("lead.upd"));
    check(&mended()).await;
    browser.wait_for("They can be put in force").await;
    let shown = browser.text().await;
    assert!(
        shown.contains("/euros") && shown.contains("/amount"),
        "{shown}"
    );
    browser.press("Put in force").await;
    browser
        .wait_for("Version 2 of the settings is in force.")
        .await;
    browser.press("Back").await;
    browser.wait_for("2 (in force)").await;
    browser.press("with the one before").await;
    browser.wait_for("From version 1 to 2").await;
}

async fn it_is_retried(browser: &Browser, open: &impl AsyncFn(&str)) {
    open("/jobs?state=failed").await;
    browser.press("the-failed-one").await;
    browser.wait_for("is not a decimal number").await;
    browser.press("Retry…").await;
    browser.wait_for("Sure?").await;
    browser.press("Send back").await;
    browser
        .wait_for("1 dead letters are sent back to the queue.")
        .await;
    browser.press("Back").await;
    browser.wait_for("completed").await;
    browser.wait_for("changed the row").await;
    open("/jobs?state=failed").await;
    browser.wait_for("No such job.").await;
}

/// By the id of its lead to the event that came late, what it did, and how things were before.
async fn a_late_event(browser: &Browser, open: &impl AsyncFn(&str)) {
    open("/").await;
    let field = browser.web.find(By::Id("find")).await.expect("a field");
    field.send_keys("lead-7" + Key::Enter).await.expect("typed");
    browser.wait_for("Entity lead-7").await;
    let late = "//li[contains(@class, 'is-late')]//a[.='the-late-one']";
    browser.press_at(By::XPath(late), "the late event").await;
    browser.wait_for("Job the-late-one").await;
    assert!(
        browser.text().await.contains("Late by"),
        "{}",
        browser.text().await
    );
    open("/entity?id=lead-7&tenant=acme&as_of=2026-03-01T09:12&from_as_of=2026-03-01T09:01").await;
    browser.wait_for("What changed since it was").await;
    let shown = browser.text().await;
    for part in ["stage 10", "stage 0", "lead-7-10"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// Somebody writes into a row past Foldback.
fn damage(foldback: &Foldback) {
    let sql = "UPDATE rows SET body = json_set(body, '$.assignee', 'Mallory') WHERE id = 'lead-7' AND tbl = 0";
    assert_eq!(foldback.database().execute(sql, []).expect("damaged"), 1);
}

async fn a_finding_is_repaired(foldback: &Foldback, browser: &Browser, open: &impl AsyncFn(&str)) {
    open("/findings").await;
    browser.press("Replay now…").await;
    browser.press("Compare").await;
    browser.wait_for("findings.").await;
    let run = By::XPath("//a[starts-with(normalize-space(.), 'See run')]");
    browser.press_at(run, "the run").await;
    browser.wait_for("Mallory").await;
    let shown = browser.text().await;
    for part in [
        "foreign",
        "someone else changed its content",
        "assignee",
        "Ann",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let repair = "//article[contains(., 'Mallory')]//button";
    browser.press_at(By::XPath(repair), "repair").await;
    browser.wait_for("Repair the rows of lead-7").await;
    browser.press("Repair").await;
    browser.wait_for("rows are repaired.").await;
    assert!(!foldback.ok(&["export", "RSLead"]).contains("Mallory"));
    open("/entity?id=lead-7").await;
    browser.wait_for("Entity lead-7").await;
    assert!(!browser.text().await.contains("Mallory"));
}

/// Pictures of every page, to be looked at: light, dark and narrow. None is wider than the window.
async fn pictures(browser: &Browser, open: &impl AsyncFn(&str)) {
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
        browser.shape(width, 900, scheme).await;
        for (name, path) in pages {
            open(path).await;
            browser.wait_for("").await;
            let script = "return [document.documentElement.scrollWidth, window.innerWidth]";
            let widths = browser.web.execute(script, vec![]).await.expect("a script");
            let widths: (u64, u64) = serde_json::from_value(widths.json().clone()).expect("widths");
            assert!(widths.0 <= widths.1, "{name} is {widths:?} wide");
            browser.picture(&format!("{name}-{shape}")).await;
        }
    }
}
