//! What the writer does for a caller, and how that can end.

use super::shadow::Shadow;
use crate::{Changes, CommitError, Receipt};
use tokio::sync::oneshot;

/// A job of the writer, and the caller that waits for it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) caller: oneshot::Sender<Outcome>,
}

pub(super) enum Work {
    Commit(Changes),
    Purge { before_ms: i64, keep_at_most: u64 },
    Shadow(Shadow),
}

/// The result of a job.
pub(super) enum Done {
    Committed(Receipt),
    Purged(u64),
    /// Whether a shadow is gone, where that was the question.
    Shadow(bool),
}

pub(super) type Outcome = Result<Done, CommitError>;
