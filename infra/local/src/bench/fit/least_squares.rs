//! Linear least squares in up to three unknowns, none of which may be negative.

/// An equation: its three coefficients, what they should add up to, and its weight.
pub(super) type Equation = ([f64; 3], f64, f64);

type Matrix = [[f64; 3]; 3];

/// The unknowns, none negative, that leave the least sum of weighted squares. The first is always among those
/// that are not 0. `None` where the equations do not decide.
///
/// All choices of which unknowns are 0 are tried, which for three is the shortest way to be exact.
pub(super) fn solve(equations: &[Equation]) -> Option<[f64; 3]> {
    let scale = scale(equations);
    let choices = [
        [true, true, true],
        [true, true, false],
        [true, false, true],
        [true, false, false],
    ];
    let mut best: Option<([f64; 3], f64)> = None;
    for chosen in choices {
        let Some(found) = refined(equations, scale, chosen) else {
            continue;
        };
        if found.iter().any(|one| *one < 0.0) {
            continue;
        }
        let left = residual(equations, found);
        if best.is_none_or(|(_, least)| left < least) {
            best = Some((found, left));
        }
    }
    best.map(|(found, _)| found)
}

/// The sum of weighted squares that is left.
fn residual(equations: &[Equation], unknowns: [f64; 3]) -> f64 {
    let of = |(row, target, weight): &Equation| weight * (dot(*row, unknowns) - target).powi(2);
    equations.iter().map(of).sum()
}

fn dot(one: [f64; 3], other: [f64; 3]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// How large each column is: columns differ by many orders of magnitude.
fn scale(equations: &[Equation]) -> [f64; 3] {
    let mut sums = [0.0_f64; 3];
    for (row, _, weight) in equations {
        for (sum, one) in sums.iter_mut().zip(row) {
            *sum += weight * one * one;
        }
    }
    sums.map(|sum| if sum > 0.0 { sum.sqrt() } else { 1.0 })
}

/// Solved twice: the second time what the first left over, which takes away most of what rounding did.
fn refined(equations: &[Equation], scale: [f64; 3], chosen: [bool; 3]) -> Option<[f64; 3]> {
    let mut found = solve_chosen(equations, scale, chosen)?;
    let left: Vec<Equation> = equations
        .iter()
        .map(|(row, target, weight)| (*row, target - dot(*row, found), *weight))
        .collect();
    let more = solve_chosen(&left, scale, chosen)?;
    for (one, more) in found.iter_mut().zip(more) {
        *one += more;
    }
    Some(found)
}

fn solve_chosen(equations: &[Equation], scale: [f64; 3], chosen: [bool; 3]) -> Option<[f64; 3]> {
    let mut normal: Matrix = [[0.0; 3]; 3];
    let mut right = [0.0; 3];
    for (row, target, weight) in equations {
        let mut scaled = [0.0; 3];
        for ((to, from), (by, used)) in scaled.iter_mut().zip(row).zip(scale.iter().zip(chosen)) {
            *to = if used { from / by } else { 0.0 };
        }
        for ((line, right), a) in normal.iter_mut().zip(&mut right).zip(scaled) {
            for (sum, b) in line.iter_mut().zip(scaled) {
                *sum += weight * a * b;
            }
            *right += weight * a * target;
        }
    }
    // An unknown that is not used is 0.
    for (at, (line, used)) in normal.iter_mut().zip(chosen).enumerate() {
        for (other, one) in line.iter_mut().enumerate() {
            if at == other && !used {
                *one = 1.0;
            }
        }
    }
    let whole = determinant(normal);
    if whole.abs() < 1e-14 {
        return None;
    }
    let mut found = [0.0; 3];
    for (column, (one, by)) in found.iter_mut().zip(scale).enumerate() {
        let mut changed = normal;
        for (line, right) in changed.iter_mut().zip(right) {
            for (at, entry) in line.iter_mut().enumerate() {
                if at == column {
                    *entry = right;
                }
            }
        }
        // Cramer's rule.
        *one = determinant(changed) / whole / by;
    }
    Some(found)
}

fn determinant([[a, b, c], [d, e, f], [g, h, i]]: Matrix) -> f64 {
    a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(equations: &[Equation], expect: Option<[f64; 3]>) {
        let found = solve(equations);
        let near = match (found, expect) {
            (Some(found), Some(expect)) => found
                .iter()
                .zip(expect)
                .all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1e-9)),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        assert!(near, "{found:?}, not {expect:?}");
    }

    #[test]
    fn exact_equations_are_solved_exactly() {
        let of = |x: f64| ([1.0, x, x * x], 2.0 + 3.0 * x + 0.5 * x * x, 1.0);
        check(
            &[of(1.0), of(2.0), of(3.0), of(1_000.0)],
            Some([2.0, 3.0, 0.5]),
        );
    }

    #[test]
    fn what_would_be_negative_is_nothing() {
        let of = |x: f64| ([1.0, x, 0.0], 2.0 - 0.001 * x, 1.0);
        check(&[of(0.0), of(1.0), of(2.0)], Some([1.999, 0.0, 0.0]));
    }

    #[test]
    fn weights_count() {
        let heavy = [([1.0, 0.0, 0.0], 1.0, 3.0), ([1.0, 0.0, 0.0], 5.0, 1.0)];
        check(&heavy, Some([2.0, 0.0, 0.0]));
        check(&[], None);
    }
}
