//! Numbers as benchmarks need them: rounded, ranked, written.

/// A count as a fraction.
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// The whole part; 0 for what is below.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and what is below 0 or no number is 0"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    quantile(numbers, 0.5)
}

/// A quantile, linear between neighbours; 0 of none.
pub(crate) fn quantile(numbers: &[f64], share: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let place = share * float(last as u64);
    let below = usize::try_from(whole(place)).unwrap_or_default();
    let at = |place: usize| sorted.get(place.min(last)).copied().unwrap_or_default();
    let (low, high) = (at(below), at(below + 1));
    low + (high - low) * (place - float(below as u64))
}

/// Three significant digits, with thousands apart: `12,300`, `4.56`, `0.0123`.
pub(crate) fn short(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return if number.is_nan() || number == 0.0 {
            "0".to_owned()
        } else {
            "∞".to_owned()
        };
    }
    let size = number.abs().log10().floor();
    if size >= 2.0 {
        let step = 10_f64.powf(size - 2.0);
        let rounded = (number / step).round() * step;
        return thousands(rounded);
    }
    let digits = usize::try_from(whole((2.0 - size).min(8.0))).unwrap_or_default();
    format!("{number:.digits$}")
}

/// A whole number with thousands apart.
pub(crate) fn thousands(number: f64) -> String {
    let digits = whole(number.abs().round()).to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0.0 {
        text.insert(0, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let check = |number: f64, expect: &str| assert_eq!(short(number), expect, "{number}");
        check(0.0, "0");
        check(0.012_345, "0.0123");
        check(4.555_9, "4.56");
        check(45.67, "45.7");
        check(456.7, "457");
        check(12_345.0, "12,300");
        check(1_234_567.0, "1,230,000");
        check(f64::INFINITY, "∞");
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        let check = |numbers: &[f64], share: f64, expect: f64| {
            let got = quantile(numbers, share);
            assert!((got - expect).abs() < 1e-12, "{numbers:?} {share}: {got}");
        };
        check(&[], 0.5, 0.0);
        check(&[3.0], 0.9, 3.0);
        check(&[3.0, 1.0, 2.0], 0.5, 2.0);
        check(&[1.0, 2.0, 3.0, 4.0], 0.5, 2.5);
        check(&[0.0, 10.0], 0.25, 2.5);
        check(&[0.0, 10.0], 1.0, 10.0);
    }
}
