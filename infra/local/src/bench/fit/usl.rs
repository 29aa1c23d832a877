//! The Universal Scalability Law (N. J. Gunther, "Guerrilla Capacity Planning", 2007):
//! X(N) = λN / (1 + σ(N−1) + κN(N−1)).
//!
//! Here N is how many events are in flight. Work that is made durable in groups has just this form: a unit of
//! work takes a + bN, so that N/(a + bN) go through a second; λ is 1/(a+b), σ is b/(a+b), and κ is what gets
//! slower by more than its share.

use serde::{Deserialize, Serialize};

use super::super::number::float;
use super::Pair;
use super::least_squares::{Equation, solve};

/// Steps towards the least squares; each is a linear problem, and a few suffice.
const STEPS_MAX: usize = 50;

/// The law's three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usl {
    /// Throughput of one alone.
    pub(crate) lambda: f64,
    /// Share of the work that goes one after the other (contention).
    pub(crate) sigma: f64,
    /// What each pair costs (coherency).
    pub(crate) kappa: f64,
}

/// How far off a point may be, whatever its size or relative to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Residuals {
    /// Throughputs of one size.
    #[cfg_attr(not(test), expect(dead_code, reason = "what published fits go by"))]
    Absolute,
    /// Throughputs that differ by orders of magnitude.
    Relative,
}

impl Usl {
    /// The law that lies nearest to these points, each relative to its size; `None` of fewer than three
    /// different loads.
    ///
    /// A κ that explains little more than chance does is left out (corrected criterion of H. Akaike): points
    /// from below the knee say nothing about it, and the law would bend where nobody looked.
    pub(crate) fn fit(points: &[Pair]) -> Option<Self> {
        let whole = Self::fit_by(points, Residuals::Relative, true)?;
        let plain = Self::fit_by(points, Residuals::Relative, false)?;
        let is_plain = plain.criterion(points, 2.0) <= whole.criterion(points, 3.0);
        Some(if is_plain { plain } else { whole })
    }

    /// How much is left unexplained, with a price for each of so many unknowns.
    fn criterion(&self, points: &[Pair], unknowns: f64) -> f64 {
        let count = float(points.len() as u64);
        let free = count - unknowns - 2.0;
        if free <= 0.0 {
            return f64::INFINITY;
        }
        let off = |(n, x): &Pair| (self.at(*n) / x - 1.0).powi(2);
        let left: f64 = points.iter().map(off).sum();
        let unknowns = unknowns + 1.0;
        count * (left / count).max(1e-30).ln() + 2.0 * unknowns * count / free
    }

    fn fit_by(points: &[Pair], residuals: Residuals, bends: bool) -> Option<Self> {
        let mut loads: Vec<f64> = points.iter().map(|(load, _)| *load).collect();
        loads.sort_by(f64::total_cmp);
        loads.dedup();
        if loads.len() < 3 || points.iter().any(|(n, x)| *n < 1.0 || *x <= 0.0) {
            return None;
        }
        // N/X is linear in 1/λ, σ/λ and κ/λ: a first guess.
        let first: Vec<Equation> = points
            .iter()
            .map(|(n, x)| (row(*n, bends), n / x, (x / n).powi(2)))
            .collect();
        let mut unknowns = solve(&first)?;
        // Then X itself: Gauss and Newton, each step linear in the same three.
        for _ in 0..STEPS_MAX {
            let step = |(n, x): &Pair| -> Equation {
                let now: f64 = row(*n, bends)
                    .iter()
                    .zip(unknowns)
                    .map(|(a, b)| a * b)
                    .sum();
                let slope = n / (now * now);
                let weight = match residuals {
                    Residuals::Absolute => slope * slope,
                    Residuals::Relative => (slope / x).powi(2),
                };
                (row(*n, bends), 2.0 * now - x / slope, weight)
            };
            let equations: Vec<Equation> = points.iter().map(step).collect();
            let next = solve(&equations)?;
            let moved = unknowns
                .iter()
                .zip(next)
                .any(|(old, new)| (old - new).abs() > 1e-10 * new.abs());
            unknowns = next;
            if !moved {
                break;
            }
        }
        let [alpha, beta, gamma] = unknowns;
        let sound = alpha > 0.0 && (alpha + beta + gamma).is_finite();
        sound.then(|| Self {
            lambda: 1.0 / alpha,
            sigma: beta / alpha,
            kappa: gamma / alpha,
        })
    }

