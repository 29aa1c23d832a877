use crate::model::Timestamp;

/// From this number on, a time counts milliseconds; below it, seconds. As seconds it is the year 5138,
/// as milliseconds March 1973.
const MILLISECONDS_FROM: i64 = 100_000_000_000;
/// No time has as many milliseconds.
const MILLISECONDS_END: i64 = MILLISECONDS_FROM * 1_000;

/// The time of a wrapped event as RFC 3339: as it stands, or of a number of seconds or milliseconds
/// since 1970, with or without decimals.
///
/// A number below 10¹¹ counts seconds, others up to 10¹⁴ count milliseconds. What is neither is left
/// as it is, for the one who reads the event to refuse.
pub(super) fn rfc_3339(text: &str) -> String {
    read(text).unwrap_or_else(|| text.to_owned())
}

fn read(text: &str) -> Option<String> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    // Nanoseconds of the unit's decimals; finer ones are cut off.
    let decimals: String = decimals
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let decimals: i64 = decimals.parse().ok()?;
    let (ms, below_ms) = if whole < MILLISECONDS_FROM {
        (whole * 1_000 + decimals / 1_000_000, decimals % 1_000_000)
    } else if whole < MILLISECONDS_END {
        (whole, decimals / 1_000)
    } else {
        return None;
    };
    let time = Timestamp::from_ms(ms).to_string();
    Some(match below_ms {
        0 => time,
        below_ms => format!("{}{below_ms:06}Z", time.trim_end_matches('Z')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        assert_eq!(rfc_3339(text), expect, "{text}");
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds() {
        check("1772357400", "2026-03-01T09:30:00.000Z");
        check("1772357400123", "2026-03-01T09:30:00.123Z");
        check("1772357400.123", "2026-03-01T09:30:00.123Z");
        check("1772357400.123456789", "2026-03-01T09:30:00.123456789Z");
        check("1772357400.1234567891", "2026-03-01T09:30:00.123456789Z");
        check("1772357400123.5", "2026-03-01T09:30:00.123500000Z");
        check("0", "1970-01-01T00:00:00.000Z");
        check("99999999999", "5138-11-16T09:46:39.000Z");
        check("100000000000", "1973-03-03T09:46:40.000Z");
        check("99999999999999", "5138-11-16T09:46:39.999Z");
    }

    #[test]
    fn the_rest_is_left_alone() {
        for text in [
            "2026-03-01T09:30:00+02:00",
            "100000000000000",
            "99999999999999999999",
            "1e9",
            "-1",
            "",
            ".5",
            "1.",
            "1.2.3",
            "true",
        ] {
            check(text, text);
        }
    }
}
