//! Asks of neighbours: the guard around each call, the transport, delayed asks, and the recovery of abandoned ones.

pub(crate) mod budget;
pub(crate) mod capacity;
mod config;
pub mod delayed;
pub mod guards;
pub mod http;
pub mod messages;
mod metrics;
pub mod recovery;
pub(crate) mod together;
pub mod transport;

pub use budget::{DelayBudget, DelayConfig};
pub use config::{CallConfig, Fallback};
pub use guards::Guards;
