//! A database whose commits end as a test scripts them.

use futures_util::future::{BoxFuture, pending};
use jumun_database::{
    Changes, CommitError, Conflict, Database, MemoryDatabase, ReadDatabase, RebuildDatabase, Receipt, delegate,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// How one commit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is done.
    Well,
    /// The process dies before it.
    DeathBefore,
    /// It is done, and the process dies before it gets the result.
    DeathAfter,
    /// It is done, and its outcome is unknown.
    Unknown,
    /// The disk is full.
    NotDone,
    /// Another commit changed a document.
    Conflict,
}

/// All clones are one database, for one process after the other.
#[derive(Clone)]
pub(super) struct Scripted {
    inner: MemoryDatabase,
    script: Arc<Mutex<VecDeque<End>>>,
    deaths: Arc<AtomicU64>,
}

impl Scripted {
    pub(super) fn new(inner: MemoryDatabase) -> Self {
        Self { inner, script: Arc::default(), deaths: Arc::default() }
    }

    /// How the next commits end; all after them end well.
    pub(super) fn script(&self, ends: impl IntoIterator<Item = End>) {
        self.script.lock().expect("no panic holds it").extend(ends);
    }

    /// How often a process has died.
    pub(super) fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// A commit outside the script.
    pub(super) async fn inner_commit(&self, changes: Changes) {
        self.inner.commit(changes).await.expect("a commit");
    }

    async fn die<T>(&self) -> T {
        self.deaths.fetch_add(1, Ordering::Relaxed);
        pending().await
    }
}

impl Database for Scripted {
    fn commit(&self, changes: Changes) -> BoxFuture<'_, Result<Receipt, CommitError>> {
        Box::pin(async move {
            let end = self.script.lock().expect("no panic holds it").pop_front().unwrap_or(End::Well);
            match end {
                End::Well => self.inner.commit(changes).await,
                End::DeathBefore => self.die().await,
                End::DeathAfter => {
                    self.inner.commit(changes).await?;
                    self.die().await
                }
                End::Unknown => {
                    self.inner.commit(changes).await?;
                    Err(CommitError::Unknown("the connection broke".into()))
                }
                End::NotDone => Err(CommitError::NotDone("the disk is full".into())),
                End::Conflict => {
                    let document = changes.documents.first().map_or(("", 0), |change| (change.collection, change.id));
                    Err(CommitError::Conflict(Conflict::Document { collection: document.0, id: document.1 }))
                }
            }
        })
    }

    delegate!(inner: next_id purge_requests failure stats close);
}

impl RebuildDatabase for Scripted {
    delegate!(inner: rebuild);
}

impl ReadDatabase for Scripted {
    delegate!(inner: read);
}
