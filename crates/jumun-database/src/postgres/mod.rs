//! A database on a server of `PostgreSQL`, in a schema of its own.
//!
//! **A commit** is judged by the same rules as in all adapters ([`rules::first_conflict`](crate::rules::first_conflict)) and
//! is part of one transaction. All commits that wait are **one group**: a transaction of two round trips, whatever its size
//! ([`writer`]). The first one reads what the commits depend on; each is then judged in memory, on what the database holds
//! and the commits before it in the group make of that ([`Group`](crate::writing::Group)). One that is wrong about something
//! is refused and leaves nothing, and the others go on. The second one writes what all of them make, with one statement a
//! table, and ends with COMMIT; all its statements are sent before the first is answered. No caller gets an answer before
//! COMMIT has returned, and a session never runs with `synchronous_commit = off`. If the server refuses the data of one
//! commit, each of the group is tried alone. Deadlocks, serialization failures and locks are tried again.
//!
//! **One process.** The connection that writes holds an advisory lock of its session, and it does all that writes. So the
//! transactions of all processes that ever write follow one another: the lock ends with the session, and a session ends
//! after its transaction. Facts that a transaction has read stay true until it commits. That is
//! [`Sharing::OneProcess`](crate::Sharing::OneProcess). (A pooler that gives a session's statements to several connections
//! breaks that: let it pool sessions.) A second process is refused ([`OpenError::InUse`]). One that takes the lock while the
//! connection of this one is lost writes its id into `meta`; this one sees it when it comes back, and writes no more
//! ([`DatabaseFailure::TakenOver`]).
//!
//! **The journal is numbered** in the memory of the writer, and the last numbers are written in the same transaction.
//! Transactions follow one another, and number n + 1 is given only after the transaction of n has committed (or was rolled
//! back, and its numbers with it). So whoever sees n + 1 sees n: a snapshot that has a transaction has all that committed
//! before it began. The relay, which reads `sequence > last` in order, never skips an event, and never finds a gap.
//!
//! **A lost connection** is made again with the next commit, which waits for it for half a second; so does each read. Was a
//! COMMIT under way, the writer ends what the server still has of the old session, takes the lock again, and looks which
//! number the last transaction has: each transaction writes its own (`groups`). So it knows whether it was done, and
//! answers that, or does it again. Only if the server stays away, the answer is [`CommitError::Unknown`](crate::CommitError::Unknown).
//!
//! Reads have connections of their own, which live in the runtime of the service ([`pool`]).

mod address;
mod failure;
mod holder;
mod pool;
mod reader;
mod rows;
mod schema;
mod session;
mod shadow;
mod statements;
mod tls;
mod writer;

pub use address::PostgresAddress;
pub use reader::PostgresReader;

use crate::{
    Changes, CommitFuture, Database, DatabaseFailure, Document, OpenError, Position, ReadDatabase, ReadFuture,
    RebuildDatabase, Receipt, Schema, Stats, delegate, names, rules,
    writing::{Job, NotStarted, Queue, Ready, Shared},
};
use futures_util::future::{BoxFuture, FutureExt};
use std::{
    io,
    sync::{Arc, OnceLock, mpsc::Receiver},
    thread,
};
use tokio::runtime::{Builder, Runtime};
use writer::Writer;

/// A database on a server of `PostgreSQL`.
///
/// It belongs to this process until [`Database::close`] is done. Dropping it does the same as closing it, and waits for that.
pub struct PostgresDatabase {
    schema: Schema,
    reader: PostgresReader,
    failure: Arc<OnceLock<DatabaseFailure>>,
    queue: Queue,
}

impl PostgresDatabase {
    /// Opens the database at this address, or makes it. Blocks.
    ///
    /// # Errors
    /// Where it is of no use to this service. What is in it is then as it was.
    pub fn open(address: &Arc<PostgresAddress>, schema: Schema) -> Result<Self, OpenError> {
        let unusable = |why: String| OpenError::Unusable { path: address.to_string(), why };
        names::check_names(&schema).map_err(unusable)?;
        let failure = Arc::default();
        let thread =
            WriterThread { address: Arc::clone(address), schema: schema.clone(), failure: Arc::clone(&failure) };
        let started = Queue::start(&schema.service, move |jobs, ready| thread.run(jobs, ready));
        let (queue, identity) = started.map_err(|error| match error {
            NotStarted::Thread(error) => unusable(error.to_string()),
            NotStarted::Panicked => unusable("the writer has panicked".to_owned()),
            NotStarted::Failed(error) => error,
        })?;
        let known = names::collections_from_json(&names::collections_to_json(&schema)).unwrap_or_default();
        let reader = PostgresReader::new(Arc::clone(address), identity, known);
        Ok(Self { schema, reader, failure, queue })
    }
}

