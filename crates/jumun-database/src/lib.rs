//! Where a Jumun service keeps what it knows.
//!
//! Everything that one step of a service changes goes through one call, [`Database::commit`]: documents with the
//! version they were read at, events for the journal (the transactional outbox of Richardson, *Microservices Patterns*,
//! chapter 3), places of consumers and requests. It happens whole or not at all, and when it answers `Ok` it is on disk.
//! Nothing else writes. That is what lets a process die at any instruction without leaving anything half done.
//!
//! Concurrency is optimistic: a commit names what it believes (a document's version, a request's state, a consumer's
//! place) and is refused with [`CommitError::Conflict`] where that is no longer so.
//!
//! Adapters: [`SqliteDatabase`] for one process with nothing to install, [`MemoryDatabase`] for tests. Both pass the
//! suite in [`mod@conformance`].

pub mod conformance;
mod histogram;
pub mod limits;
mod memory;
mod rules;
mod sqlite;
mod url;
mod values;

pub use histogram::Histogram;
pub use memory::MemoryDatabase;
pub use sqlite::{SqliteDatabase, SqliteReader};
pub use url::DatabaseUrl;

use futures_util::future::BoxFuture;
use std::{borrow::Cow, fmt};
use uuid::Uuid;

/// What a service keeps, as far as a database must know to set itself up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The service's name; it is the source that its events are published under.
    pub service: String,
    /// Into how many partitions the journal is numbered. Fixed for the life of a database.
    pub partitions: u16,
    /// The kinds of documents.
    pub collections: Vec<Collection>,
}

/// One kind of document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its name as in the path: `orders`.
    pub name: &'static str,
    /// The fields of its documents that a reader of the database sees as columns.
    pub fields: Vec<Field>,
}

/// A top-level field of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name as in the JSON: `storeName`.
    pub name: Cow<'static, str>,
    /// Whether documents are found by it: such a field has an index.
    pub indexed: bool,
}

/// A document as it is stored: the state of one aggregate, or one row of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its id within the collection.
    pub id: i64,
    /// 1 when new, one more with each change.
    pub version: u64,
    /// False: remembered, in no list and no total.
    pub shown: bool,
    /// A JSON object.
    pub body: String,
}

/// One document as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentChange {
    /// The collection it belongs to.
    pub collection: &'static str,
    /// Its id.
    pub id: i64,
    /// The version this change was made from; 0 for a document that is not there yet.
    pub expected_version: u64,
    /// See [`Document::shown`].
    pub shown: bool,
    /// A JSON object.
    pub body: String,
}

/// An event to be published, as it is written into the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its type: `Ordered`.
    pub event_type: &'static str,
    /// The correlation key: the id of the order that it all began with.
    pub key: i64,
    /// When it happened, in milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// In which trace it happened.
    pub trace: Option<Trace>,
    /// The event as published, JSON.
    pub body: String,
}

/// Where something stands in a trace, so that it can be followed over services and restarts: the trace's id (16 bytes), the
/// id of the span that caused it (8) and the flags (1), as in W3C Trace Context. To a database it is bytes.
pub type Trace = [u8; 25];

/// An event in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRecord {
    /// The partition, from the key.
    pub partition: u16,
    /// 1, 2, 3 … without gaps within a partition, in commit order.
    pub sequence: u64,
    /// See [`JournalEntry::event_type`].
    pub event_type: String,
    /// See [`JournalEntry::key`].
    pub key: i64,
    /// See [`JournalEntry::time_ms`].
    pub time_ms: i64,
    /// See [`JournalEntry::trace`].
    pub trace: Option<Trace>,
    /// See [`JournalEntry::body`].
    pub body: String,
}

/// How far a consumer has come in one partition of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The service whose journal it is.
    pub source: String,
    /// The partition.
    pub partition: u16,
    /// The epoch of the source's database.
    pub epoch: Uuid,
    /// The last number that has had its effect here; 0 for none.
    pub sequence: u64,
}

/// A step forward of a consumer; the fence against a second consumer at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceChange {
    /// Where it shall stand.
    pub place: Place,
    /// The number it stood at; 0 where it has no place yet.
    pub expected_sequence: u64,
}

/// The state of a request. `Asking → Done | Voiding → Voided`; a request that asks nobody is born `Done`; an answer
/// that is taken back goes `Done → Voiding → Voided`. Where the client need not wait for the neighbour's answer, it goes
/// `Asking → Delayed → Done | Voiding → Voided`, or is born `Delayed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestState {
    /// A neighbour is being asked; nothing stands yet.
    Asking,
    /// Its client has an answer, and a neighbour is still to be asked: again and again, until it answers or the time is up.
    Delayed,
    /// Answered. It stands, or it was refused for good.
    Done,
    /// What the neighbour did, or may have done, is being undone.
    Voiding,
    /// Undone, or surely never done.
    Voided,
}

