//! Limits of the gateway.

use jumun_http::limits::BODY_MAX_BYTES;
use std::time::Duration;

/// Default time limit for the response of a service. It is longer than a killed service takes to restart.
pub const GATEWAY_TIME_LIMIT: Duration = Duration::from_secs(10);

/// Attempts to send a request whose connection breaks before the answer, the first one included.
pub const GATEWAY_ATTEMPTS: u32 = 2;

/// How long the gateway waits for a connection. The operating system of a listening upstream accepts at once.
pub const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(1);

/// Default limit of requests in progress to one service.
pub const UPSTREAM_REQUESTS_MAX: u32 = 2_048;

/// Default limit of requests in progress to all services: twice that of one service, so that a service that hangs does not
/// use up all slots.
pub const GATEWAY_REQUESTS_MAX: u32 = 2 * UPSTREAM_REQUESTS_MAX;

/// Clients with a rate limit of their own at a time. Idle ones are forgotten. Further clients share one rate limit.
pub const CLIENTS_MAX: usize = 65_536;

/// Trusted proxies, or networks of them.
pub const TRUSTED_PROXIES_MAX: usize = 64;

/// Addresses that the gateway reads in `X-Forwarded-For`, from the last one on.
pub const FORWARDED_FOR_MAX: usize = 16;

/// Addresses of one service.
pub const UPSTREAMS_MAX: usize = 64;

/// Request bodies in the gateway's memory, in bytes. Requests beyond it get 503 at once.
pub const BODIES_MAX_BYTES: usize = 64 * BODY_MAX_BYTES;

/// How long the gateway waits for the next part of a response body.
pub const ANSWER_PAUSE_MAX: Duration = Duration::from_secs(75);

/// Interval between readiness probes of an upstream; also the time limit of a probe.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Consecutive failed probes after which an upstream gets no requests, if there is another one.
pub const PROBES_FAILED_MAX: u32 = 2;

/// How long a gateway that is being replaced still answers on open connections, before it closes idle ones.
pub const FAREWELL: Duration = Duration::from_secs(3);
