//! Where a Jumun service keeps what it knows.
//!
//! Everything that one step of a service changes goes through one call, [`Database::commit`]: documents with the
//! version they were read at, events for the journal (the transactional outbox of Richardson, *Microservices Patterns*,
//! chapter 3), positions of consumers and requests. It happens whole or not at all, and when it answers `Ok` it is on
//! disk. Nothing else writes. That is what lets a process die at any instruction without leaving anything half done.
//!
//! Concurrency is optimistic: a commit names its expectations (a document's version, a request's state, a consumer's
//! offset), and the database refuses it with [`CommitError::Conflict`] where one no longer holds.
//!
//! Adapters: [`SqliteDatabase`] for one process with nothing to install, `PostgresDatabase` (feature `postgres`) on a
//! server, [`MemoryDatabase`] for tests. All pass the suite in `conformance`.

mod commit;
#[cfg(feature = "conformance")]
pub mod conformance;
mod delegate;
mod documents;
mod failure;
mod histogram;
mod journal;
pub mod limits;
mod memory;
mod names;
mod open;
mod ports;
mod positions;
#[cfg(feature = "postgres")]
mod postgres;
mod requests;
mod rules;
mod sqlite;
mod url;
mod values;
mod waits;
mod writing;

pub use commit::{Changes, CommitError, Conflict, ReadError, Receipt};
pub use documents::{
    Collection, Direction, Document, DocumentChange, DocumentVersion, Field, Lookup, Page, Query, Schema,
};
pub use failure::DatabaseFailure;
pub use futures_util::future::BoxFuture;
pub use histogram::Histogram;
pub use journal::{JournalEntry, JournalRecord, Trace, partition_of};
pub use memory::MemoryDatabase;
pub use open::{Identity, OpenError, Sharing};
pub use ports::{CommitFuture, Database, LogStats, ReadDatabase, ReadFuture, RebuildDatabase, Stats};
pub use positions::{Position, PositionChange};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresAddress, PostgresDatabase, PostgresReader};
pub use requests::{AskRecord, Request, RequestChange, RequestFilter, RequestState, StoredAnswer};
pub use sqlite::{SqliteDatabase, SqliteReader};
pub use url::DatabaseUrl;
#[doc(hidden)]
pub use uuid::Uuid;
pub use waits::{Wait, WaitChange, Waiting}; // for `delegate!`
