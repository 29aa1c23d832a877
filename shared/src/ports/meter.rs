use std::sync::{Mutex, PoisonError};

use crate::metrics::Reading;

/// Where readings of metrics go.
pub trait Meter: Send + Sync {
    /// Takes note of what was measured.
    fn record(&self, readings: &[Reading]);
}

/// Readings that are kept until somebody takes them.
#[derive(Debug, Default)]
pub struct Readings(Mutex<Vec<Reading>>);

impl Readings {
    /// Those since the last time.
    pub fn take(&self) -> Vec<Reading> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Meter for Readings {
    fn record(&self, readings: &[Reading]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(readings);
    }
}
