//! A commit: what it changes, and how it can end.

use crate::{DatabaseFailure, DocumentChange, DocumentVersion, JournalEntry, PositionChange, RequestChange};
use uuid::Uuid;

/// All changes of one step, applied in this order: requests, documents, journal, positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Requests.
    pub requests: Vec<RequestChange>,
    /// Documents, each at most once.
    pub documents: Vec<DocumentChange>,
    /// Documents that the step has read and that must not have changed. They may be among [`Self::documents`], too.
    pub unchanged: Vec<DocumentVersion>,
    /// Events, in the order in which they happened.
    pub journal: Vec<JournalEntry>,
    /// Places of consumers.
    pub positions: Vec<PositionChange>,
}

/// The numbers that a commit assigned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Partition and number of each journal entry, in the order of [`Changes::journal`].
    pub sequences: Vec<(u16, u64)>,
}

/// An expectation of a commit that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// A document has another version, or exists already.
    Document {
        /// Its collection.
        collection: &'static str,
        /// Its id.
        id: i64,
    },
    /// A request is in another state, exists already, or does not exist.
    Request {
        /// Its id.
        id: Uuid,
    },
    /// A key belongs to another request.
    Key,
    /// A consumer has another offset, or its source another epoch.
    Position {
        /// The source.
        source: String,
        /// The partition.
        partition: u16,
    },
}

/// Why a commit failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Not done: another commit was first. Read again and decide again.
    #[error("another commit was first: {0:?}")]
    Conflict(Conflict),
    /// Not done: something in it is over a limit, so a retry would fail, too.
    #[error("over a limit: {0}")]
    Limit(String),
    /// Surely not done. The caller may retry.
    #[error("not done: {0}")]
    NotDone(String),
    /// Surely not done, and nothing will be before an operator has acted.
    #[error("not done: {0}")]
    Failed(DatabaseFailure),
    /// The outcome is unknown: it may have been done. Read again.
    #[error("it may have been done: {0}")]
    Unknown(String),
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It took longer than [`READ_MAX`](crate::limits::READ_MAX).
    #[error("the query took too long")]
    TooLong,
    /// The database does not answer.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// The database is damaged.
    #[error(transparent)]
    Failed(DatabaseFailure),
}

jumun_text::explained! { ReadError {
    Self::TooLong | Self::Unavailable(_) => "database-unreadable",
        "Try again when the machine is less busy, or ask for less.";
    Self::Failed(failure) => failure;
} }
