//! How sure a fit is: the residual bootstrap (B. Efron, 1979) with a fixed seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::super::number::{float, quantile};
use super::Pair;

const RESAMPLES: usize = 400;
const SEED: u64 = 23;
/// The bounds hold 95 of 100.
const TAIL: f64 = 0.025;

/// A value and where it lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// A number that a fit gives.
pub(crate) type Value<'v, F> = &'v dyn Fn(&F) -> f64;

/// Of each value that a fit gives, its bounds: what was measured is made anew from the fit and the ratios by
/// which points lay off it, and fitted again. `unknowns` is how many numbers the fit has.
pub(crate) fn bounds<F>(
    points: &[Pair],
    unknowns: usize,
    fit: impl Fn(&[Pair]) -> Option<F>,
    predict: impl Fn(&F, f64) -> f64,
    values: &[Value<'_, F>],
) -> Option<Vec<Bounds>> {
    let best = fit(points)?;
    let free = points.len().saturating_sub(unknowns).max(1);
    // Residuals of a fit are smaller than the errors that made them.
    let widen = (float(points.len() as u64) / float(free as u64)).sqrt();
    let ratios: Vec<f64> = points
        .iter()
        .map(|(at, value)| ((value / predict(&best, *at)).ln() * widen).exp())
        .collect();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); values.len()];
    for _ in 0..RESAMPLES {
        let again: Vec<Pair> = points
            .iter()
            .map(|(at, _)| {
                let drawn = random.next_u64() % ratios.len().max(1) as u64;
                let place = usize::try_from(drawn).unwrap_or_default();
                let ratio = ratios.get(place).copied().unwrap_or(1.0);
                (*at, predict(&best, *at) * ratio)
            })
            .collect();
        if let Some(fitted) = fit(&again) {
            for (sample, value) in samples.iter_mut().zip(values) {
                sample.push(value(&fitted));
            }
        }
    }
    let bound = |(value, sample): (&Value<'_, F>, Vec<f64>)| Bounds {
        value: value(&best),
        low: quantile(&sample, TAIL),
        high: quantile(&sample, 1.0 - TAIL),
    };
    Some(values.iter().zip(samples).map(bound).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Usl;
    use super::*;

    /// Points that lie a tenth off the law, by turns: the truth lies within the bounds.
    #[test]
    fn the_truth_lies_within_the_bounds() {
        let law = Usl {
            lambda: 500.0,
            sigma: 0.02,
            kappa: 0.0,
        };
        let off = [1.1, 0.93, 1.04, 0.9, 1.07, 0.96, 1.02, 0.98];
        let points: Vec<Pair> = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
            .into_iter()
            .zip(off)
            .map(|(n, off)| (n, law.at(n) * off))
            .collect();
        let values: [&dyn Fn(&Usl) -> f64; 2] = [&|usl| usl.lambda, &|usl| usl.at(64.0)];
        let found = bounds(&points, 3, Usl::fit, |usl, n| usl.at(n), &values).expect("a fit");
        for (bounds, truth) in found.iter().zip([500.0, law.at(64.0)]) {
            assert!(
                bounds.low < truth && truth < bounds.high && bounds.high < truth * 1.5,
                "{bounds:?} of {truth}"
            );
        }
        let again = bounds_again(&points);
        assert_eq!(found, again, "the same every time");
    }

    fn bounds_again(points: &[Pair]) -> Vec<Bounds> {
        let values: [&dyn Fn(&Usl) -> f64; 2] = [&|usl| usl.lambda, &|usl| usl.at(64.0)];
        bounds(points, 3, Usl::fit, |usl, n| usl.at(n), &values).expect("a fit")
    }
}
