//! Chance that is none: numbers that follow from a seed.

/// A number that follows from these (`SplitMix64`'s finaliser over a running sum).
#[must_use]
pub fn mix(parts: &[u64]) -> u64 {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    for part in parts {
        state = scramble(
            state
                .wrapping_add(*part)
                .wrapping_add(0x9E37_79B9_7F4A_7C15),
        );
    }
    state
}

fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Numbers one after another, all from one seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    /// Those of a seed.
    #[must_use]
    pub(crate) fn new(parts: &[u64]) -> Self {
        Self {
            seed: mix(parts),
            thrown: 0,
        }
    }

    /// The next one, below `end`; 0 where that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.thrown += 1;
        mix(&[self.seed, self.thrown]) % end.max(1)
    }

    /// The next one, from `first` to `last`.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first) + 1)
    }

    /// Whether what happens so many times in 1,000 happens now.
    pub(crate) fn happens(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.index(among.len())]
    }

    /// A place among so many.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// Puts them in any order.
    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.index(last + 1));
        }
    }
}
