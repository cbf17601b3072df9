//! What the writer does for a caller, and how that can end.

use crate::{Changes, CommitError, Document, Position, Receipt};
use tokio::sync::oneshot;

/// A job of the writer, and the caller that waits for it.
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) caller: oneshot::Sender<Outcome>,
}

pub(crate) enum Work {
    Commit(Changes),
    Purge { before_ms: i64, keep_at_most: u64 },
    Shadow(Shadow),
}

/// A change of shadows. See [`crate::RebuildDatabase`].
pub(crate) enum Shadow {
    Clear(&'static str),
    Write { collection: &'static str, documents: Vec<Document>, is_next_base: bool },
    Switch { collections: Vec<&'static str>, positions: Vec<Position> },
    Keep { collections: Vec<&'static str>, positions: Vec<Position> },
}

/// The result of a job.
pub(crate) enum Done {
    Committed(Receipt),
    Purged(u64),
    /// Whether a shadow is gone, where that was the question.
    Shadow(bool),
}

pub(crate) type Outcome = Result<Done, CommitError>;
