//! The configuration of a system, composed from the sections that components own.
//!
//! A component declares its table with [`section!`](jumun_config::section!): key, type, default, documentation. What depends
//! on the model of the system is composed here: the ports and addresses, the asks that may be delayed, the sender of a service
//! that sends messages, the settings of its business.
//!
//! * [`load()`] reads and checks the configuration.
//! * [`explain()`] lists every key with its value in effect and the source that set it.
//! * [`reference()`] writes the page for users.

mod explain;
mod load;
mod reference;
mod service;
mod shown;
mod system;
mod tables;
mod values;

pub use explain::explain;
pub use jumun_config::{ConfigError, Entry, Origin, Sources};
pub use load::{Config, load};
pub use reference::reference;
pub use service::{SENDER, ServiceConfig};
pub(crate) use shown::{shown, shown_by_service};

#[cfg(test)]
mod tests;