impl RequestState {
    /// All of them.
    pub const ALL: [RequestState; 5] = [Self::Asking, Self::Delayed, Self::Done, Self::Voiding, Self::Voided];

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Delayed => "delayed",
            Self::Done => "done",
            Self::Voiding => "voiding",
            Self::Voided => "voided",
        }
    }

    /// The state of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl RequestState {
    /// Whether something is still to be asked or undone: such a request is never deleted.
    pub const fn is_in_doubt(self) -> bool {
        matches!(self, Self::Asking | Self::Delayed | Self::Voiding)
    }
}

impl fmt::Display for RequestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A command on its way: what a client or a neighbour sent, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// A UUID of version 7. It is also the id of the question that this request asks a neighbour.
    pub id: Uuid,
    /// Under which the same request is known when it is repeated. At most one request has a key.
    pub key: Option<String>,
    /// What was asked for, so that a key is not taken for another request.
    pub fingerprint: [u8; 16],
    /// Where it stands.
    pub state: RequestState,
    /// The collection of the document that it is about.
    pub collection: Cow<'static, str>,
    /// The id of that document. Never given to another document, even if this one never comes to be.
    pub subject: i64,
    /// The question it waits for, or waited for.
    pub ask: Option<AskRecord>,
    /// The final answer. It is given again to whoever comes with the same key.
    pub answer: Option<StoredAnswer>,
    /// The process that works on it: what another one left in [`RequestState::Asking`] is nobody's.
    pub incarnation: Uuid,
    /// When it is given up, in milliseconds since 1970 UTC.
    pub until_ms: i64,
    /// In which trace it came, so that undoing it is part of the same.
    pub trace: Option<Trace>,
}

/// Whom a request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskRecord {
    /// The service asked.
    pub service: String,
    /// The path asked at: `/payinfos`. Undone at `/payinfos/void`. Empty where nothing can be undone.
    pub path: String,
    /// What is asked, where it may be asked again later; JSON.
    pub question: Option<String>,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `Location`, where there is one.
    pub location: Option<String>,
    /// The body; may be empty.
    pub body: String,
}

/// A change to the requests. Each is a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestChange {
    /// A new request. Refused if its id is known or its key is taken (unless the same commit releases the key first).
    Insert(Box<Request>),
    /// From one state to another, or to the same with an answer. Refused if it is not in `from`, and if it would go back
    /// in the order of [`RequestState`]. An answer is set where one is given.
    Move {
        /// Which request.
        id: Uuid,
        /// The state it must be in.
        from: RequestState,
        /// The state it shall be in.
        to: RequestState,
        /// The final answer, if there is one now.
        answer: Option<StoredAnswer>,
    },
    /// From [`RequestState::Asking`] to [`RequestState::Delayed`]: refused if it is not in the first.
    Delay {
        /// Which request.
        id: Uuid,
        /// When it is given up now, in milliseconds since 1970 UTC.
        until_ms: i64,
        /// The final answer to its client.
        answer: Option<StoredAnswer>,
    },
    /// Its key goes to a new attempt. Refused unless it is voiding or voided, has a key and has no answer.
    ReleaseKey {
        /// Which request.
        id: Uuid,
    },
}

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
    /// A consumer stands elsewhere, or its source has another epoch.
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
    /// It was not done, because somebody else was first. Read again and decide again.
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

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open for writing.
    #[error("{path}: {} has this database open", holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// The file.
        path: String,
        /// The id of that process, where it has written it down.
        holder: Option<u32>,
    },
    /// There is no database there.
    #[error("{path}: there is no database here")]
    Missing {
        /// The file.
        path: String,
    },
    /// It was written by a newer release.
    #[error("{path}: its schema has version {found}; this release knows versions up to {known}")]
    Newer {
        /// The file.
        path: String,
        /// The version found.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// It is a database of another program, or of another service.
    #[error("{path}: {why}")]
    Foreign {
        /// The file.
        path: String,
        /// What it is instead.
        why: String,
    },
    /// It was made with another number of partitions.
    #[error("{path}: it has {found} partitions, {wanted} are configured")]
    Partitions {
        /// The file.
        path: String,
        /// How many it has.
        found: u16,
        /// How many are configured.
        wanted: u16,
    },
    /// It is damaged.
    #[error("{path}: the file is damaged: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What was seen.
        why: String,
    },
    /// The file or its folder cannot be used.
    #[error("{path}: {why}")]
    Unusable {
        /// The file.
        path: String,
        /// What the system said.
        why: String,
    },
}

