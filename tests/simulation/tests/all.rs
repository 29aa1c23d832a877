//! What the simulation promises of itself, and a fixed budget of schedules.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use foldback_simulation::{MUTANTS, mix, simulate};

/// About half a minute on two cores.
const SCHEDULES: u64 = 20_000;
/// From where the budget's seeds are taken; no other run needs them.
const FIRST: u64 = 1_000_000_000;

#[test]
fn one_seed_is_one_run() {
    let twice = |seed| (simulate(seed), simulate(seed));
    let mut traces = Vec::new();
    for seed in 0..200 {
        let (one, other) = twice(seed);
        assert_eq!(one, other, "seed {seed}");
        traces.push(one.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 200, "each seed is a run of its own");
}

/// In two threads; a failing seed is to be looked at with `simulate --seed N --seeds 1`.
#[test]
fn nothing_is_lost_and_nothing_is_doubled() {
    let halves = [0, 1].map(|half| {
        std::thread::spawn(move || {
            let seeds = (0..SCHEDULES).filter(|seed| seed % 2 == half);
            let mut happened = foldback_simulation::Stats::new();
            for seed in seeds {
                let outcome = simulate(FIRST + seed);
                assert_eq!(outcome.failure, None, "seed {}", outcome.seed);
                for (what, many) in outcome.stats {
                    *happened.entry(what).or_default() += many;
                }
            }
            happened
        })
    });
    let mut happened = foldback_simulation::Stats::new();
    for half in halves {
        for (what, many) in half.join().expect("no divergence") {
            *happened.entry(what).or_default() += many;
        }
    }
    for what in [
        "acknowledgements lost",
        "amendments sent",
        "calls during an outage",
        "calls half done",
        "copies applied",
        "crashes",
        "differences mended by replays",
        "duplicates accepted",
        "events parked",
        "groups locked out",
        "images that refolds began with",
        "late events",
        "letters redriven beside traffic",
        "letters redriven in the end",
        "messages received again",
        "messages spent",
        "redeliveries held",
        "replays that mend, beside traffic",
        "replays that report, beside traffic",
        "rows found out of order (detect)",
        "runs whose rows no replay mended in the end",
        "settings put",
        "stalls past the visibility timeout",
        "throttled calls",
        "time-outs after the effect",
        "writes that lost a race",
    ] {
        let many = happened.get(what).copied().unwrap_or(0);
        assert!(many >= 20, "{what} happened {many} times only");
    }
}

/// Here it is only looked whether each still has its place.
#[test]
fn every_deliberate_bug_has_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut whats = BTreeSet::new();
    for mutant in MUTANTS {
        let text = std::fs::read_to_string(root.join(mutant.file)).expect(mutant.file);
        let changed = mutant.apply(&text).unwrap_or_else(|why| panic!("{why}"));
        assert_ne!(changed, text, "{}", mutant.what);
        assert!(whats.insert(mutant.what));
    }
}

#[test]
#[ignore = "builds once for each bug, about half an hour: \
            cargo test --release -p foldback-simulation --test all every_deliberate_bug_is_caught -- --ignored"]
fn every_deliberate_bug_is_caught() {
    let ran = Command::new(env!("CARGO_BIN_EXE_mutants"))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    let why = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}{why}");
    for mutant in MUTANTS {
        let row = format!("| {} | ", mutant.what);
        let seeds = said.lines().find_map(|line| line.strip_prefix(&row));
        let seeds = seeds.and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        assert!(seeds.is_some_and(|seeds| seeds > 0), "{row}: {said}");
    }
}

#[test]
fn chance_is_spread() {
    let drawn: Vec<u64> = (0..10_000).map(|n| mix(&[1, n]) % 10).collect();
    for digit in 0..10 {
        let count = drawn.iter().filter(|one| **one == digit).count();
        assert!((850..1_150).contains(&count), "{digit} came {count} times");
    }
}
