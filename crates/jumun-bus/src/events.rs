//! Events on the bus, and where readers are in it.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, sync::Arc};
use uuid::Uuid;

/// A publisher's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The service.
    pub service: String,
    /// The epoch of its database. Numbers of two epochs are unrelated.
    pub epoch: Uuid,
    /// Into how many partitions it numbers its events.
    pub partitions: u16,
}

/// An event on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: u16,
    /// Its number in that partition: one more than that of the record before.
    pub sequence: u64,
    /// Its type: `Ordered`. A consumer decides by it whether it reads the body.
    pub event_type: String,
    /// The correlation key.
    pub key: i64,
    /// When it happened, in milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// Headers: `traceparent` and the like.
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

/// A delivered event. Deliveries are in order within each partition of each source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The source it comes from.
    pub source: Arc<Source>,
    /// The partition.
    pub partition: u16,
    /// Its number.
    pub sequence: u64,
    /// The event; None for one of an unwanted type.
    pub record: Option<Record>,
}

/// The part of a log that a consumer no longer needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// The epoch of the log.
    pub epoch: Uuid,
    /// By partition, the last number that the consumer no longer needs; 0, or a missing entry, for none.
    pub up_to: Vec<u64>,
}

/// The wanted types of events.
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
