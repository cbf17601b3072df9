//! A database in one file of `SQLite`, for one process.
//!
//! Threads: one that writes ([`writer`]), one that folds the log back ([`checkpoint`]), a few for queries over many
//! rows ([`queries`]). Reads of one row run where they are called ([`reader`]). Nothing here knows a runtime.

mod checkpoint;
mod condition;
mod connection;
mod counts;
mod failure;
mod files;
mod holders;
mod queries;
mod reader;
mod rows;
mod schema;
mod shadow;
mod statements;
mod writer;

pub use reader::SqliteReader;

use crate::{
    Changes, CommitFuture, Database, DatabaseFailure, Document, OpenError, Position, ReadDatabase, ReadFuture,
    RebuildDatabase, Receipt, Schema, Stats, delegate, limits, rules,
    writing::{Counters, Job, NotStarted, Queue, Ready, Shared},
};
use checkpoint::{Checkpoints, Log};
use condition::Condition;
use failure::open_error;
use files::Files;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension};
use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::Path,
    process,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};
use writer::Writer;

/// A database in one file of `SQLite`.
///
/// The file has a lock beside it, held as long as this value lives and until [`Database::close`] is done. Dropping it
/// does the same as closing it, and waits for that.
pub struct SqliteDatabase {
    schema: Schema,
    reader: Arc<SqliteReader>,
    condition: Arc<Condition>,
    log: Arc<Log>,
    queue: Queue,
}

impl SqliteDatabase {
    /// Opens the database in this file, or makes it, with the folders above it.
    ///
    /// # Errors
    /// Where it is of no use to this service. What is in the file is then as it was.
    pub fn open(path: &Path, schema: Schema) -> Result<Self, OpenError> {
        let unusable = |error: &dyn std::fmt::Display| OpenError::Unusable {
            path: path.display().to_string(),
            why: error.to_string(),
        };
        // What SQLite keeps beside a database is beside the file that a link names.
        let path = &*files::resolve(path).map_err(|error| unusable(&error))?;
        let lock = lock(path)?;
        connection::check_file(path)?;
        let mut connection = connection::for_writing(path).map_err(|error| open_error(path, &error))?;
        // Looked at before anything is changed, the journal mode included.
        schema::inspect(&connection, path, schema::MIGRATIONS.len())?;
        if !connection::set_up_writer(&connection).map_err(|error| open_error(path, &error))? {
            return Err(unusable(&"the file system has no shared memory for a write-ahead log"));
        }
        schema::migrate(&connection, path, schema::MIGRATIONS)?;
        schema::adopt(&connection, path, &schema)?;
        let counters = load_counters(&connection, &schema).map_err(|error| open_error(path, &error))?;
        let shared = Shared::new(&counters);
        let condition = Arc::new(Condition::new(path));
        let reader = Arc::new(SqliteReader::open_with(path, limits::READ_MAX, Arc::clone(&condition))?);
        // All connections are open, and with them all files.
        condition.watch(Files::note(path).map_err(|error| unusable(&error))?);
        let checkpoints =
            Checkpoints::start(&mut connection, path, &schema.service, Arc::clone(&condition), Arc::clone(&reader))
                .map_err(|error| unusable(&error))?;
        let log = Arc::clone(checkpoints.log());
        // The writer waits in its own way for a lock that another process holds.
        connection.busy_timeout(Duration::ZERO).map_err(|error| open_error(path, &error))?;

        let thread = WriterThread {
            connection,
            collections: schema.collections.iter().map(|collection| collection.name).collect(),
            counters,
            shared,
            reader: Arc::clone(&reader),
            condition: Arc::clone(&condition),
            checkpoints,
            lock,
        };
        let started = Queue::start(&schema.service, move |jobs, ready| thread.run(jobs, ready));
        let (queue, ()) = started.map_err(|error| match error {
            NotStarted::Thread(error) => unusable(&error),
            NotStarted::Panicked => unusable(&"the writer has panicked"),
            NotStarted::Failed(error) => open_error(path, &error),
        })?;
        Ok(Self { schema, reader, condition, log, queue })
    }
}

fn load_counters(connection: &Connection, schema: &Schema) -> rusqlite::Result<Counters> {
    let counter = |name: &str| {
        let mut statement = connection.prepare_cached("SELECT value FROM counters WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?.unwrap_or(0))
    };
    let largest_id = |collection: &'static str| {
        let sql = format!("SELECT max(id) FROM {}", schema::table(collection));
        Ok(connection.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0))
    };
    Counters::load(schema, counter, largest_id)
}

/// What the writer's thread takes with it, and lets go of in this order when it ends.
struct WriterThread {
    connection: Connection,
    collections: Vec<&'static str>,
    counters: Counters,
    shared: Arc<Shared>,
    reader: Arc<SqliteReader>,
    condition: Arc<Condition>,
    checkpoints: Checkpoints,
    lock: Lock,
}

impl WriterThread {
    fn run(self, jobs: &Receiver<Job>, ready: &Ready<(), rusqlite::Error>) {
        let Self { connection, collections, counters, shared, reader, condition, checkpoints, lock } = self;
        match Writer::new(&connection, &collections, counters, Arc::clone(&shared), &checkpoints, &condition) {
            Ok(mut writer) => {
                // `open` waits for this, unless it has panicked.
                let _ = ready.send(Ok((shared, ())));
                writer.run(jobs);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
        // Readers and checkpointer first: the last connection of a file is the one that can take the log away.
        reader.close();
        checkpoints.stop();
        if condition.look().is_some() {
            checkpoint::rescue(&connection, &condition);
            connection::leave_log(&connection);
        } else {
            checkpoint::truncate(&connection);
        }
        if let Err((_, error)) = connection.close() {
            tracing::warn!("the database could not be closed: {error}");
        }
        drop(lock);
    }
}

/// The lock of a database. This is what [`crate::Sharing::OneProcess`] rests on: the operating system releases it when the
/// process ends, however that ends.
struct Lock(File);

impl Drop for Lock {
    /// Unlocks the file, as closing it is not enough: a child process that is being started still has it open, too.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!("the lock of a database is released when its file is closed: {error}");
        }
    }
}

/// Takes the lock of a database.
fn lock(path: &Path) -> Result<Lock, OpenError> {
    let unusable =
        |error: std::io::Error| OpenError::Unusable { path: path.display().to_string(), why: error.to_string() };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(unusable)?;
    }
    let beside = connection::beside(path, ".lock");
    let mut file = File::options().create(true).truncate(false).write(true).open(&beside).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {
            // Only for the message of the next process; the lock itself does not depend on it, so a full disk is not a
            // reason to stop.
            if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id())) {
                tracing::debug!("the holder of the lock is not written down: {error}");
            }
            Ok(Lock(file))
        }
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&beside).ok().and_then(|text| text.trim().parse().ok());
            Err(OpenError::InUse { path: path.display().to_string(), holder })
        }
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

impl ReadDatabase for SqliteDatabase {
    delegate!(reader: read);
}

impl RebuildDatabase for SqliteDatabase {
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

impl Database for SqliteDatabase {
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
        self.condition.failure().cloned()
    }

    fn stats(&self) -> Stats {
        Stats { log: self.log.stats(), disk_error: self.condition.disk_error(), ..self.queue.shared().stats() }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.queue.close()
    }
}
