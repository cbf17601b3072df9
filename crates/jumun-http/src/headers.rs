//! Headers of our own, and the one that makes repeats safe.

/// The header that marks an ask: until when its answer is waited for, in milliseconds since 1970 UTC. Clocks of services
/// should agree to a fraction of their time limits; if they do not, asks fail, but nothing goes wrong.
pub const EXPIRES: &str = "jumun-expires";

/// The header under which the same request is known when it is repeated; for an ask it holds the ask's id.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header by which a client reads what it has written: an answer to a command names its last event, and a view that
/// is asked with that name answers once it has heard of it.
pub const SEEN: &str = "jumun-seen";
