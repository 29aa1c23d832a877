//! Promise 1: any arrival order, any duplicates: the same tables, byte for byte.

use crate::support::{DAYS, Dataset, Disorder, Foldback, bpic_log, counted_by_day};

fn check(arrange: impl FnOnce(&[String]) -> Vec<String>) {
    check_days("correct", arrange);
}

/// With one policy or the other for what is fed across groups.
fn check_days(policy: &str, arrange: impl FnOnce(&[String]) -> Vec<String>) {
    let dataset = Dataset::whole();
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &arrange(&dataset.lines).join("\n"));
    let settings = foldback.file("settings.toml", &dataset.under(policy, &[DAYS]));
    foldback.ok(&["run", &file, "--settings", &settings]);
    dataset.check(&foldback);
}

#[test]
fn in_order() {
    check(<[String]>::to_vec);
}

#[test]
fn delayed_by_seconds_to_days_seed_1() {
    check(|lines| Disorder::new(1).delay(lines));
}

#[test]
fn delayed_by_seconds_to_days_seed_2() {
    check(|lines| Disorder::new(2).delay(lines));
}

#[test]
fn delayed_by_seconds_to_days_seed_3() {
    check(|lines| Disorder::new(3).delay(lines));
}

#[test]
fn delayed_by_seconds_to_days_seed_4() {
    check(|lines| Disorder::new(4).delay(lines));
}

fn permuted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    Disorder::new(5).shuffle(&mut lines);
    lines
}

#[test]
fn in_a_complete_random_permutation() {
    check(permuted);
}

/// One event in ten comes again, sooner or later.
fn doubled(lines: &[String]) -> Vec<String> {
    let mut disorder = Disorder::new(6);
    let again: Vec<String> = lines
        .iter()
        .filter(|_| disorder.below(10) == 0)
        .cloned()
        .collect();
    let mut arrivals = disorder.delay(lines);
    let mut late = disorder.delay(&again);
    // Half of them come at once, half at the very end.
    let end = late.split_off(late.len() / 2);
    let step = arrivals.len() / late.len().max(1);
    for (place, line) in late.into_iter().enumerate().rev() {
        arrivals.insert((place + 1) * step, line);
    }
    arrivals.extend(end);
    arrivals
}

#[test]
fn with_a_tenth_of_duplicates() {
    check(doubled);
}

#[test]
fn in_order_with_days_added_up() {
    check_days("atomic", <[String]>::to_vec);
}

#[test]
fn in_a_complete_random_permutation_with_days_added_up() {
    check_days("atomic", permuted);
}

#[test]
fn with_a_tenth_of_duplicates_with_days_added_up() {
    check_days("atomic", doubled);
}

/// What parts of the log are held against is counted by these tests themselves; here that is held against
/// the tables that came with the log.
#[test]
fn days_are_counted_right() {
    if bpic_log().exists() {
        let dataset = Dataset::whole();
        dataset.check_table(DAYS, &counted_by_day(&dataset.lines));
    }
}

/// Batches of every size: the same events one run each, some in one file, some alone.
#[test]
fn in_many_runs() {
    let dataset = Dataset::small(2_000);
    let foldback = Foldback::new();
    let mut disorder = Disorder::new(7);
    let mut lines = dataset.lines.clone();
    disorder.shuffle(&mut lines);
    let mut rest = lines.as_slice();
    while !rest.is_empty() {
        let size = usize::try_from(1 + disorder.below(400))
            .expect("small")
            .min(rest.len());
        let (part, after) = rest.split_at(size);
        let file = foldback.file("part.jsonl", &part.join("\n"));
        foldback.ok(&[
            "run",
            &file,
            "--settings",
            dataset.settings(),
            "--no-verify",
        ]);
        rest = after;
    }
    dataset.check(&foldback);
}
