//! Limits of HTTP, for services and for the gateway.

use std::time::Duration;

/// The largest body of a request, and of another service's answer, in bytes.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// The largest head of a client's request (request line and headers), in bytes.
pub const HEAD_MAX_BYTES: usize = 64 * 1024;

/// Header lines that a service takes: what hyper parses without an allocation.
pub const HEAD_MAX_LINES: usize = 100;

/// What the gateway may add to a head, in bytes: lines of its own, the address of an upstream, and two bytes for each line
/// that a client ended with LF alone and wrote without a space. A service takes as much more: whatever the gateway accepts,
/// a service does not refuse for its size.
pub const HEAD_ADDED_BYTES: usize = 2 * 1024;

/// Header lines that the gateway may add: it takes as many fewer of its clients.
pub const HEAD_ADDED_LINES: usize = 12;

/// The longest path with query, in bytes. RFC 9112, section 3, asks for at least 8,000.
pub const URI_MAX_BYTES: usize = 16 * 1024;

/// How long a client may take to send the head of a request; also how long its connection may be idle.
pub const HEAD_TIME_LIMIT: Duration = Duration::from_secs(75);

/// How long a client may take to send the body of a request.
pub const BODY_TIME_LIMIT: Duration = Duration::from_secs(10);

/// How long a client may read nothing of its answer. A slow one that goes on reading is served to the end.
pub const SEND_TIME_LIMIT: Duration = Duration::from_mins(1);

/// What is read of a body that is not needed, in bytes, so that the connection can take another request.
pub const REST_MAX_BYTES: u64 = 64 * 1024;

/// How long an answer waits for that.
pub const REST_TIME_LIMIT: Duration = Duration::from_millis(100);

/// How long a client may take to read the answer to a head that cannot be read. It fits into any socket buffer.
pub const ANSWER_TIME_LIMIT: Duration = Duration::from_secs(1);

/// How long a closed connection goes on being read, so that its client sees the answer.
pub const LINGER_TIME_LIMIT: Duration = Duration::from_secs(10);

/// The longest pause of a client on a closed connection.
pub const LINGER_GAP: Duration = Duration::from_secs(2);

/// What is read of a closed connection, in bytes.
pub const LINGER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Closed connections that go on being read. They do not count as open ones. Further ones are closed at once.
pub const LINGERING_MAX: usize = 1_024;

/// What a closed connection reads at once, in bytes.
pub const READ_AT_ONCE_BYTES: usize = 8 * 1024;

/// The shortest interval between two log lines about heads that cannot be read.
pub const NOISE_EVERY: Duration = Duration::from_mins(1);

/// How long an idle connection to another service is kept. It is well below [`HEAD_TIME_LIMIT`], so that the caller closes
/// it first and no request meets a connection that the callee is closing.
pub const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(20);

/// Idle connections to one other service.
pub const IDLE_CONNECTIONS_MAX: usize = 1_024;

/// Open client connections. Further ones wait in the operating system's accept queue.
pub const CONNECTIONS_MAX: u32 = 16_384;

/// How long a stop waits for work in progress.
pub const DRAIN_TIME_LIMIT: Duration = Duration::from_secs(25);

/// Pause after a failed accept: long enough for other connections to end and free a file descriptor.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The longest idempotency key, in bytes.
pub const KEY_MAX_BYTES: usize = 255;

/// Resources on a page, by default.
pub const PAGE_SIZE: u32 = 20;

/// Resources on a page at most.
pub const PAGE_SIZE_MAX: u32 = 1_000;
