use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of money, exact to four decimals (the most any ISO 4217 currency has).
///
/// Sums of amounts do not depend on the order of the additions, which sums of floats do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount(i64);

/// Why a number cannot be an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal number such as `1234.5`.
    #[error("{0:?} is not a decimal number")]
    Malformed(String),
    /// More than four decimals would be rounded, and money is not rounded silently.
    #[error("{0:?} has more than 4 decimals")]
    TooFine(String),
    /// Past ±100,000,000,000.
    #[error("{0:?} is beyond ±100000000000")]
    TooLarge(String),
}

const SCALE: i64 = 10_000;
const DECIMALS_MAX: usize = 4;
/// One event's amount; sums may grow past it and saturate at what `i64` holds.
const AMOUNT_MAX: i64 = 100_000_000_000 * SCALE;

impl Amount {
    /// Reads a JSON number: an optional sign, digits, an optional fraction, no exponent.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let amount = Self::parse_sum(text)?;
        if amount.0.abs() > AMOUNT_MAX {
            return Err(AmountError::TooLarge(shown(text)));
        }
        Ok(amount)
    }

    /// The same for a sum, which may be past what one event may say.
    fn parse_sum(text: &str) -> Result<Self, AmountError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(AmountError::Malformed(shown(text)));
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > DECIMALS_MAX {
            return Err(AmountError::TooFine(shown(text)));
        }
        let too_large = |_overflow| AmountError::TooLarge(shown(text));
        let whole: i64 = whole.parse().map_err(too_large)?;
        let fraction: i64 = format!("{fraction:0<DECIMALS_MAX$}")
            .parse()
            .map_err(too_large)?;
        let value = whole
            .checked_mul(SCALE)
            .and_then(|units| units.checked_add(fraction))
            .ok_or_else(|| AmountError::TooLarge(shown(text)))?;
        Ok(Self(if negative { -value } else { value }))
    }

    /// So many whole units; `None` where that is more than can be kept.
    #[must_use]
    pub fn whole(units: i64) -> Option<Self> {
        units.checked_mul(SCALE).map(Self)
    }

    /// The sum; `None` where it is more than can be kept.
    #[must_use]
    pub fn checked_plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The sum, held at the largest value that can be kept.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Whether the amount has no fraction.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.0 % SCALE == 0
    }
}

/// The text as an error shows it.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (
            self.0.unsigned_abs() / 10_000,
            self.0.unsigned_abs() % 10_000,
        );
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        write!(
            f,
            "{sign}{whole}.{}",
            format!("{fraction:04}").trim_end_matches('0')
        )
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_whole() {
            return serializer.serialize_i64(self.0 / SCALE);
        }
        // The nearest double prints back to the same four decimals up to 9 × 10¹¹.
        let nearest: f64 = self
            .to_string()
            .parse()
            .map_err(serde::ser::Error::custom)?;
        serializer.serialize_f64(nearest)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount")
            }
            fn visit_i64<E: serde::de::Error>(self, units: i64) -> Result<Amount, E> {
                Amount::whole(units).ok_or_else(|| E::custom("amount too large"))
            }
            fn visit_u64<E: serde::de::Error>(self, units: u64) -> Result<Amount, E> {
                i64::try_from(units)
                    .map_err(E::custom)
                    .and_then(|units| self.visit_i64(units))
            }
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Amount, E> {
                Amount::parse_sum(&format!("{value:.DECIMALS_MAX$}")).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match Amount::parse(text) {
            Ok(amount) => serde_json::to_string(&amount).expect("a number"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect);
        if let Ok(amount) = Amount::parse(text) {
            let back: Amount = serde_json::from_str(&got).expect("an amount");
            assert_eq!(back, amount, "read back");
            assert_eq!(amount.to_string(), got, "shown as exported");
        }
    }

    #[test]
    fn reads_and_writes_exactly() {
        check("20000", "20000");
        check("-12.50", "-12.5");
        check("99999999999.9999", "99999999999.9999");
        check("0.0001", "0.0001");
        check("1.23456", r#""1.23456" has more than 4 decimals"#);
        check("1e3", r#""1e3" is not a decimal number"#);
        check(
            "100000000000.1",
            r#""100000000000.1" is beyond ±100000000000"#,
        );
        check(
            "-100000000000.1",
            r#""-100000000000.1" is beyond ±100000000000"#,
        );
    }

    #[test]
    fn sums_past_what_one_event_may_say_read_back() {
        let most = Amount::parse("99999999999.9999").expect("an amount");
        let sum = most.checked_plus(most).expect("a sum");
        let text = serde_json::to_string(&sum).expect("a number");
        assert_eq!(text, "199999999999.9998");
        let back: Amount = serde_json::from_str(&text).expect("a sum");
        assert_eq!(back, sum);
        assert_eq!(Amount(i64::MAX).checked_plus(most), None);
        assert_eq!(Amount::whole(i64::MAX), None);
    }
}
