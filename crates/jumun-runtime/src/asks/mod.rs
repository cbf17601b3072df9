//! Asks of neighbours: the guard around each call, the transport, delayed asks, and the recovery of abandoned ones.

mod config;
pub mod delayed;
pub(crate) mod delays;
pub mod guards;
pub mod messages;
mod metrics;
pub mod recovery;
pub mod transport;

pub use config::{CallConfig, Fallback};
pub use delays::{DelayConfig, Delays};
pub use guards::Guards;
