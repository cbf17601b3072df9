//! A database that fails, or is slow, when a test says so.

use jumun_database::{
    Changes, CommitFuture, Database, DatabaseFailure, MemoryDatabase, ReadDatabase, ReadFuture, RebuildDatabase,
    Receipt, Waiting, delegate,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::sync::watch;

/// All clones are one database. Reads and commits go on, as they do in a file that is deleted and still open.
#[derive(Clone)]
pub(crate) struct Failing {
    inner: MemoryDatabase,
    has_failed: Arc<AtomicBool>,
    /// How many commits are held; `None`: none is held.
    held: Arc<watch::Sender<Option<usize>>>,
    /// The most rows that a look at what is due was given.
    most_due: Arc<AtomicUsize>,
}

impl Failing {
    pub(crate) fn new(inner: MemoryDatabase) -> Self {
        Self { inner, has_failed: Arc::default(), held: Arc::new(watch::Sender::new(None)), most_due: Arc::default() }
    }

    /// From now on commits wait until they are no longer held.
    pub(crate) fn holds_commits(&self, holds: bool) {
        self.held.send_replace(holds.then_some(0));
    }

    pub(crate) fn held_commits(&self) -> usize {
        self.held.borrow().unwrap_or_default()
    }

    /// Commits beside those that are held.
    pub(crate) async fn commit_beside(&self, changes: Changes) {
        self.inner.commit(changes).await.expect("a commit");
    }

    pub(crate) fn most_due(&self) -> usize {
        self.most_due.load(Ordering::Relaxed)
    }

    pub(crate) fn fails(&self, has_failed: bool) {
        self.has_failed.store(has_failed, Ordering::Relaxed);
    }
}

impl Database for Failing {
    fn failure(&self) -> Option<DatabaseFailure> {
        let gone = || DatabaseFailure::Gone { path: "shop.db".into(), how: "deleted", is_file_there: false };
        self.has_failed.load(Ordering::Relaxed).then(gone)
    }

    fn commit(&self, changes: Changes) -> CommitFuture<'_, Receipt> {
        Box::pin(async move {
            self.held.send_if_modified(|held| held.as_mut().map(|held| *held += 1).is_some());
            let mut held = self.held.subscribe();
            drop(held.wait_for(Option::is_none).await);
            self.inner.commit(changes).await
        })
    }

    delegate!(inner: next_id purge_requests stats close);
}

impl RebuildDatabase for Failing {
    delegate!(inner: rebuild);
}

impl ReadDatabase for Failing {
    delegate!(inner: identity document documents first page scan request_by_key request requests doubts_about waits_of journal positions);

    fn due(&self, until_ms: i64, limit: u32) -> ReadFuture<'_, Vec<Waiting>> {
        Box::pin(async move {
            let due = self.inner.due(until_ms, limit).await?;
            self.most_due.fetch_max(due.len(), Ordering::Relaxed);
            Ok(due)
        })
    }
}
