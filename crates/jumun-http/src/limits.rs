//! Limits of HTTP, for services and for the gateway.

use std::time::Duration;

/// The largest body of a request, and of another service's answer, in bytes.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// The largest head of a request (request line and headers), in bytes.
pub const HEAD_MAX_BYTES: usize = 64 * 1024;

/// How long a client may take to send the head of a request; also how long its connection may be idle.
pub const HEAD_TIME_LIMIT: Duration = Duration::from_secs(75);

/// How long a client may take to send the body of a request.
pub const BODY_TIME_LIMIT: Duration = Duration::from_secs(10);

/// How long an idle connection to another service is kept. It is well below [`HEAD_TIME_LIMIT`], so that the caller closes
/// it first and no request meets a connection that the callee is closing.
pub const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(20);

/// Idle connections to one other service.
pub const IDLE_CONNECTIONS_MAX: usize = 1_024;

/// Open client connections. Further ones wait in the operating system's accept queue.
pub const CONNECTIONS_MAX: usize = 16_384;

/// How long a stop waits for work in progress.
pub const DRAIN_TIME_LIMIT: Duration = Duration::from_secs(25);

/// How often a draining server checks whether all clients have disconnected.
pub const FAREWELL_LOOK: Duration = Duration::from_millis(20);

/// Pause after a failed accept: long enough for other connections to end and free a file descriptor.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
