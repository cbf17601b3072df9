//! Limits of the load generator.

use std::time::Duration;

/// Maximum rate, in requests per second.
pub(super) const RATE_MAX: u32 = 1_000_000;

/// Maximum number of requests in flight. Each has its own connection.
pub(super) const CONCURRENCY_MAX: u32 = 16_384;

/// Connections opened before an open loop starts; further ones are opened as needed.
pub(super) const WARM_CONNECTIONS: u32 = 32;

/// Maximum size of a response body, in bytes.
pub(super) const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// Orders watched at once. Further ones are not watched, only counted.
pub(super) const WATCHED_AT_ONCE: usize = 512;

/// Shortest and longest pause between two polls of a watched order; otherwise a tenth of the time it has taken so far.
pub(super) const POLL_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Pause of a closed-loop customer after a failed connect: a dead service is not flooded with attempts.
pub(super) const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// Upper bound of the histograms, in microseconds: an hour. Longer times are recorded as an hour.
pub(super) const LATENCY_MAX_US: u64 = 3_600_000_000;

/// The summary warns that the generator was late if the p99 of the send delay exceeds this.
pub(super) const LATE: Duration = Duration::from_millis(20);