/// What the writer's thread begins with.
struct WriterThread {
    address: Arc<PostgresAddress>,
    schema: Schema,
    failure: Arc<OnceLock<DatabaseFailure>>,
}

impl WriterThread {
    fn run(self, jobs: &Receiver<Job>, ready: &Ready<crate::Identity, OpenError>) {
        let Self { address, schema, failure } = self;
        let path = address.to_string();
        let opened = match runtime() {
            Ok(runtime) => runtime.block_on(holder::open(&address, &path, &schema)).map(|opened| (runtime, opened)),
            Err(error) => Err(OpenError::Unusable { path, why: error.to_string() }),
        };
        // `open` waits for what is sent, unless it has panicked.
        match opened {
            Ok((runtime, opened)) => {
                let (shared, identity) = (Shared::new(&opened.counters), opened.identity.clone());
                let writer = Writer::new(address, schema, Arc::clone(&shared), failure, opened);
                let _ = ready.send(Ok((shared, identity)));
                writer.run(&runtime, jobs);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Does asynchronous work for a caller that blocks, and may be in a runtime itself.
fn elsewhere<T: Send>(work: impl AsyncFnOnce() -> Result<T, OpenError> + Send, path: &str) -> Result<T, OpenError> {
    let unusable = |why: String| OpenError::Unusable { path: path.to_owned(), why };
    let work = || runtime().map_err(|error| unusable(error.to_string()))?.block_on(work());
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err(unusable("it has panicked".to_owned())))
}

impl ReadDatabase for PostgresDatabase {
    delegate!(reader: read);
}

impl RebuildDatabase for PostgresDatabase {
    fn clear_shadow(&self, collection: &'static str) -> CommitFuture<'_, bool> {
        self.queue.clear_shadow(&self.schema, collection)
    }

    fn write_shadow(&self, collection: &'static str, documents: Vec<Document>) -> CommitFuture<'_, ()> {
        self.queue.write_shadow(&self.schema, collection, documents, false)
    }

    fn read_shadow(&self, collection: &'static str, ids: Vec<i64>) -> ReadFuture<'_, Vec<Document>> {
        self.reader.read_shadow(collection, ids)
    }

    fn switch_shadows(&self, collections: Vec<&'static str>, positions: Vec<Position>) -> CommitFuture<'_, ()> {
        self.queue.switch_shadows(&self.schema, collections, positions)
    }

    fn write_next_base(&self, collection: &'static str, documents: Vec<Document>) -> CommitFuture<'_, ()> {
        self.queue.write_shadow(&self.schema, collection, documents, true)
    }

    fn keep_bases(&self, collections: Vec<&'static str>, positions: Vec<Position>) -> CommitFuture<'_, ()> {
        self.queue.keep_bases(&self.schema, collections, positions)
    }

    fn base(&self, collection: &'static str) -> ReadFuture<'_, Option<Vec<Position>>> {
        self.reader.base(collection)
    }

    fn scan_base(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>> {
        self.reader.scan_base(collection, after, limit)
    }
}

impl Database for PostgresDatabase {
    fn commit(&self, changes: Changes) -> CommitFuture<'_, Receipt> {
        self.queue.commit(rules::check_limits(&changes, &self.schema), changes)
    }

    fn next_id(&self, collection: &'static str) -> ReadFuture<'_, i64> {
        self.queue.next_id(collection)
    }

    fn purge_requests(&self, before_ms: i64, keep_at_most: u64) -> CommitFuture<'_, u64> {
        self.queue.purge(before_ms, keep_at_most)
    }

    fn failure(&self) -> Option<DatabaseFailure> {
        self.failure.get().cloned()
    }

    fn stats(&self) -> Stats {
        self.queue.shared().stats()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.queue.close().await;
            self.reader.close();
        }
        .boxed()
    }
}
