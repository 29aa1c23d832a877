//! Promise 1: any arrival order, any duplicates: the same tables, byte for byte.

use crate::support::{Dataset, Disorder, Foldback};

fn check(arrange: impl FnOnce(&[String]) -> Vec<String>) {
    let dataset = Dataset::whole();
    let foldback = Foldback::new();
    let file = foldback.file("events.jsonl", &arrange(&dataset.lines).join("\n"));
    foldback.ok(&["run", &file, "--settings", dataset.settings()]);
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

#[test]
fn in_a_complete_random_permutation() {
    check(|lines| {
        let mut lines = lines.to_vec();
        Disorder::new(5).shuffle(&mut lines);
        lines
    });
}

/// One event in ten comes again, sooner or later.
#[test]
fn with_a_tenth_of_duplicates() {
    check(|lines| {
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
    });
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
