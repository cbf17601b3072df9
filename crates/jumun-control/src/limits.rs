//! Limits of the operator's protocol.

use std::time::Duration;

/// How long an operator waits for an answer, or for the next line of one.
pub const ANSWER_TIME_LIMIT: Duration = Duration::from_mins(4);

/// The largest message, in bytes.
pub const MESSAGE_MAX_BYTES: usize = 1024 * 1024;

/// Reports of progress that wait for a slow reader. Further ones wait in the process that makes them.
pub const REPORTS_WAITING_MAX: usize = 8;

/// How long faults on demand may delay a command.
pub const FAULT_DELAY_MAX: Duration = Duration::from_mins(1);

/// How much processor time faults on demand may burn on one command. Everything else waits meanwhile.
pub const FAULT_CPU_MAX: Duration = Duration::from_secs(1);

/// How long faults on demand may hold up the start of a service: shorter than a supervisor waits for it.
pub const FAULT_START_DELAY_MAX: Duration = Duration::from_mins(1);

/// How long faults may last that end by themselves.
pub const FAULTS_LAST_MAX: Duration = Duration::from_hours(24);

/// Pause after a failed accept: long enough for a file descriptor to become free.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a process looks whether its socket is still there.
pub const SOCKET_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
