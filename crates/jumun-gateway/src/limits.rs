//! Limits of the gateway.

use jumun_http::limits::BODY_MAX_BYTES;
use std::time::Duration;

/// How long the gateway waits for the answer of a service that has no time limit configured. Longer than a service that
/// was killed needs to come back.
pub const GATEWAY_TIME_LIMIT: Duration = Duration::from_secs(10);

/// How often the gateway sends a request whose connection breaks before there is an answer, the first time included.
pub const GATEWAY_ATTEMPTS: u32 = 2;

/// How long the gateway waits for a connection. What listens accepts at once, as the system does it.
pub const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(1);

/// Requests of the gateway to one service at once, if nothing else is configured.
pub const UPSTREAM_REQUESTS_MAX: u32 = 2_048;

/// Requests of the gateway to all services at once, if nothing else is configured: twice as many as to one, so that one that
/// hangs does not take them all.
pub const GATEWAY_REQUESTS_MAX: u32 = 2 * UPSTREAM_REQUESTS_MAX;

/// Clients whose rate the gateway knows at once, those left out that have not asked for a while. Further ones share one rate.
pub const CLIENTS_MAX: usize = 65_536;

/// Proxies, or networks of them, that the gateway believes.
pub const TRUSTED_PROXIES_MAX: usize = 64;

/// Addresses in `X-Forwarded-For` that are looked at, from the last one on.
pub const FORWARDED_FOR_MAX: usize = 16;

/// Addresses of one service.
pub const UPSTREAMS_MAX: usize = 64;

/// Bodies of requests that the gateway holds at once, in bytes. One more request is answered 503 at once.
pub const BODIES_MAX_BYTES: usize = 64 * BODY_MAX_BYTES;

/// How long the gateway waits for the next part of an answer that has begun.
pub const ANSWER_PAUSE_MAX: Duration = Duration::from_secs(75);

/// How often the gateway looks whether an upstream is ready; also how long it waits for the answer.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// After so many looks in a row without a good answer an upstream gets no requests, if there is another one.
pub const PROBES_FAILED_MAX: u32 = 2;

/// How long a gateway that is being replaced answers those who have connections to it, before it closes idle ones.
pub const FAREWELL: Duration = Duration::from_secs(3);
