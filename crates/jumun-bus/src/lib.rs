//! How events reach the other services of a system: a log of events per source.
//!
//! A source is a service. It numbers its events 1, 2, 3 … per partition inside the commit that makes them (see
//! `jumun-database`). Only its relay appends them here, in that order. A consumer keeps its offset, the last number
//! that has had its effect, in its own database, and moves it in the commit of that effect. So the bus promises little:
//! it delivers what a source appended in order, at least once, for as long as it keeps it. Numbers and offsets make
//! exactly-once effects of that: a lower number is a duplicate, a higher one is a gap.
//!
//! The bus needs no durability of its own beyond [`Publisher::sync`]: the source appends again from its journal what a
//! power cut took, with the same numbers. So a consumer may be ahead of the bus for a moment, and waits.
//!
//! Adapters: [`EmbeddedLog`], files in a folder shared by all processes of one machine, and [`MemoryBus`] for tests.
//! Both pass the suite in `conformance`.
//!
//! All calls block, though never for long: callers use threads of their own, or the call takes microseconds.

#[cfg(feature = "conformance")]
pub mod conformance;
mod embedded;
mod error;
mod events;
pub mod limits;
mod memory;
mod ports;
mod rules;
mod url;

pub use embedded::EmbeddedLog;
pub use error::BusError;
pub use events::{Delivery, Position, Record, Released, Source, Wants};
pub use memory::MemoryBus;
pub use ports::{Bus, Publisher, Subscription};
pub use url::{BusOptions, BusUrl};
