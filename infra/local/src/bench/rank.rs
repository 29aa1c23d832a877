//! Whether two samples differ: the test of H. B. Mann and D. R. Whitney (1947), two-sided.

use super::number::float;

/// Up to so many values all orders are counted; beyond that the normal approximation is good.
const EXACT_MAX: usize = 40;

/// How likely samples are that differ as much as these, if nothing differs but by chance.
pub(crate) fn mann_whitney(one: &[f64], other: &[f64]) -> f64 {
    if one.is_empty() || other.is_empty() {
        return 1.0;
    }
    // Pairs in which the first is greater; equal ones count half.
    let mut greater = 0.0;
    let mut ties = false;
    for a in one {
        for b in other {
            match a.total_cmp(b) {
                std::cmp::Ordering::Greater => greater += 1.0,
                std::cmp::Ordering::Equal => {
                    greater += 0.5;
                    ties = true;
                }
                std::cmp::Ordering::Less => {}
            }
        }
    }
    let pairs = float((one.len() * other.len()) as u64);
    let most = f64::max(greater, pairs - greater);
    if !ties && one.len() + other.len() <= EXACT_MAX {
        exact(one.len(), other.len(), most)
    } else {
        normal(one, other, most)
    }
}

/// By counting all orders of the two samples.
fn exact(one: usize, other: usize, most: f64) -> f64 {
    // ways[k]: selections of so many of the first sample's places, by the pairs in which it is greater.
    // The counts of all selections follow from those of shorter samples (the recursion of Mann and Whitney).
    let pairs = one * other;
    let mut ways: Vec<Vec<f64>> = vec![vec![0.0; pairs + 1]; one + 1];
    if let Some(first) = ways.first_mut().and_then(|of| of.first_mut()) {
        *first = 1.0;
    }
    for place in 0..one + other {
        let before = ways.clone();
        for (chosen, counts) in ways.iter_mut().enumerate().skip(1) {
            // This place is the first sample's: it is greater than those of the other before it.
            let Some(below) = (place + 1)
                .checked_sub(chosen)
                .filter(|below| *below <= other)
            else {
                continue;
            };
            let fewer = before.get(chosen - 1);
            for (sum, count) in counts.iter_mut().enumerate() {
                let from = sum.checked_sub(below);
                let more = from.and_then(|from| fewer?.get(from)).copied();
                *count += more.unwrap_or_default();
            }
        }
    }
    let counts = ways.last().map(Vec::as_slice).unwrap_or_default();
    let all: f64 = counts.iter().sum();
    let tail: f64 = counts
        .iter()
        .enumerate()
        .filter(|(sum, _)| float(*sum as u64) >= most)
        .map(|(_, count)| count)
        .sum();
    (2.0 * tail / all).min(1.0)
}

/// By the normal approximation, with ties and continuity corrected.
fn normal(one: &[f64], other: &[f64], most: f64) -> f64 {
    let (n, m) = (float(one.len() as u64), float(other.len() as u64));
    let all = n + m;
    let mut sorted: Vec<f64> = one.iter().chain(other).copied().collect();
    sorted.sort_by(f64::total_cmp);
    let tied: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|equal| float(equal.len() as u64))
        .map(|count| count.powi(3) - count)
        .sum();
    let variance = n * m / 12.0 * (all + 1.0 - tied / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = (most - n * m / 2.0 - 0.5).max(0.0) / variance.sqrt();
    (2.0 * upper_tail(z)).min(1.0)
}

/// The share of the normal distribution above z ≥ 0 (Abramowitz and Stegun, 26.2.17).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let terms = [
        0.319_381_53,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let sum = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &[f64], other: &[f64], expect: f64) {
        let got = mann_whitney(one, other);
        assert!(
            (got - expect).abs() < 2e-3,
            "{one:?} {other:?}: {got}, not {expect}"
        );
    }

    /// The expected numbers are those of `scipy.stats.mannwhitneyu`.
    #[test]
    fn known_samples_have_known_chances() {
        check(
            &[19.0, 22.0, 16.0, 29.0, 24.0],
            &[20.0, 11.0, 17.0, 12.0],
            0.111_111,
        );
        check(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0.1);
        check(
            &[1.0, 2.0, 3.0, 4.0, 5.0],
            &[6.0, 7.0, 8.0, 9.0, 10.0],
            0.007_937,
        );
        check(&[1.0, 3.0], &[2.0, 4.0], 0.666_667);
        check(&[], &[1.0], 1.0);
        check(&[5.0; 10], &[5.0; 10], 1.0);
    }

    /// The tail: 1.96 leaves 2.5 %.
    #[test]
    fn the_normal_tail() {
        assert!((upper_tail(1.959_964) - 0.025).abs() < 1e-6);
        assert!((upper_tail(0.0) - 0.5).abs() < 1e-6);
    }

    /// Many values: both ways agree.
    #[test]
    fn the_approximation_is_near() {
        let one: Vec<f64> = (0..20).map(|n| f64::from(n) * 1.1).collect();
        let other: Vec<f64> = (0..20).map(|n| f64::from(n) * 1.3 + 2.05).collect();
        let most = one
            .iter()
            .map(|a| other.iter().filter(|b| *b > a).count() as u64)
            .sum();
        let (exact, normal) = (
            exact(20, 20, float(most)),
            normal(&one, &other, float(most)),
        );
        assert!((exact - normal).abs() < 0.01, "{exact} {normal}");
    }
}