impl OpenError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "database-in-use",
            Self::Missing { .. } => "database-missing",
            Self::Newer { .. } => "database-newer",
            Self::Foreign { .. } => "database-foreign",
            Self::Partitions { .. } => "database-partitions",
            Self::Damaged { .. } => "database-damaged",
            Self::Unusable { .. } => "database-unusable",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "Stop the other process, or give this one another data folder (--data).",
            Self::Missing { .. } => "Check the path (--data); a service makes its database when it first starts.",
            Self::Newer { .. } => "Use the newer release, or restore the copy that was made before the upgrade.",
            Self::Foreign { .. } => "Give this service a database of its own: check `database` and --data.",
            Self::Partitions { .. } => {
                "Set `partitions` to what the database has: it is fixed when a database is made."
            }
            Self::Damaged { .. } => "Keep the file as it is, restore the latest copy beside it, and start again.",
            Self::Unusable { .. } => "Check that the folder exists, has room, and can be written by this user.",
        }
    }
}

/// Which documents, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The collection.
    pub collection: &'static str,
    /// Only documents whose field has this value; the value as JSON shows it, without quotes (`스토어99`, `7`).
    /// Fields that are not indexed are never asked for.
    pub filter: Option<(Cow<'static, str>, String)>,
    /// By which field, and whether the largest comes first. By id where there is none; id decides between equals.
    pub sort: Option<(Cow<'static, str>, Direction)>,
    /// How many documents to skip.
    pub offset: u64,
    /// How many to give, at most [`limits::PAGE_MAX_ROWS`].
    pub size: u32,
}

/// Which end of an order comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
}

/// Some documents of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The documents, hidden ones left out.
    pub documents: Vec<Document>,
    /// How many there are in all. It may be up to a second old where counting is slow.
    pub total: u64,
}

/// Which requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFilter {
    /// In this state.
    pub state: RequestState,
    /// That ask this service.
    pub service: Option<&'static str>,
    /// Given up before this time, in milliseconds since 1970 UTC.
    pub until_before_ms: Option<i64>,
    /// With an id after this one; ids are in order of time.
    pub after: Option<Uuid>,
    /// At most so many, the oldest first.
    pub limit: u32,
}

/// Who a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The service it belongs to.
    pub service: String,
    /// Random, made with the database: numbers of two epochs have nothing to do with each other.
    pub epoch: Uuid,
    /// See [`Schema::partitions`].
    pub partitions: u16,
    /// How many processes may use it at a time.
    pub sharing: Sharing,
}

/// How many processes of a service may use one database at a time. It is recorded in the database, and the one place that
/// says so: whoever relies on being alone (voiding the requests of other incarnations, holding commits up, counting what is
/// delayed, queueing commands on one document in memory) asks this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// One: the database refuses a second one ([`OpenError::InUse`]). So another incarnation has surely ended.
    OneProcess,
    /// Several replicas. No adapter offers that yet.
    Replicas,
}

impl Sharing {
    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneProcess => "one",
            Self::Replicas => "many",
        }
    }

    /// The meaning of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::OneProcess, Self::Replicas].into_iter().find(|sharing| sharing.as_str() == word)
    }
}

/// What the writer has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commits that were done.
    pub commits: u64,
    /// Transactions that they were done in; each is one fsync.
    pub groups: u64,
    /// Commits that were refused for a conflict.
    pub conflicts: u64,
    /// Jobs of each transaction.
    pub group_jobs: Histogram,
    /// Microseconds that each transaction took to get on disk: the fsync, and writing what it makes durable.
    pub sync_us: Histogram,
}

/// The partition of a correlation key: FNV-1a (64 bit) over the key's eight bytes, the lowest first, modulo `partitions`.
///
/// It is written down here and never changes: the numbers of a journal belong to its partitions.
pub fn partition_of(key: i64, partitions: u16) -> u16 {
    let hash = key
        .to_le_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    u16::try_from(hash % u64::from(partitions.max(1))).unwrap_or(0)
}

