use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, in whole milliseconds since 1970-01-01T00:00:00Z.
///
/// Written as RFC 3339 with exactly three decimals: `2026-03-01T09:30:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 moment of the years 0001 to 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time such as 2026-03-01T09:30:00Z")]
pub struct TimestampError(String);

const MS_PER_DAY: i64 = 86_400_000;
const NANOS_PER_MS: u32 = 1_000_000;

impl Timestamp {
    /// 0001-01-01T00:00:00.000Z, the earliest moment that can be written.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// 9999-12-31T23:59:59.999Z, the latest moment that can be written.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The moment `ms` milliseconds after 1970, clamped to the years 0001 to 9999.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        Self(ms.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn ms(self) -> i64 {
        self.0
    }

    /// Milliseconds from `earlier` to `self`; negative where `earlier` is the later one.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// This moment moved by `ms` milliseconds, clamped to what can be written.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// Reads RFC 3339 and returns the millisecond and the nanoseconds below it.
    ///
    /// # Errors
    /// The text is no such moment (`2026-02-30`, `25:00`, no offset, …).
    pub fn parse_precise(text: &str) -> Result<(Self, u32), TimestampError> {
        if let Some(ms) = parse_canonical(text.as_bytes()) {
            return Ok((Self(ms), 0));
        }
        let refuse = || TimestampError(text.chars().take(64).collect());
        let parsed: jiff::Timestamp = text.parse().map_err(|_not_a_time| refuse())?;
        let nanos = parsed.as_nanosecond();
        let per_ms = i128::from(NANOS_PER_MS);
        let ms = i64::try_from(nanos.div_euclid(per_ms)).map_err(|_too_far| refuse())?;
        let below = u32::try_from(nanos.rem_euclid(per_ms)).map_err(|_impossible| refuse())?;
        if !(Self::MIN.0..=Self::MAX.0).contains(&ms) {
            return Err(refuse());
        }
        Ok((Self(ms), below))
    }

    /// Reads RFC 3339; what is finer than a millisecond is cut off.
    ///
    /// # Errors
    /// As [`Timestamp::parse_precise`].
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        Self::parse_precise(text).map(|(time, _below_ms)| time)
    }

    /// Reads RFC 3339, or a day such as `2026-03-01`, which means its beginning in UTC.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse_or_day(text: &str) -> Result<Self, TimestampError> {
        if text.len() == "2026-03-01".len() {
            return Self::parse(&format!("{text}T00:00:00Z"));
        }
        Self::parse(text)
    }

    /// The 24 bytes of the canonical form.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let days = self.0.div_euclid(MS_PER_DAY);
        let ms = self.0.rem_euclid(MS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let mut out = *b"0000-00-00T00:00:00.000Z";
        put_digits(&mut out, 0, 4, year);
        put_digits(&mut out, 5, 2, month);
        put_digits(&mut out, 8, 2, day);
        put_digits(&mut out, 11, 2, ms / 3_600_000);
        put_digits(&mut out, 14, 2, ms / 60_000 % 60);
        put_digits(&mut out, 17, 2, ms / 1_000 % 60);
        put_digits(&mut out, 20, 3, ms % 1_000);
        out
    }
}

/// Reads exactly `YYYY-MM-DDTHH:MM:SS.mmmZ`; anything else is left to the full parser.
fn parse_canonical(text: &[u8]) -> Option<i64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let at = |from: usize, len: usize| -> Option<i64> {
        let digits = text.get(from..from + len)?;
        digits.iter().try_fold(0, |sum, b| {
            b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0'))
        })
    };
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ];
    if !marks.iter().all(|&(i, mark)| text.get(i) == Some(&mark)) {
        return None;
    }
    let (year, month, day) = (at(0, 4)?, at(5, 2)?, at(8, 2)?);
    let (hour, minute, second, ms) = (at(11, 2)?, at(14, 2)?, at(17, 2)?, at(20, 3)?);
    let in_range = year >= 1 && (1..=12).contains(&month) && day >= 1;
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if day > 28 && civil_from_days(days) != (year, month, day) {
        return None;
    }
    Some(days * MS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1_000 + ms)
}

/// Days since 1970 of a Gregorian date (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn put_digits(out: &mut [u8; 24], from: usize, len: usize, value: i64) {
    let mut rest = value;
    for slot in out.iter_mut().skip(from).take(len).rev() {
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_bytes()).unwrap_or_default())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(std::str::from_utf8(&self.to_bytes()).unwrap_or_default())
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self::from_ms);
        }
        struct Rfc3339;
        impl serde::de::Visitor<'_> for Rfc3339 {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Rfc3339)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match Timestamp::parse_precise(text) {
            Ok((time, below)) => format!("{time} +{below}ns"),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn reads_what_rfc_3339_allows() {
        check("2011-09-30T22:38:44.546Z", "2011-09-30T22:38:44.546Z +0ns");
        check(
            "2011-10-01T00:38:44.546+02:00",
            "2011-09-30T22:38:44.546Z +0ns",
        );
        check("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z +0ns");
        check(
            "2024-01-01T00:00:00.123456789Z",
            "2024-01-01T00:00:00.123Z +456789ns",
        );
        check("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z +0ns");
    }

    #[test]
    fn refuses_what_never_was() {
        for text in [
            "2023-02-29T00:00:00Z",
            "2023-01-01",
            "yesterday",
            "2023-13-01T00:00:00Z",
            "",
        ] {
            let error = Timestamp::parse(text).expect_err(text).to_string();
            assert!(error.contains("RFC 3339"), "{error}");
        }
        assert!(Timestamp::parse("2023-02-29T00:00:00.000Z").is_err());
        assert!(Timestamp::parse("2023-01-01T24:00:00.000Z").is_err());
        assert!(Timestamp::parse("2023-04-31T00:00:00.000Z").is_err());
        assert!(Timestamp::parse("2023-01-32T00:00:00.000Z").is_err());
        assert!(Timestamp::parse("2023-01-00T00:00:00.000Z").is_err());
    }

    #[test]
    fn the_first_and_the_last_moment_read_back() {
        for moment in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(Timestamp::parse(&moment.to_string()), Ok(moment));
        }
    }

    #[test]
    fn agrees_with_jiff_on_every_day_of_the_calendar() {
        let mut ms = Timestamp::MIN.ms();
        while ms < Timestamp::MAX.ms() {
            let ours = Timestamp::from_ms(ms).to_string();
            let theirs = jiff::Timestamp::from_millisecond(ms).expect("in range");
            assert_eq!(ours, format!("{theirs:.3}"));
            assert_eq!(Timestamp::parse(&ours), Ok(Timestamp::from_ms(ms)));
            ms += 86_400_000 * 13 + 12_345_678;
        }
    }
}
