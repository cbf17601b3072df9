//! How the services of a system hear of each other: a log of events per source.
//!
//! A source is a service. It numbers its events 1, 2, 3 … per partition inside the commit that makes them (see
//! `jumun-database`), and its relay, and nobody else, appends them here in that order. A consumer keeps its place, the
//! last number that has had its effect, in its own database, and moves it in the commit of that effect. So the bus
//! promises little: what a source appended is delivered in order, at least once, for as long as it is kept. Exactly once
//! is made of that by the numbers and the places: a lower number is a duplicate, a higher one is a gap.
//!
//! The bus needs no durability of its own beyond [`Publisher::sync`]: what a power cut takes is appended again from the
//! source's journal, with the same numbers. A consumer may therefore stand ahead of the bus for a moment, and waits.
//!
//! Adapters: [`EmbeddedLog`], files in a folder shared by all processes of one machine, and [`MemoryBus`] for tests. Both
//! pass the suite in `conformance`.
//!
//! All calls block, though never for long: they are made from threads of their own, or take microseconds.

#[cfg(feature = "conformance")]
pub mod conformance;
mod embedded;
pub mod limits;
mod memory;
mod rules;
mod url;

pub use embedded::EmbeddedLog;
pub use memory::MemoryBus;
pub use url::{BusOptions, BusUrl};

use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};
use uuid::Uuid;

/// Who publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The service.
    pub service: String,
    /// The epoch of its database: numbers of two epochs have nothing to do with each other.
    pub epoch: Uuid,
    /// Into how many partitions it numbers its events.
    pub partitions: u16,
}

/// An event on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: u16,
    /// Its number in that partition: one more than that of the record before.
    pub sequence: u64,
    /// `Ordered`. Consumers decide by it whether they read the body at all.
    pub event_type: String,
    /// The correlation key.
    pub key: i64,
    /// When it happened, in milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// What else travels with it: `traceparent` and the like.
    pub headers: Vec<(String, String)>,
    /// The event as published, JSON.
    pub body: String,
}

/// Where a reader stands in one partition of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The source.
    pub service: String,
    /// The partition.
    pub partition: u16,
    /// The epoch that `sequence` belongs to. None: it has read nothing of this source yet.
    pub epoch: Option<Uuid>,
    /// The last number it has read; 0 for none.
    pub sequence: u64,
}

/// What a poll found, in order within each partition of each source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The source it comes from.
    pub source: Arc<Source>,
    /// The partition.
    pub partition: u16,
    /// Its number.
    pub sequence: u64,
    /// The event; None for one of a type that is not wanted.
    pub record: Option<Record>,
}

/// What a consumer of a log needs no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// The epoch of the log.
    pub epoch: Uuid,
    /// By partition, the last number that the consumer needs no more; 0, or a missing entry, for none.
    pub up_to: Vec<u64>,
}

/// A bus.
///
/// # Retention
///
/// A log is kept whole unless its service calls [`Bus::retain_since`]. Each consumer publishes beside the log the number below
/// which it needs nothing ([`Bus::release`]), after that is durable in the consumer's own database. So the published number may
/// lag but never runs ahead, and a crash between the two costs only room. A consumer that has published nothing needs the whole
/// log.
pub trait Bus: Send + Sync + 'static {
    /// The one that appends for a source. There is one at a time: a second one is refused.
    ///
    /// # Errors
    /// [`BusError::InUse`], [`BusError::AnotherEpoch`] where the log of this source was written from another database,
    /// [`BusError::Damaged`] where a part is unreadable that was synced before.
    fn publisher(&self, source: &Source) -> Result<Box<dyn Publisher>, BusError>;

    /// Reads these sources from these positions on; events of types that are not wanted are delivered without content.
    /// A source that has published nothing yet is no error. A source is read in all its partitions: one that no position
    /// names is read from its first event on.
    ///
    /// # Errors
    /// Only where a position is nonsense; what is wrong with a source, [`Subscription::poll`] tells.
    fn subscribe(&self, from: &[Position], wants: Wants) -> Result<Box<dyn Subscription>, BusError>;

    /// The sources that have a log here.
    fn sources(&self) -> Result<Vec<Source>, BusError>;

    /// The first number of each partition that the log of a service still has; empty where there is no log.
    ///
    /// # Errors
    /// [`BusError::Unavailable`], and [`BusError::Damaged`] where a part cannot be read.
    fn kept_from(&self, service: &str) -> Result<Vec<u64>, BusError>;

    /// The numbers, one for each partition, from which on a log must be kept for what has happened since a time (in
    /// milliseconds since 1970 UTC): all events before them happened earlier.
    ///
    /// # Errors
    /// As [`Bus::kept_from`].
    fn keep_since(&self, service: &str, since_ms: i64) -> Result<Vec<u64>, BusError>;

    /// Publishes what a consumer of this service needs no more. It outlives a power cut.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]; what the consumer published before remains.
    fn release(&self, service: &str, consumer: &str, released: &Released) -> Result<(), BusError>;

    /// What a consumer has published; None where it has published nothing.
    ///
    /// # Errors
    /// [`BusError::Unavailable`], and [`BusError::Damaged`] where it cannot be read.
    fn released(&self, service: &str, consumer: &str) -> Result<Option<Released>, BusError>;

    /// Deletes what happened before a time and none of these consumers needs, as far as the adapter can (a log of files: whole
    /// segments); returns the number of parts deleted. It deletes nothing where a consumer has published nothing, or was about
    /// another epoch. A reader further back gets [`BusError::Gone`].
    ///
    /// # Errors
    /// As [`Bus::kept_from`], and [`BusError::Damaged`] where what a consumer published cannot be read.
    fn retain_since(&self, service: &str, since_ms: i64, consumers: &BTreeSet<String>) -> Result<usize, BusError>;
}

