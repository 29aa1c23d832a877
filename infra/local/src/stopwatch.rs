use std::time::{Duration, Instant};

/// The one place of the host that measures durations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "measures durations; no rule sees them"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Microseconds; what is longer than these can say is the longest.
pub(crate) fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Waits, for what another machine does by itself after a known time.
#[expect(
    clippy::disallowed_methods,
    reason = "a person waits with it; no runtime is blocked"
)]
pub(crate) fn pause(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// Waits so long.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark keeps a pace; no runtime is blocked"
)]
pub(crate) fn pause_for(time: Duration) {
    std::thread::sleep(time);
}

/// The same, within a runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark keeps a pace; no message waits for it"
)]
pub(crate) async fn rest_for(time: Duration) {
    tokio::time::sleep(time).await;
}
