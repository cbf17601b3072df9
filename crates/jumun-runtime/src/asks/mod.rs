//! Questions to neighbours: the guard around each call, the way to them, those whose answer may come later, and the
//! recovery of those that nobody works on any more.

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
