//! Limits of what services and the gateway share over HTTP.

use std::time::Duration;

/// The largest body of a request, and of a neighbour's answer, in bytes.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// The largest head of a request (request line and headers), in bytes.
pub const HEAD_MAX_BYTES: usize = 64 * 1024;

/// How long a client may take to send the head of a request; also how long a connection may be idle.
pub const HEAD_TIME_LIMIT: Duration = Duration::from_secs(75);

/// How long a client may take to send the body of a request.
pub const BODY_TIME_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection to a neighbour is kept without use: well below [`HEAD_TIME_LIMIT`], so that it is we who close
/// it and a request never runs into a connection that is being closed.
pub const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(20);

/// Idle connections to one neighbour.
pub const IDLE_CONNECTIONS_MAX: usize = 1_024;

/// Open connections of clients. Beyond it, new ones wait in the system's queue.
pub const CONNECTIONS_MAX: usize = 16_384;

/// How long a stop waits for what is at work.
pub const DRAIN_TIME_LIMIT: Duration = Duration::from_secs(25);

/// How often it looks whether they have gone.
pub const FAREWELL_LOOK: Duration = Duration::from_millis(20);
