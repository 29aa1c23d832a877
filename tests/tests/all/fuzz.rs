//! The fuzzers' kept corpus, and mutations of it: what `tests/fuzz` does for hours, for as long as a test may take.

#![expect(
    clippy::indexing_slicing,
    reason = "tests say with a panic what is not as it must be"
)]

use std::fs;
use std::path::Path;

use foldback_tests::fuzz::{TARGETS, Target, named};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How many mutations of its corpus each target is given.
const MUTATIONS: u64 = 2_000;
/// The longest mutation, in bytes.
const LENGTH_MAX: usize = 16_384;

/// What formats are made of, and what their readers trip over.
const TOKENS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n\n",
    b"\r\n",
    b"null",
    b"-0",
    b"1e999",
    b"99999999999999999999",
    b"\\ud800",
    b"\\u0000",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\xe2\x80",
    b"*",
    b"/~",
    b"#",
    b"\"\"\"",
    b"= [[",
];

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target.name);
    let files = fs::read_dir(&folder).expect("a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("readable"))
        .collect()
}

struct Mutator(ChaCha8Rng);

impl Mutator {
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.0.next_u64() % n.max(1) as u64).expect("small")
    }

    /// A part of the bytes.
    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(bytes.len() + 1);
        let to = (from + 1 + self.below(64)).min(bytes.len());
        from..to.max(from)
    }

    fn change(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        let place = self.below(bytes.len() + 1);
        let part = self.part(bytes);
        match self.below(8) {
            0 | 1 => {
                let bit = 1 << self.below(8);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= bit;
                }
            }
            2 => drop(bytes.drain(part)),
            3 => {
                let again = bytes[part].to_vec();
                for _ in 0..=self.below(20) {
                    bytes.splice(place..place, again.iter().copied());
                }
            }
            4 => bytes.truncate(place),
            5 => {
                let other = &others[self.below(others.len())];
                let from = self.part(other);
                let other = other[from].to_vec();
                bytes.splice(part, other);
            }
            _token => {
                let token = TOKENS[self.below(TOKENS.len())];
                bytes.splice(place..place, token.iter().copied());
            }
        }
        bytes.truncate(LENGTH_MAX);
    }
}

/// Reads an input, and says which it was that could not be read in peace.
fn read(target: &Target, bytes: &[u8]) {
    let read = std::panic::catch_unwind(|| (target.run)(bytes));
    let shown: String = bytes
        .escape_ascii()
        .to_string()
        .chars()
        .take(4_000)
        .collect();
    assert!(read.is_ok(), "{} panicked at b\"{shown}\"", target.name);
}

#[test]
fn the_kept_corpus_is_read_in_peace() {
    for target in &TARGETS {
        let inputs = corpus(target);
        assert!(!inputs.is_empty(), "{}", target.name);
        for input in &inputs {
            read(target, input);
        }
    }
}

#[test]
fn mutations_of_the_corpus_are_read_in_peace() {
    for (seed, target) in TARGETS.iter().enumerate() {
        let inputs = corpus(target);
        let mut mutator = Mutator(ChaCha8Rng::seed_from_u64(seed as u64));
        for _ in 0..MUTATIONS {
            let mut bytes = inputs[mutator.below(inputs.len())].clone();
            for _ in 0..=mutator.below(5) {
                mutator.change(&mut bytes, &inputs);
            }
            read(target, &bytes);
        }
    }
}

/// Depth and length that nothing grows with: no stack runs over, nothing is held a hundred times.
#[test]
fn large_inputs_are_read_in_peace() {
    let event = |data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2026-03-01T09:30:00Z","data":{data}}}"#
        )
    };
    let deep = |open: &str, close: &str| {
        event(&format!("{}1{}", open.repeat(40_000), close.repeat(40_000)))
    };
    let inputs = [
        "[".repeat(1 << 20),
        "{\"a\":".repeat(200_000),
        "\n".repeat(1 << 22),
        " ".repeat(1 << 22),
        format!("\"{}\"", "a".repeat(1 << 20)),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        format!("[{}]", ["{}"; 100_000].join(",")),
        format!("version = 1\n{}", "[[tenant]]\n".repeat(20_000)),
        format!("x = {}1{}", "[".repeat(20_000), "]".repeat(20_000)),
        "a.".repeat(100_000) + "b = 1",
        format!(
            "*\n/a\nt\n\n{}1{}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        ),
        format!("*\n/a\nt\n\n{{{}}}", vec!["\"a\":1"; 20_000].join(",")),
        format!("{}\n/a\n{}\n\n1", "*a".repeat(8), "a".repeat(1 << 16)),
    ];
    for target in &TARGETS {
        for input in &inputs {
            read(target, input.as_bytes());
        }
        let head = format!("content-type: application/json\n\n{}", inputs[0]);
        read(target, head.as_bytes());
    }
}

#[test]
fn targets_go_by_their_names() {
    for target in &TARGETS {
        assert_eq!(named(target.name).expect("named").name, target.name);
    }
    assert!(named("nothing").is_none());
}
