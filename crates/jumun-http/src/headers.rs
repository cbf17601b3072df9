//! Headers of Jumun, and the standard one that makes retries safe.

/// The header that marks an ask: until when the caller waits for the answer, in milliseconds since 1970 UTC.
///
/// The clocks of services should agree to a fraction of their time limits. If they do not, asks fail, but data stays
/// consistent.
pub const EXPIRES: &str = "jumun-expires";

/// The header of an answer to an ask that tells how many asks the service works on at once, and how many queue for a place
/// there: `places=30, queue=12`. A service that takes several asks in one request tells how many: `together=64`. For other
/// services only: the gateway does not pass it on.
pub const CAPACITY: &str = "jumun-capacity";

/// The media type of several asks in one request, and of their answers: a line of JSON for each.
pub const ASKS: &str = "application/vnd.jumun.asks";

/// The header that identifies a request when it is repeated. For an ask it holds the ask's id.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header for reading one's own writes. The answer to a command names its last event; a view that is asked with that
/// name answers after it has applied the event.
pub const SEEN: &str = "jumun-seen";