/// Which types of events are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    /// All.
    All,
    /// These.
    Only(BTreeSet<String>),
}

/// Appends the events of one source.
pub trait Publisher: Send {
    /// The last number that the bus has of a partition; 0 for none.
    fn last(&self, partition: u16) -> u64;

    /// Appends events. Each must have the next number of its partition.
    ///
    /// # Errors
    /// [`BusError::Gap`] where it has not; nothing is appended then. [`BusError::Unavailable`] where the disk is full and
    /// the like: some may have been appended, [`Publisher::last`] tells how far; it may be tried again from there.
    fn append(&mut self, records: &[Record]) -> Result<(), BusError>;

    /// Makes what was appended outlive a power cut; tells the last number of each partition that does.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]: how much of it would outlive a power cut is not known. Where it was the disk that
    /// failed, this publisher does nothing any more: drop it and make another.
    fn sync(&mut self) -> Result<Vec<u64>, BusError>;
}

/// Reads events.
pub trait Subscription: Send + Sync {
    /// Up to `max` events (of all sources together, fairly), waiting up to `wait` for the first. Empty: there is nothing new.
    ///
    /// # Errors
    /// [`BusError::Gap`] where the next number is not there but a later one is, [`BusError::AnotherEpoch`] where a
    /// source has been replaced, [`BusError::Gone`] where the position is before what is still kept,
    /// [`BusError::Damaged`]. An error is about one source: what was found of the others is delivered by the poll before
    /// or after it, and the error comes again as long as it lasts.
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError>;

    /// How many events lie between the reader and the end, by source, in the order of the positions it was made from: the
    /// consumer's lag.
    fn behind(&self) -> Result<Vec<(String, u64)>, BusError>;
}

/// What is wrong with a bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Another process publishes for this source.
    #[error("{service}: another process publishes its events")]
    InUse {
        /// The source.
        service: String,
    },
    /// The log belongs to another database of this service.
    #[error("{service}: its log has epoch {found}, its database {wanted}")]
    AnotherEpoch {
        /// The source.
        service: String,
        /// The epoch of the log.
        found: Uuid,
        /// The epoch that was expected.
        wanted: Uuid,
    },
    /// A number is missing.
    #[error("{service}/{partition}: after {after} comes {found}")]
    Gap {
        /// The source.
        service: String,
        /// The partition.
        partition: u16,
        /// The last number known.
        after: u64,
        /// The number found.
        found: u64,
    },
    /// What was asked for is not kept any more.
    #[error("{service}/{partition}: events before {kept_from} are not kept any more, {wanted} was asked for")]
    Gone {
        /// The source.
        service: String,
        /// The partition.
        partition: u16,
        /// The first number that is still there.
        kept_from: u64,
        /// The number that was asked for.
        wanted: u64,
    },
    /// A part of the log cannot be read that was synced before.
    #[error("{path}: damaged at byte {offset}: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        offset: u64,
        /// What was seen.
        why: String,
    },
    /// There is no bus at this address.
    #[error("{path}: there is no bus here")]
    Missing {
        /// The folder.
        path: String,
    },
    /// The bus cannot be used now.
    #[error("the bus cannot be used: {0}")]
    Unavailable(String),
}

impl BusError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "bus-in-use",
            Self::AnotherEpoch { .. } => "bus-another-epoch",
            Self::Gap { .. } => "bus-gap",
            Self::Gone { .. } => "bus-gone",
            Self::Damaged { .. } => "bus-damaged",
            Self::Missing { .. } => "bus-missing",
            Self::Unavailable(_) => "bus-unavailable",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "Stop the other process: a service publishes from one place.",
            Self::AnotherEpoch { .. } => {
                "Restore the database that this log was written from, or move the bus folder away and rebuild the views."
            }
            Self::Gone { .. } => {
                "Stop the source, move its folder on the bus away, and start it: it fills its log again from its journal."
            }
            Self::Gap { .. } | Self::Damaged { .. } => {
                "Restore the log from a copy, or move it away: the source fills it again from its journal."
            }
            Self::Missing { .. } => "Check the path (--data); services make it when they first start.",
            Self::Unavailable(_) => "Check that the bus folder exists, has room, and can be written by this user.",
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} after {}", self.service, self.partition, self.sequence)
    }
}
