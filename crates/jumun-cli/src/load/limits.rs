//! Every bound of the load generator, in one place.

use std::time::Duration;

/// The highest rate that can be asked for, in requests a second.
pub(super) const RATE_MAX: u32 = 1_000_000;

/// Requests that wait for their answer in closed loop, at most: each has a connection.
pub(super) const CONCURRENCY_MAX: u32 = 16_384;

/// Connections that are opened before an open loop begins; more are opened as they are needed.
pub(super) const WARM_CONNECTIONS: u32 = 32;

/// The largest answer that is read, in bytes.
pub(super) const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// Orders that are watched at once. One more is not watched, and is counted.
pub(super) const WATCHED_AT_ONCE: usize = 512;

/// The shortest and the longest pause between two looks at a watched order. In between, a tenth of what it took so far.
pub(super) const LOOK_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// How long somebody in closed loop waits after a connection that could not be opened: otherwise a dead service would
/// get nothing but connections.
pub(super) const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// The longest time that is told from longer ones, in microseconds: an hour.
pub(super) const LATENCY_MAX_US: u64 = 3_600_000_000;

/// The generator is called late if it sent one request in a hundred later than this.
pub(super) const LATE: Duration = Duration::from_millis(20);