/// Reading. Never waits for a writer.
pub trait ReadDatabase: Send + Sync + 'static {
    /// Who this is.
    fn identity(&self) -> &Identity;

    /// One document, hidden or not.
    fn document(&self, collection: &'static str, id: i64) -> BoxFuture<'_, Result<Option<Document>, ReadError>>;

    /// A page of the documents that are shown.
    fn page(&self, query: Query) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// Documents with an id after `after`, hidden ones included, in order of id: for audits and rebuilds.
    fn scan(&self, collection: &'static str, after: i64, limit: u32)
    -> BoxFuture<'_, Result<Vec<Document>, ReadError>>;

    /// The request that has this key.
    fn request_by_key(&self, key: &str) -> BoxFuture<'_, Result<Option<Request>, ReadError>>;

    /// The request with this id.
    fn request(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Request>, ReadError>>;

    /// Requests by state.
    fn requests(&self, filter: RequestFilter) -> BoxFuture<'_, Result<Vec<Request>, ReadError>>;

    /// Requests that are about documents of one id and are still in doubt (asking, delayed or voiding), the oldest first.
    fn doubts_about(&self, subject: i64) -> BoxFuture<'_, Result<Vec<Request>, ReadError>>;

    /// Events of a partition with a number after `after`, in order.
    fn journal(&self, partition: u16, after: u64, limit: u32) -> BoxFuture<'_, Result<Vec<JournalRecord>, ReadError>>;

    /// All places.
    fn places(&self) -> BoxFuture<'_, Result<Vec<Place>, ReadError>>;
}

/// Reading and writing. See the module's page for what a commit promises.
pub trait Database: ReadDatabase {
    /// Does all of it, durably, or none of it.
    fn commit(&self, changes: Changes) -> BoxFuture<'_, Result<Receipt, CommitError>>;

    /// An id for a new document: larger than that of every document and of every request's subject in this collection,
    /// those of purged requests included. Ids have gaps, and none is given out twice, except that one which was in no
    /// commit may come again after a restart.
    fn next_id(&self, collection: &'static str) -> BoxFuture<'_, Result<i64, ReadError>>;

    /// Deletes done and voided requests whose id is older than `before_ms` (milliseconds since 1970 UTC; the time is in
    /// the id) and, beyond `keep_at_most`, the oldest; at most [`limits::PURGE_MAX_ROWS`] at a time. Tells how many went.
    fn purge_requests(&self, before_ms: i64, keep_at_most: u64) -> BoxFuture<'_, Result<u64, CommitError>>;

    /// Takes rows out of a collection's shadow, [`limits::SHADOW_MAX_ROWS`] at a time. True: there is no shadow any more.
    ///
    /// A shadow is a second set of documents that nobody sees, to be filled beside the first and then to take its place:
    /// so a view is made anew while the old one is read. It is cleared until it is gone before it is filled.
    fn clear_shadow(&self, collection: &'static str) -> BoxFuture<'_, Result<bool, CommitError>>;

    /// Puts documents into a shadow, whole as they are given, over what has the same id; all of them or none. At most
    /// [`limits::SHADOW_MAX_ROWS`].
    fn write_shadow(
        &self,
        collection: &'static str,
        documents: Vec<Document>,
    ) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Those documents of a shadow that have these ids; at most [`limits::PAGE_MAX_ROWS`] ids.
    fn read_shadow(&self, collection: &'static str, ids: Vec<i64>) -> BoxFuture<'_, Result<Vec<Document>, ReadError>>;

    /// The shadows of these collections and their documents change places, all at once. Refused with
    /// [`Conflict::Place`] unless these are all places there are. What was there before is the shadow then, and is to be
    /// cleared.
    fn switch_shadows(
        &self,
        collections: Vec<&'static str>,
        places: Vec<Place>,
    ) -> BoxFuture<'_, Result<(), CommitError>>;

    /// The same as [`Database::write_shadow`] for a shadow that is to become a base. Nobody looks into that by a field, so it
    /// has no indexes.
    fn write_next_base(
        &self,
        collection: &'static str,
        documents: Vec<Document>,
    ) -> BoxFuture<'_, Result<(), CommitError>>;

    /// The shadows of these collections become their bases, all at once and together with the places that they were made
    /// of. What was their base before is the shadow then, and is to be cleared.
    ///
    /// A base is a third set of documents that nobody sees: what a view was by the log when that was whole up to the
    /// places, for the time when it is not any more.
    fn keep_bases(&self, collections: Vec<&'static str>, places: Vec<Place>) -> BoxFuture<'_, Result<(), CommitError>>;

    /// The places that a collection's base was made of, in order of source and partition. None: it has no base.
    fn base(&self, collection: &'static str) -> BoxFuture<'_, Result<Option<Vec<Place>>, ReadError>>;

    /// Documents of a base with an id after `after`, hidden ones included, in order of id; at most
    /// [`limits::PAGE_MAX_ROWS`].
    fn scan_base(
        &self,
        collection: &'static str,
        after: i64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Document>, ReadError>>;

    /// What the writer has done.
    fn stats(&self) -> Stats;

    /// Commits what is queued, folds the log back and lets go of the files. Later commits are not done.
    fn close(&self) -> BoxFuture<'_, ()>;
}
