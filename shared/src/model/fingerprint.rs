use std::fmt;

use serde::{Deserialize, Serialize};

/// 128 bits of BLAKE3 over an event's identity (`source`, `id`) and, in an amendment, its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventHash(pub u128);

impl EventHash {
    /// The hash of the identity (`source`, `id`). The length of the source keeps the two apart.
    #[must_use]
    pub fn of(source: &str, id: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(source.len() as u64).to_le_bytes());
        hasher.update(source.as_bytes());
        hasher.update(id.as_bytes());
        Self(first_128_bits(&hasher))
    }

    /// The hash of a copy of the event, which one group states to another; `moved` where it is none of the
    /// first one's own.
    #[must_use]
    pub(super) fn of_copy(self, by: &str, to: &str, moved: bool) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(if moved { b"move" } else { b"copy" });
        hasher.update(&self.0.to_le_bytes());
        hasher.update(&(by.len() as u64).to_le_bytes());
        hasher.update(by.as_bytes());
        hasher.update(to.as_bytes());
        Self(first_128_bits(&hasher))
    }

    /// The hash of a revision of the event whose identity this is; the first telling's is the identity.
    #[must_use]
    pub fn revised(self, revision: u32) -> Self {
        if revision == 0 {
            return self;
        }
        let mut hasher = blake3::Hasher::new_derive_key("foldback 2026 revision of an event");
        hasher.update(&self.0.to_le_bytes());
        hasher.update(&revision.to_le_bytes());
        Self(first_128_bits(&hasher))
    }

    /// The first 64 bits.
    #[must_use]
    pub fn short(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0.to_le_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

pub(crate) fn first_128_bits(hasher: &blake3::Hasher) -> u128 {
    let mut first = [0; 16];
    hasher.finalize_xof().fill(&mut first);
    u128::from_le_bytes(first)
}

/// An order-insensitive fingerprint of a set of events: the sum of their hashes modulo 2¹²⁸.
///
/// Addition makes it incremental and order-free, and (unlike XOR) an event counted twice shows
/// (M. Bellare, D. Micciancio: "A new paradigm for collision-free hashing", `AdHash`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The fingerprint with one more event in the set.
    #[must_use]
    pub fn with(self, event: EventHash) -> Self {
        Self(self.0.wrapping_add(event.0))
    }

    /// What `self` holds beyond `other`, as a fingerprint of its own.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_doubles_show() {
        let [a, b, c] = ["a", "b", "c"].map(|id| EventHash::of("//crm", id));
        let set = |events: &[EventHash]| {
            events
                .iter()
                .fold(Fingerprint::default(), |sum, &event| sum.with(event))
        };
        assert_eq!(set(&[a, b, c]), set(&[c, a, b]));
        assert_ne!(set(&[a, b]), set(&[a, b, b]));
        assert_eq!(set(&[a, b, c]).minus(set(&[a, b])), set(&[c]));
    }

    #[test]
    fn source_and_id_do_not_run_together() {
        assert_ne!(EventHash::of("ab", "c"), EventHash::of("a", "bc"));
    }
}
