//! The ports: what a step of a service needs of its database, what a rebuild of views needs, and what every reader
//! needs.

use crate::{
    Changes, CommitError, DatabaseFailure, Document, Histogram, Identity, JournalRecord, Lookup, Page, Position, Query,
    ReadError, Receipt, Request, RequestFilter, Waiting,
};
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// A read in progress.
pub type ReadFuture<'a, T> = BoxFuture<'a, Result<T, ReadError>>;

/// A write in progress.
pub type CommitFuture<'a, T> = BoxFuture<'a, Result<T, CommitError>>;

/// Counts of the writer since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commits done.
    pub commits: u64,
    /// Transactions; each is one fsync.
    pub groups: u64,
    /// Commits refused for a conflict.
    pub conflicts: u64,
    /// Jobs a transaction.
    pub group_jobs: Histogram,
    /// Microseconds that each transaction took to get on disk: the fsync, and writing what it makes durable.
    pub sync_us: Histogram,
    /// The write-ahead log, where the adapter has one.
    pub log: LogStats,
    /// The last error of the disk on a read, while it is a moment ago.
    pub disk_error: Option<String>,
}

/// A write-ahead log, which must be folded back into its database from time to time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Length of its file, in bytes, as of a second ago at most.
    pub file_bytes: u64,
    /// Bytes in it that are not folded back yet.
    pub unfolded_bytes: u64,
    /// Attempts to fold it back that a reader or another process stopped, since the start.
    pub given_up: u64,
    /// For how many milliseconds the same reader has been in the way. None: no reader is.
    pub held_ms: Option<u64>,
    /// Other processes that read, as far as the system tells: `process 4321 (python3)`.
    pub held_by: Option<String>,
    /// What operators should know, while the log is too long.
    pub warning: Option<String>,
}

