//! Events on the bus, and where readers are in it.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, sync::Arc};
use uuid::Uuid;

/// A publisher's identity.
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

/// The offset of a reader in one partition of one source.
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

/// Which types of events are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    /// All.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} after {}", self.service, self.partition, self.sequence)
    }
}
