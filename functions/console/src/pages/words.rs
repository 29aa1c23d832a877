use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use shared::model::Timestamp;

/// What stands in a query as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// An address of ours with a query; what is empty is left out.
pub(crate) fn link(path: &str, query: &[(&str, &str)]) -> String {
    let mut link = path.to_owned();
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        link.push(if link.contains('?') { '&' } else { '?' });
        link.push_str(name);
        link.push('=');
        link.extend(utf8_percent_encode(value, QUERY));
    }
    link
}

/// A moment in UTC, to the millisecond.
pub(crate) fn moment(at: Timestamp) -> Markup {
    let machine = at.to_string();
    let human = machine.replacen('T', " ", 1);
    html! { time datetime=(machine) { (human.trim_end_matches('Z')) } }
}

/// A length of time in its two largest units.
pub(crate) fn lasting(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    if ms.abs() < 1_000 {
        return format!("{ms} ms");
    }
    let mut words = Vec::new();
    let mut left = ms;
    for (size, unit) in UNITS {
        let number = left / size;
        if number != 0 && words.len() < 2 {
            words.push(format!("{number} {unit}"));
            left %= size;
        } else if !words.is_empty() {
            break;
        }
    }
    words.join(" ")
}

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut words = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

/// So many of something that is counted in English with an s.
pub(crate) fn things(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {one}{ending}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_numbers() {
        for (number, expect) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (26_220_012, "26,220,012"),
        ] {
            assert_eq!(count(number), expect);
        }
        for (ms, expect) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (61_000, "1 min 1 s"),
            (3_600_000, "1 h"),
            (3_601_000, "1 h"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(lasting(ms), expect);
        }
        let hostile = link(
            "/job",
            &[("event", "a&b=\"<c>"), ("tenant", ""), ("group", "é")],
        );
        assert_eq!(hostile, "/job?event=a%26b%3D%22%3Cc%3E&group=%C3%A9");
    }
}