/// Reading. It never waits for a writer.
pub trait ReadDatabase: Send + Sync + 'static {
    /// The identity of this database.
    fn identity(&self) -> &Identity;

    /// One document, hidden or not.
    fn document(&self, collection: &'static str, id: i64) -> ReadFuture<'_, Option<Document>>;

    /// Several documents at once, each by collection and id, in this order.
    fn documents(&self, keys: Vec<(&'static str, i64)>) -> ReadFuture<'_, Vec<Option<Document>>>;

    /// The ids of the shown documents whose fields have these values, the smallest first. An index over these fields finds
    /// them.
    fn first(&self, lookup: Lookup) -> ReadFuture<'_, Vec<i64>>;

    /// A page of the shown documents.
    fn page(&self, query: Query) -> ReadFuture<'_, Page>;

    /// Documents with an id after `after`, hidden ones included, in order of id: for audits and rebuilds.
    fn scan(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>>;

    /// The request that has this key.
    fn request_by_key(&self, key: &str) -> ReadFuture<'_, Option<Request>>;

    /// The request with this id.
    fn request(&self, id: Uuid) -> ReadFuture<'_, Option<Request>>;

    /// Requests by state.
    fn requests(&self, filter: RequestFilter) -> ReadFuture<'_, Vec<Request>>;

    /// Requests that are about documents of one id and are still in doubt (asking, delayed or voiding), the oldest
    /// first.
    fn doubts_about(&self, subject: i64) -> ReadFuture<'_, Vec<Request>>;

    /// Documents whose wait is due at this time, in milliseconds since 1970 UTC, or was before, the oldest first; between
    /// equals by id, then by collection.
    fn due(&self, until_ms: i64, limit: u32) -> ReadFuture<'_, Vec<Waiting>>;

    /// The waits of documents of one id, in all collections.
    fn waits_of(&self, id: i64) -> ReadFuture<'_, Vec<Waiting>>;

    /// Events of a partition with a number after `after`, in order.
    fn journal(&self, partition: u16, after: u64, limit: u32) -> ReadFuture<'_, Vec<JournalRecord>>;

    /// All positions.
    fn positions(&self) -> ReadFuture<'_, Vec<Position>>;
}

/// What a rebuild of views needs: sets of documents beside those that readers see.
///
/// * A *shadow* of a collection is filled while readers see the documents, and then replaces them.
/// * A *base* of a collection is what its view was by the log while that was whole. When old segments of the log are
///   gone, a rebuild starts from it.
pub trait RebuildDatabase: Send + Sync + 'static {
    /// Deletes rows of a collection's shadow, [`limits::SHADOW_MAX_ROWS`](crate::limits::SHADOW_MAX_ROWS) at a time.
    /// True: the shadow is gone.
    ///
    /// A shadow is a second, invisible set of documents. A rebuild clears it until it is gone, fills it while readers
    /// see the documents, and then switches the two.
    fn clear_shadow(&self, collection: &'static str) -> CommitFuture<'_, bool>;

    /// Puts documents into a shadow, whole as they are given, over what has the same id; all of them or none. At most
    /// [`limits::SHADOW_MAX_ROWS`](crate::limits::SHADOW_MAX_ROWS).
    fn write_shadow(&self, collection: &'static str, documents: Vec<Document>) -> CommitFuture<'_, ()>;

    /// Those documents of a shadow that have these ids; at most [`limits::PAGE_MAX_ROWS`](crate::limits::PAGE_MAX_ROWS)
    /// ids.
    fn read_shadow(&self, collection: &'static str, ids: Vec<i64>) -> ReadFuture<'_, Vec<Document>>;

    /// Switches the shadows of these collections with their documents, all at once. Refused with
    /// [`Conflict::Position`](crate::Conflict::Position) unless these are exactly the current positions. The previous documents
    /// are the shadow afterwards; clear it.
    fn switch_shadows(&self, collections: Vec<&'static str>, positions: Vec<Position>) -> CommitFuture<'_, ()>;

    /// Like [`RebuildDatabase::write_shadow`], for a shadow that will become a base. Nothing queries a base by a field,
    /// so it has no indexes.
    fn write_next_base(&self, collection: &'static str, documents: Vec<Document>) -> CommitFuture<'_, ()>;

    /// Turns the shadows of these collections into their bases, all at once, together with the positions that they
    /// reflect. The previous base is the shadow afterwards; clear it.
    ///
    /// A base is a third, invisible set of documents: the state of a view at these positions, from the time when the log
    /// was still whole up to them.
    fn keep_bases(&self, collections: Vec<&'static str>, positions: Vec<Position>) -> CommitFuture<'_, ()>;

    /// The positions that a collection's base was made of, in order of source and partition. None: it has no base.
    fn base(&self, collection: &'static str) -> ReadFuture<'_, Option<Vec<Position>>>;

    /// Documents of a base with an id after `after`, hidden ones included, in order of id; at most
    /// [`limits::PAGE_MAX_ROWS`](crate::limits::PAGE_MAX_ROWS).
    fn scan_base(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>>;
}

/// Reading and writing: what a step of a service needs. The page of this crate says what a commit promises.
pub trait Database: ReadDatabase + RebuildDatabase {
    /// Applies all changes, durably, or none.
    fn commit(&self, changes: Changes) -> CommitFuture<'_, Receipt>;

    /// An id for a new document: larger than the ids of all documents in this collection, and than the subjects of all
    /// requests that were not done at once, those of purged requests included. Ids have gaps. None is given out twice, except that one which was in no
    /// commit may come again after a restart.
    fn next_id(&self, collection: &'static str) -> ReadFuture<'_, i64>;

    /// Deletes done and voided requests whose id is older than `before_ms` (milliseconds since 1970 UTC; the time is in
    /// the id) and, beyond `keep_at_most`, the oldest; at most
    /// [`limits::PURGE_MAX_ROWS`](crate::limits::PURGE_MAX_ROWS) at a time. Returns the number deleted.
    fn purge_requests(&self, before_ms: i64, keep_at_most: u64) -> CommitFuture<'_, u64>;

    /// Why no more is committed until an operator acts. None: the database can be relied on, as far as is known.
    fn failure(&self) -> Option<DatabaseFailure>;

    /// Counts of the writer.
    fn stats(&self) -> Stats;

    /// Commits what is queued, folds the log back and lets go of the files. Later commits are not done.
    fn close(&self) -> BoxFuture<'_, ()>;
}
