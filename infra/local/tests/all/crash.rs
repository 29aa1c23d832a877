//! Any crash point: nothing accepted is lost, nothing is applied twice.

use std::time::Duration;

use shared::adapters::SystemClock;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::ports::Clock;

use crate::support::{DAYS, Dataset, Disorder, Foldback, say};

#[expect(
    clippy::disallowed_methods,
    reason = "kills a process at a random moment of its run"
)]
fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Kills the run with `kill -9` at random moments, starts it again, and lets the last one end.
/// What is fed across groups is under this policy.
fn check(seed: u64, policy: &str, arrange: impl FnOnce(&mut Disorder, &[String]) -> Vec<String>) {
    const KILLS: usize = 12;
    let dataset = Dataset::whole();
    let foldback = Foldback::new();
    let mut disorder = Disorder::new(seed);
    let file = foldback.file(
        "events.jsonl",
        &arrange(&mut disorder, &dataset.lines).join("\n"),
    );
    let settings = foldback.file("settings.toml", &dataset.under(policy, &[DAYS]));
    let args = ["run", &file, "--settings", &settings, "--no-verify"];
    let mut killed = 0;
    for _ in 0..KILLS {
        let mut run = foldback.start(&args);
        sleep(20 + disorder.below(700));
        if run.try_wait().expect("a status").is_none() {
            killed += 1;
        }
        run.kill().expect("killed");
        run.wait().expect("reaped");
    }
    assert!(
        killed >= 3,
        "only {killed} of {KILLS} kills came before the end"
    );
    foldback.ok(&args);
    dataset.check(&foldback);
}

#[test]
fn killed_again_and_again_in_order() {
    check(11, "correct", |_, lines| lines.to_vec());
}

#[test]
fn killed_again_and_again_in_disorder() {
    check(12, "correct", Disorder::delay);
}

/// What was added before a death is not added again.
#[test]
fn killed_again_and_again_in_disorder_with_days_added_up() {
    check(13, "atomic", Disorder::delay);
}

/// How many kills a recorded run takes; without it, as many as a test can wait for.
#[expect(
    clippy::disallowed_methods,
    reason = "says how long a test may take; nothing that is tested reads it"
)]
fn kills_wanted() -> usize {
    let named = std::env::var("FOLDBACK_KILLS").ok();
    named.map_or(40, |kills| {
        kills.parse().expect("FOLDBACK_KILLS is a number")
    })
}

/// How many milliseconds a run takes that nobody kills, on this machine and today: kills fall all over it.
fn time_of_a_run(dataset: &Dataset) -> u64 {
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &dataset.lines.join("\n"));
    let since = SystemClock.now();
    foldback.ok(&[
        "run",
        &file,
        "--settings",
        dataset.settings(),
        "--no-verify",
    ]);
    u64::try_from(SystemClock.now().ms_since(since)).expect("time goes on")
}

/// Runs that are killed over and over, until one comes to its end, over and over. After each kill the directory
/// is sound as it lies there; after each end nothing is lost and nothing is there twice.
#[test]
fn killed_at_any_moment_of_runs_under_load() {
    let wanted = kills_wanted();
    let dataset = Dataset::of_leads(1_500);
    let mut disorder = Disorder::new(14);
    let whole_ms = time_of_a_run(&dataset);
    let (mut killed, mut rounds) = (0, 0);
    while killed < wanted || rounds == 0 {
        let foldback = Foldback::new();
        let policy = if rounds % 2 == 0 { "correct" } else { "atomic" };
        let mut lines = if rounds % 3 == 0 {
            dataset.lines.clone()
        } else {
            disorder.delay(&dataset.lines)
        };
        if rounds % 3 == 2 {
            disorder.shuffle(&mut lines);
        }
        let file = foldback.file("events.jsonl", &lines.join("\n"));
        let settings = foldback.file("settings.toml", &dataset.under(policy, &[DAYS]));
        let batch = (64 << disorder.below(6)).to_string();
        let args = [
            "run",
            &file,
            "--settings",
            &settings,
            "--batch",
            &batch,
            "--no-verify",
        ];
        rounds += 1;
        let mut made = false;
        loop {
            let mut run = foldback.start(&args);
            sleep(disorder.below(whole_ms / 2 + 1));
            if let Some(status) = run.try_wait().expect("a status") {
                assert!(status.success(), "it ended by itself: {status}");
                break;
            }
            run.kill().expect("killed");
            run.wait().expect("reaped");
            killed += 1;
            let checked = foldback.ends(&["check"]);
            // Killed before there was a store, it leaves none; one that was there stays.
            let none = !made && checked.stderr.contains("there is none; `foldback run`");
            assert!(checked.status == 0 || none, "{checked:?}");
            made |= checked.status == 0;
            if killed >= wanted {
                foldback.ok(&args);
                break;
            }
        }
        dataset.check(&foldback);
        foldback.ok(&["check"]);
    }
    say(&format!(
        "{killed} kills in {rounds} runs of {} events: none lost, none doubled",
        dataset.lines.len()
    ));
}

/// However often a process is killed with messages in its hands, none of them is to blame.
#[test]
fn many_early_deaths_park_nothing() {
    let dataset = Dataset::small(500);
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &dataset.lines.join("\n"));
    foldback.ok(&["run", &file, "--settings", dataset.settings()]);
    let database = foldback.database();
    database
        .execute_batch(
            "INSERT INTO messages (gid, deduplication, sent, receives, hidden_until, body)
                 SELECT gid, randomblob(16), 0, 0, 0, body FROM journal;
             DELETE FROM rows; DELETE FROM history; DELETE FROM conversions;",
        )
        .expect("all is to be done again");
    let none = foldback.file("none.jsonl", "");
    for _ in 0..10 {
        // As a process leaves them that dies right after it received them all.
        database
            .execute(
                "UPDATE messages SET receives = receives + 1, hidden_until = 9e15",
                [],
            )
            .expect("received");
        drop(Embedded::open(&foldback.data(), QueueLimits::default()).expect("a new owner"));
    }
    foldback.ok(&["run", &none]);
    assert_eq!(foldback.ends(&["dlq", "list"]).status, 0);
    dataset.check(&foldback);
}

/// What a dead process had received comes again.
#[test]
fn what_was_in_flight_comes_again() {
    let dataset = Dataset::small(500);
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &dataset.lines.join("\n"));
    foldback.ok(&["run", &file, "--settings", dataset.settings()]);
    // As if the process had died between receiving the messages and writing their rows.
    foldback
        .database()
        .execute_batch(
            "INSERT INTO messages (gid, deduplication, sent, receives, hidden_until, body)
                 SELECT gid, randomblob(16), 0, 1, 9e15, body FROM journal;
             DELETE FROM rows; DELETE FROM history; DELETE FROM conversions;",
        )
        .expect("the store is damaged");
    let none = foldback.file("none.jsonl", "");
    foldback.ok(&["run", &none]);
    dataset.check(&foldback);
}
