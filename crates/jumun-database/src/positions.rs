//! How far consumers have come.

use uuid::Uuid;

/// How far a consumer has come in one partition of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The service whose journal it is.
    pub source: String,
    /// The partition.
    pub partition: u16,
    /// The epoch of the source's database.
    pub epoch: Uuid,
    /// The last number that has had its effect here; 0 for none.
    pub sequence: u64,
}

/// A step of a consumer: compare-and-set, and so the fence against a second consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionChange {
    /// The new offset.
    pub position: Position,
    /// The expected current number; 0 where there is no offset yet.
    pub expected_sequence: u64,
}
