//! Fits what was measured, and says how sure that is.

mod bootstrap;
mod least_squares;
mod queue;
mod usl;

pub(crate) use bootstrap::{Bounds, Value, bounds};
pub(crate) use queue::Queue;
pub(crate) use usl::Usl;

/// A measured point: where, and what came of it.
pub(crate) type Pair = (f64, f64);

/// By which share of the measured value each prediction is off.
pub(crate) fn errors(measured: &[Pair], predict: impl Fn(f64) -> f64) -> Vec<f64> {
    let error = |(at, value): &Pair| (predict(*at) / value - 1.0).abs();
    measured.iter().map(error).collect()
}
