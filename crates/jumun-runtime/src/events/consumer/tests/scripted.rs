//! A database whose commits end as a test says.

use futures_util::future::{BoxFuture, pending};
use jumun_database::{
    Changes, CommitError, Conflict, Database, Document, Identity, JournalRecord, MemoryDatabase, Page, Place, Query,
    ReadDatabase, ReadError, Receipt, Request, RequestFilter, Stats,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use uuid::Uuid;

/// How one commit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As it should.
    Well,
    /// The process dies before it.
    DeathBefore,
    /// It is done, and the process dies before it hears of that.
    DeathAfter,
    /// It is done, and nobody knows.
    Unknown,
    /// The disk is full.
    NotDone,
    /// Somebody else has changed a document.
    Conflict,
}

/// Which process it is used by is up to the test: a clone is the same database.
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
        self.script.lock().expect("nobody panics with it").extend(ends);
    }

    /// How often a process has died.
    pub(super) fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// A commit that the script says nothing about.
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
            let end = self.script.lock().expect("nobody panics with it").pop_front().unwrap_or(End::Well);
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
    fn next_id(&self, collection: &'static str) -> BoxFuture<'_, Result<i64, ReadError>> {
        self.inner.next_id(collection)
    }
    fn purge_requests(&self, before_ms: i64, keep_at_most: u64) -> BoxFuture<'_, Result<u64, CommitError>> {
        self.inner.purge_requests(before_ms, keep_at_most)
    }
    fn clear_shadow(&self, collection: &'static str) -> BoxFuture<'_, Result<bool, CommitError>> {
        self.inner.clear_shadow(collection)
    }
    fn write_shadow(&self, collection: &'static str, rows: Vec<Document>) -> BoxFuture<'_, Result<(), CommitError>> {
        self.inner.write_shadow(collection, rows)
    }
    fn read_shadow(&self, collection: &'static str, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<Document>, ReadError>> {
        self.inner.read_shadow(collection, ids)
    }
    fn switch_shadows(
        &self,
        collections: Vec<&'static str>,
        places: Vec<Place>,
    ) -> BoxFuture<'_, Result<(), CommitError>> {
        self.inner.switch_shadows(collections, places)
    }
    fn write_next_base(
        &self,
        collection: &'static str,
        documents: Vec<Document>,
    ) -> BoxFuture<'_, Result<(), CommitError>> {
        self.inner.write_next_base(collection, documents)
    }

    fn keep_bases(&self, collections: Vec<&'static str>, places: Vec<Place>) -> BoxFuture<'_, Result<(), CommitError>> {
        self.inner.keep_bases(collections, places)
    }

    fn base(&self, collection: &'static str) -> BoxFuture<'_, Result<Option<Vec<Place>>, ReadError>> {
        self.inner.base(collection)
    }

    fn scan_base(
        &self,
        collection: &'static str,
        after: i64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Document>, ReadError>> {
        self.inner.scan_base(collection, after, limit)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

impl ReadDatabase for Scripted {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }
    fn document(&self, collection: &'static str, id: i64) -> BoxFuture<'_, Result<Option<Document>, ReadError>> {
        self.inner.document(collection, id)
    }
    fn page(&self, query: Query) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.inner.page(query)
    }
    fn scan(
        &self,
        collection: &'static str,
        after: i64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Document>, ReadError>> {
        self.inner.scan(collection, after, limit)
    }
    fn request_by_key(&self, key: &str) -> BoxFuture<'_, Result<Option<Request>, ReadError>> {
        self.inner.request_by_key(key)
    }
    fn request(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Request>, ReadError>> {
        self.inner.request(id)
    }
    fn requests(&self, filter: RequestFilter) -> BoxFuture<'_, Result<Vec<Request>, ReadError>> {
        self.inner.requests(filter)
    }
    fn doubts_about(&self, subject: i64) -> BoxFuture<'_, Result<Vec<Request>, ReadError>> {
        self.inner.doubts_about(subject)
    }
    fn journal(&self, partition: u16, after: u64, limit: u32) -> BoxFuture<'_, Result<Vec<JournalRecord>, ReadError>> {
        self.inner.journal(partition, after, limit)
    }
    fn places(&self) -> BoxFuture<'_, Result<Vec<Place>, ReadError>> {
        self.inner.places()
    }
}
