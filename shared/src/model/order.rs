use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Timestamp;

/// An event's place in the one total order of its group.
///
/// The order is (event time, `sequence` if present, `source`, `id`); it never depends on arrival.
/// An event without a sequence comes before those of the same time that have one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Order {
    /// Event time.
    pub time: Timestamp,
    /// Nanoseconds below the millisecond, where the sender gives them.
    pub below_ms: u32,
    /// The `CloudEvents` extension `sequence`.
    pub sequence: Option<Sequence>,
    /// The event's source.
    pub source: SmolStr,
    /// The event's id.
    pub id: SmolStr,
}

/// The `CloudEvents` extension `sequence`.
///
/// The extension asks for text that sorts lexicographically. Senders that count without padding
/// (`9`, `10`) mean numbers, so two texts of digits alone compare as numbers; padded ones compare
/// the same either way. Digits come before other texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub SmolStr);

impl Sequence {
    /// What sequences are compared by: digits come first, shorter ones before longer ones.
    pub(crate) fn key(&self) -> (bool, usize, &str, &str) {
        let text = self.0.as_str();
        if text.bytes().all(|b| b.is_ascii_digit()) {
            let digits = text.trim_start_matches('0');
            (false, digits.len(), digits, text)
        } else {
            (true, 0, text, text)
        }
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_count_and_sort() {
        let mut sequences = ["b", "10", "9", "010", "a10", "a9", "0"].map(|s| Sequence(s.into()));
        sequences.sort();
        let sorted: Vec<&str> = sequences.iter().map(|s| s.0.as_str()).collect();
        assert_eq!(sorted, ["0", "9", "010", "10", "a10", "a9", "b"]);
    }

    #[test]
    fn time_then_sequence_then_source_then_id() {
        let order = |ms: i64, sequence: Option<&str>, source: &str, id: &str| Order {
            time: Timestamp::from_ms(ms),
            below_ms: 0,
            sequence: sequence.map(|s| Sequence(s.into())),
            source: source.into(),
            id: id.into(),
        };
        let sorted = [
            order(1, Some("9"), "z", "z"),
            order(2, None, "b", "b"),
            order(2, Some("1"), "a", "b"),
            order(2, Some("1"), "b", "a"),
            order(2, Some("1"), "b", "b"),
        ];
        assert!(sorted.is_sorted());
    }
}
