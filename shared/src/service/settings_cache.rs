use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Timestamp;
use crate::ports::{Error, ErrorKind, SettingsVersions};
use crate::settings::{Settings, StoredSettings};

const DOING: &str = "look up the settings in force";
/// Settings stay in force without the store for so many times the time limit.
const STAND_ALONE_LIMITS: i64 = 10;

/// The compiled settings of a process, looked up again after a time limit.
///
/// What cannot be looked up or compiled leaves the last good settings in force. Only a store that fails for
/// ten times the time limit ends that: settings that nobody can change any more are not to be trusted.
#[derive(Debug)]
pub struct SettingsCache {
    limit_ms: i64,
    state: Mutex<State>,
    hits: AtomicU64,
}

/// How often settings were wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lookups {
    /// They were at hand.
    pub hits: u64,
    /// The store was asked.
    pub misses: u64,
}

#[derive(Debug, Default)]
struct State {
    good: Option<Good>,
    /// When the store last answered, whatever it was.
    asked: Option<Timestamp>,
    /// How many look-ups were begun.
    begun: u64,
    /// Which of them was begun last among those that the store answered.
    answered: u64,
    /// The stored version that does not compile.
    refused: Option<u32>,
    /// The same with the reason, until it is told.
    untold: Option<(u32, String)>,
}

#[derive(Debug, Clone)]
struct Good {
    settings: Arc<Settings>,
    /// When the store last answered.
    confirmed: Timestamp,
}

impl SettingsCache {
    /// An empty cache, whose settings are looked up again `limit_ms` milliseconds after the last look.
    #[must_use]
    pub fn new(limit_ms: i64) -> Self {
        Self {
            limit_ms,
            state: Mutex::default(),
            hits: AtomicU64::default(),
        }
    }

    /// The settings in force, as far as they are known without a request within the time limit.
    ///
    /// # Errors
    /// The store failed, holds no settings or such as do not compile, and there are no good ones, or the
    /// store has failed for too long.
    pub async fn get(
        &self,
        ports: &impl SettingsVersions,
        now: Timestamp,
    ) -> Result<Arc<Settings>, Error> {
        if let Some(settings) = self.fresh(now) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(settings);
        }
        let look = self.begin();
        let found = ports.latest().await;
        let found = found.and_then(|stored| stored.ok_or_else(none_stored));
        let mut state = self.state();
        state.asked = Some(now);
        match found {
            Ok(stored) => state.take_in(&stored, look, now),
            Err(error) => {
                let stand_alone_ms = self.limit_ms.saturating_mul(STAND_ALONE_LIMITS);
                let stands = |good: &&Good| now.ms_since(good.confirmed) < stand_alone_ms;
                let good = state.good.as_ref().filter(stands);
                good.map(|good| Arc::clone(&good.settings)).ok_or(error)
            }
        }
    }

    /// The stored version that does not compile, and why, once: to be logged by the host after a
    /// [`get`](Self::get).
    pub fn refused(&self) -> Option<(u32, String)> {
        self.state().untold.take()
    }

    /// How often settings were wanted, from the beginning.
    pub fn lookups(&self) -> Lookups {
        Lookups {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.state().begun,
        }
    }

    /// The settings that need not be looked up.
    fn fresh(&self, now: Timestamp) -> Option<Arc<Settings>> {
        let state = self.state();
        let good = state.good.as_ref()?;
        // A clock that was put back says nothing about the age.
        let within = |since: Timestamp, limit: i64| (0..limit).contains(&now.ms_since(since));
        let stand_alone_ms = self.limit_ms.saturating_mul(STAND_ALONE_LIMITS);
        let fresh = within(state.asked?, self.limit_ms) && within(good.confirmed, stand_alone_ms);
        fresh.then(|| Arc::clone(&good.settings))
    }

    fn begin(&self) -> u64 {
        let mut state = self.state();
        state.begun += 1;
        state.begun
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts what the store answered to a look-up in force, unless it stands there already, does not
    /// compile, or comes after the answer to a later look-up.
    fn take_in(
        &mut self,
        stored: &StoredSettings,
        look: u64,
        now: Timestamp,
    ) -> Result<Arc<Settings>, Error> {
        if let Some(good) = &mut self.good {
            let late = look < self.answered;
            if !late {
                self.answered = look;
                good.confirmed = now;
            }
            let known = good.settings.version() == stored.version;
            if late || known || self.refused == Some(stored.version) {
                return Ok(Arc::clone(&good.settings));
            }
        }
        match Settings::of(stored) {
            Ok(settings) => {
                let settings = Arc::new(settings);
                self.refused = None;
                self.answered = look;
                self.good = Some(Good {
                    settings: Arc::clone(&settings),
                    confirmed: now,
                });
                Ok(settings)
            }
            Err(error) => {
                if self.refused.replace(stored.version) != Some(stored.version) {
                    self.untold = Some((stored.version, error.to_string()));
                }
                let doing = format!("compile the stored settings, version {}", stored.version);
                let good = self.good.as_ref().map(|good| Arc::clone(&good.settings));
                good.ok_or_else(|| Error::new(ErrorKind::Corrupt, doing, error))
            }
        }
    }
}

fn none_stored() -> Error {
    let why = "none are stored yet; put them in force with `foldback settings put FILE`";
    Error::new(ErrorKind::Reject, DOING, why)
}

#[cfg(test)]
mod tests;
