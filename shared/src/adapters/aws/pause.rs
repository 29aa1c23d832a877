use std::time::Duration;

/// How often the rest of a partial batch is sent again.
pub(super) const ATTEMPTS_MAX: u32 = 8;
const FIRST_MS: u64 = 25;
const LONGEST_MS: u64 = 2_000;

/// Waits before the attempt after `attempt` (from 0): exponential backoff with full jitter, so that those
/// that were throttled together do not come again together
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
pub(super) async fn pause(attempt: u32) {
    let longest = FIRST_MS
        .saturating_mul(1 << attempt.min(16))
        .min(LONGEST_MS);
    #[expect(
        clippy::disallowed_methods,
        reason = "the rest of a partial batch cannot be left to redelivery: the first part is done"
    )]
    tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=longest))).await;
}
