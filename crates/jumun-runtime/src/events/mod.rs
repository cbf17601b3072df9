//! Events: from the journal onto the bus (relay), from the bus into their effects (consumer), and into views (rebuild).

pub mod consumer;
pub mod envelope;
pub(crate) mod feed;
pub mod parked;
pub mod rebuild;
pub mod relay;
pub(crate) mod retention;
pub(crate) mod token;

pub use consumer::Consumer;
pub use relay::{AHEAD_REMEDY, Relay, RelayError};
pub use retention::Retention;
pub use token::Token;
