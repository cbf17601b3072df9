//! Limits of the supervisor.

use std::time::Duration;

/// How often the supervisor pings a process.
pub const PING_EVERY: Duration = Duration::from_millis(500);

/// A process that has not answered so many pings hangs.
pub const PINGS_UNANSWERED_MAX: u32 = 6;

/// How long a process that has closed its leash may take to end.
pub const LAST_WORDS_TIME_LIMIT: Duration = Duration::from_secs(3);

/// How long a process may take from its start until it is ready. Recovery of a large database is part of it.
pub const START_TIME_LIMIT: Duration = Duration::from_mins(2);

/// How long a process may take to finish what is at work: longer than it gives itself.
pub const STOP_TIME_LIMIT: Duration = Duration::from_mins(1);

/// How long clients wait in the socket while a process does not get ready; after that it is closed between its starts, and
/// they hear at once that nobody is there.
pub const SOCKET_KEPT_UNREADY: Duration = Duration::from_secs(1);

/// The shortest and the longest pause before a process is started again that did not become ready.
pub const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a process may take to say how it is.
pub const HEALTH_TIME_LIMIT: Duration = Duration::from_millis(500);

/// How often the size of a log is looked at.
pub const LOG_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// The size of a log beyond which it is set aside, in bytes. One older file is kept.
pub const LOG_MAX_BYTES: u64 = 16 * 1024 * 1024;
