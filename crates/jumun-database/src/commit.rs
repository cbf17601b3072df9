//! A commit: what it changes, and how it can end.

use crate::{DocumentChange, JournalEntry, PlaceChange, RequestChange};
use uuid::Uuid;

/// Everything that one step changes, applied in this order: requests, documents, journal, places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Requests.
    pub requests: Vec<RequestChange>,
    /// Documents, each at most once.
    pub documents: Vec<DocumentChange>,
    /// Events, in the order in which they happened.
    pub journal: Vec<JournalEntry>,
    /// Places of consumers.
    pub places: Vec<PlaceChange>,
}

/// What a commit gave out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Partition and number of each journal entry, in the order of [`Changes::journal`].
    pub sequences: Vec<(u16, u64)>,
}

/// What a commit believed and was not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// A document has another version, or is there already.
    Document {
        /// Its collection.
        collection: &'static str,
        /// Its id.
        id: i64,
    },
    /// A request is in another state, is there already, or is not there.
    Request {
        /// Its id.
        id: Uuid,
    },
    /// A key belongs to another request.
    Key,
    /// A consumer has another offset, or its source another epoch.
    Place {
        /// The source.
        source: String,
        /// The partition.
        partition: u16,
    },
}

/// Why a commit did not answer `Ok`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Not done: another commit was first. Read again and decide again.
    #[error("somebody else was first: {0:?}")]
    Conflict(Conflict),
    /// It was not done, because something in it is over a limit. It would never be.
    #[error("over a limit: {0}")]
    Limit(String),
    /// It was surely not done. It may be tried again.
    #[error("not done: {0}")]
    NotDone(String),
    /// It may have been done. Read again.
    #[error("it may have been done: {0}")]
    Unknown(String),
}

/// Why a read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It took longer than [`limits::READ_MAX`].
    #[error("the query took too long")]
    TooLong,
    /// The database does not answer.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
}
