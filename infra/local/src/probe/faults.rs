//! Faults on purpose, the same for the same seed and the same calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use shared::ports::{Error, ErrorKind};

use crate::stopwatch::pause_for;

/// What may go wrong with a store. Shares are of all calls.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FaultRates {
    /// Calls that fail: by turns before anything was done, and after it, when only the answer is lost.
    pub(crate) errors: f64,
    /// Calls that take longer.
    pub(crate) slow: f64,
    /// By so many milliseconds.
    pub(crate) slow_ms: u64,
}

/// Makes faults.
#[derive(Debug)]
pub(crate) struct Faults {
    rates: FaultRates,
    random: Mutex<ChaCha8Rng>,
    made: AtomicU64,
}

impl Faults {
    pub(crate) fn new(rates: FaultRates, seed: u64) -> Self {
        Self {
            rates,
            random: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            made: AtomicU64::new(0),
        }
    }

    /// Whether something that happens at this rate happens now.
    #[expect(clippy::float_arithmetic, reason = "a share of calls, of benchmarks")]
    fn happens(&self, rate: f64) -> bool {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        f64::from(random.next_u32()) < rate * f64::from(u32::MAX)
    }

    pub(super) async fn around<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if self.happens(self.rates.slow) {
            pause_for(Duration::from_millis(self.rates.slow_ms));
        }
        if !self.happens(self.rates.errors) {
            return work.await;
        }
        let before = self.made.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if !before {
            drop(work.await?);
        }
        Err(Error::new(
            ErrorKind::Retry,
            "ask the store",
            "a fault on purpose",
        ))
    }

    pub(super) fn take_made(&self) -> u64 {
        self.made.swap(0, Ordering::Relaxed)
    }
}