    /// Throughput with so many in flight.
    pub(crate) fn at(&self, n: f64) -> f64 {
        self.lambda * n / (1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0))
    }

    /// How many in flight give the greatest throughput, where more give less.
    pub(crate) fn peak(&self) -> Option<f64> {
        (self.kappa > 0.0).then(|| ((1.0 - self.sigma).max(0.0) / self.kappa).sqrt().max(1.0))
    }

    /// The greatest throughput there is; infinite where nothing limits it.
    pub(crate) fn capacity(&self) -> f64 {
        match self.peak() {
            Some(peak) => self.at(peak),
            None if self.sigma > 0.0 => self.lambda / self.sigma,
            None => f64::INFINITY,
        }
    }

    /// The knee: how many in flight would reach the capacity if each went as fast as one alone. Beyond it more
    /// in flight mean mostly longer waits.
    pub(crate) fn knee(&self) -> f64 {
        self.capacity() / self.lambda
    }

    /// The fewest in flight that give this throughput; `None` beyond the capacity.
    pub(crate) fn needed(&self, throughput: f64) -> Option<f64> {
        if throughput <= self.lambda {
            return Some(1.0);
        }
        let (mut low, mut high) = (1.0, self.peak().unwrap_or(1e9));
        if self.at(high) < throughput {
            return None;
        }
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if self.at(middle) < throughput {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(high)
    }
}

fn row(n: f64, bends: bool) -> [f64; 3] {
    [1.0, n - 1.0, if bends { n * (n - 1.0) } else { 0.0 }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(what: &str, got: f64, expect: f64, share: f64) {
        let off = (got - expect).abs() / expect.abs().max(1e-12);
        assert!(off <= share, "{what}: {got}, not {expect}");
    }

    /// The SPEC SDM91 figures of a Sun `SPARCcenter` 2000, and what the `usl` package of R makes of them.
    #[test]
    fn a_published_fit_comes_out() {
        let points = [
            (1.0, 64.9),
            (18.0, 995.9),
            (36.0, 1_652.4),
            (72.0, 1_853.2),
            (108.0, 1_828.9),
            (144.0, 1_775.0),
            (216.0, 1_702.2),
        ];
        let usl = Usl::fit_by(&points, Residuals::Absolute, true).expect("a fit");
        near("lambda", usl.lambda, 89.995_238_2, 1e-4);
        near("sigma", usl.sigma, 0.027_728_5, 1e-3);
        near("kappa", usl.kappa, 0.000_104_4, 1e-2);
        near("peak", usl.peak().expect("a peak"), 96.5, 1e-2);
    }

    #[test]
    fn the_law_itself_is_found_again() {
        let check = |law: Usl| {
            let points: Vec<Pair> = [1.0, 4.0, 16.0, 64.0, 256.0, 4_096.0]
                .into_iter()
                .map(|n| (n, law.at(n)))
                .collect();
            let found = Usl::fit(&points).expect("a fit");
            near("lambda", found.lambda, law.lambda, 1e-6);
            near("sigma", found.sigma, law.sigma, 1e-6);
            for n in [2.0, 1_000.0, 10_000.0] {
                near("throughput", found.at(n), law.at(n), 1e-6);
            }
        };
        let law = |lambda, sigma, kappa| Usl {
            lambda,
            sigma,
            kappa,
        };
        check(law(800.0, 0.01, 0.0));
        check(law(800.0, 0.01, 1e-7));
        check(law(3.0, 0.5, 1e-4));
    }

    #[test]
    fn what_is_needed_gives_what_was_asked() {
        let usl = Usl {
            lambda: 100.0,
            sigma: 0.05,
            kappa: 1e-5,
        };
        near(
            "capacity",
            usl.capacity(),
            usl.at(usl.peak().expect("a peak")),
            1e-9,
        );
        let needed = usl.needed(1_000.0).expect("within the capacity");
        near("throughput", usl.at(needed), 1_000.0, 1e-6);
        assert_eq!(usl.needed(99.0), Some(1.0));
        assert_eq!(usl.needed(usl.capacity() * 1.01), None);
    }

    #[test]
    fn too_few_points_fit_nothing() {
        assert_eq!(Usl::fit(&[]), None);
        assert_eq!(Usl::fit(&[(1.0, 5.0), (1.0, 5.0), (2.0, 6.0)]), None);
        assert_eq!(Usl::fit(&[(1.0, 5.0), (2.0, 0.0), (4.0, 6.0)]), None);
    }
}
