//! Limits of the supervisor.

use std::time::Duration;

/// Interval between pings of a process.
pub const PING_EVERY: Duration = Duration::from_millis(500);

/// Unanswered pings after which the supervisor considers a process hung.
pub const PINGS_UNANSWERED_MAX: u32 = 6;

/// How long a process may run on after it has closed its leash.
pub const LAST_WORDS_TIME_LIMIT: Duration = Duration::from_secs(3);

/// How long a process may take from its start until it is ready. Includes the recovery of a large database.
pub const START_TIME_LIMIT: Duration = Duration::from_mins(2);

/// How long a process may take to finish its work in progress. Longer than the process allows itself.
pub const STOP_TIME_LIMIT: Duration = Duration::from_mins(1);

/// How long clients wait in the socket of a process that does not become ready. After that the supervisor closes the socket
/// between starts, and connections are refused at once.
pub const SOCKET_KEPT_UNREADY: Duration = Duration::from_secs(1);

/// Shortest and longest pause before the restart of a process that did not become ready.
pub const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a process may take to report its health.
pub const HEALTH_TIME_LIMIT: Duration = Duration::from_millis(500);

/// Interval between checks of a log's size.
pub const LOG_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// The size beyond which a log is rotated, in bytes. One older file is kept.
pub const LOG_MAX_BYTES: u64 = 16 * 1024 * 1024;
