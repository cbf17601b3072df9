//! The composition root: reads the configuration of a system and puts one of its processes together. It is the only place that
//! opens databases and buses for services, and it opens them by their URLs.

pub mod config;
mod error;
mod known;
mod plan;

pub use error::{HostError, check};
pub use jumun_runtime::Socket;
pub use known::{open_bus_reader, open_readers};
pub use plan::{Plan, Process, serve_gateway};
