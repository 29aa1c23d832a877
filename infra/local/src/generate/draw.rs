use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a series of random numbers decides. Each has its own, so that one option changes nothing
/// that another decides: the same leads live the same lives however badly their events travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What happens to a lead.
    Life,
    /// Who a lead is.
    Person,
    /// How an event travels.
    Travel,
    /// What a malformed line looks like.
    Fault,
}

impl Purpose {
    fn number(self) -> u64 {
        match self {
            Self::Life => 0,
            Self::Person => 1,
            Self::Travel => 2,
            Self::Fault => 3,
        }
    }
}

/// A series of random numbers that is the same on every machine and for every version of the
/// random number crates: raw `ChaCha8` output, turned into choices here.
#[derive(Debug)]
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// The series for one purpose and one thing, which `number` names.
    pub(super) fn new(seed: u64, purpose: Purpose, number: u64) -> Self {
        let mut key = [0; 32];
        let words = seed
            .to_le_bytes()
            .into_iter()
            .chain(purpose.number().to_le_bytes());
        for (slot, byte) in key.iter_mut().zip(words) {
            *slot = byte;
        }
        let mut series = ChaCha8Rng::from_seed(key);
        series.set_stream(number);
        Self(series)
    }

    /// A number from 0 to `end - 1`; 0 where `end` is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        let wide = (u128::from(self.0.next_u64()) * u128::from(end)) >> 64;
        u64::try_from(wide).unwrap_or_default()
    }

    /// A number from `low` to `high`, both included; `low` where they are the wrong way round.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high.saturating_sub(low)).unwrap_or_default();
        low + i64::try_from(self.below(width.saturating_add(1))).unwrap_or_default()
    }

    /// True as often as the rate says.
    pub(super) fn happens(&mut self, rate: Rate) -> bool {
        self.below(Rate::ALWAYS.per_mille.into()) < rate.per_mille.into()
    }

    /// True in `percent` of 100 cases.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, each as likely as the others; the empty text where there are none.
    pub(super) fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        let at = usize::try_from(self.below(choices.len() as u64)).unwrap_or_default();
        choices.get(at).copied().unwrap_or_default()
    }
}

/// How often something happens, in tenths of a percent. Written as a percentage: `8`, `0.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rate {
    per_mille: u32,
}

impl Rate {
    /// Every time.
    const ALWAYS: Self = Self { per_mille: 1_000 };
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str, most: usize| {
            let fits = (1..=most).contains(&part.len());
            let number = fits && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u32>().ok().filter(|_| number)
        };
        let rate = digits(whole, 3)
            .zip(digits(tenth, 1))
            .map(|(whole, tenth)| whole * 10 + tenth);
        match rate {
            Some(per_mille) if per_mille <= Self::ALWAYS.per_mille => Ok(Self { per_mille }),
            Some(_) | None => Err("give a percentage from 0 to 100 such as 8 or 0.3".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_tenths_of_a_percent() {
        let rate = |text: &str| text.parse::<Rate>().map(|rate| rate.per_mille).ok();
        let texts = [
            "0", "0.3", "8", "12.5", "100", "100.0", "100.1", "", ".5", "1.25", "-1", "x",
        ];
        let expect = [
            Some(0),
            Some(3),
            Some(80),
            Some(125),
            Some(1_000),
            Some(1_000),
        ];
        assert_eq!(
            texts.map(rate).to_vec(),
            [expect.as_slice(), &[None; 6]].concat()
        );
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut draw = Draw::new(1, Purpose::Life, 2);
        assert_eq!((draw.below(0), draw.below(1)), (0, 0));
        assert_eq!(draw.between(5, 4), 5);
        assert_eq!(draw.pick(&[]), "");
        let drawn: Vec<i64> = (0..200).map(|_| draw.between(-2, 2)).collect();
        assert_eq!(
            (drawn.iter().min(), drawn.iter().max()),
            (Some(&-2), Some(&2))
        );
        assert!(!draw.happens(Rate { per_mille: 0 }) && draw.happens(Rate::ALWAYS));
    }
}
