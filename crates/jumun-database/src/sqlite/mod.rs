//! A database in one file of `SQLite`, for one process.
//!
//! Threads: one that writes ([`writer`]), one that folds the log back ([`checkpoint`]), a few for queries over many
//! rows ([`queries`]). Reads of one row run where they are called ([`reader`]). Nothing here knows a runtime.

mod answers;
mod checkpoint;
mod condition;
mod connection;
mod counters;
mod counts;
mod failure;
mod files;
mod holders;
mod ids;
mod job;
mod queries;
mod reader;
mod rows;
mod schema;
mod shadow;
mod statements;
mod writer;

pub use reader::SqliteReader;

use crate::{
    Changes, CommitError, CommitFuture, Database, DatabaseFailure, Document, OpenError, Position, ReadDatabase,
    ReadError, ReadFuture, RebuildDatabase, Receipt, Schema, Stats, delegate, limits, rules,
};
use checkpoint::{Checkpoints, Log};
use condition::Condition;
use counters::Counters;
use failure::open_error;
use files::Files;
use futures_util::future::{BoxFuture, FutureExt, ready};
use job::{Done, Job, Outcome, Work};
use rusqlite::Connection;
use shadow::Shadow;
use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::Path,
    process,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::{oneshot, watch};
use writer::{Shared, Writer};

/// A database in one file of `SQLite`.
///
/// The file has a lock beside it, held as long as this value lives and until [`Database::close`] is done. Dropping it
/// does the same as closing it, and waits for that.
pub struct SqliteDatabase {
    schema: Schema,
    reader: Arc<SqliteReader>,
    shared: Arc<Shared>,
    condition: Arc<Condition>,
    log: Arc<Log>,
    /// None once it is closed.
    queue: Mutex<Option<SyncSender<Job>>>,
    /// Ends when the writer has let go of the files.
    working: watch::Receiver<()>,
    writer: Mutex<Option<JoinHandle<()>>>,
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
        let counters = Counters::load(&connection, path, &schema)?;
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

        let (queue, jobs) = sync_channel(limits::QUEUE_MAX_JOBS);
        let (ready, prepared) = sync_channel(1);
        let (alive, working) = watch::channel(());
        let thread = WriterThread {
            connection,
            collections: schema.collections.iter().map(|collection| collection.name).collect(),
            counters,
            shared: Arc::clone(&shared),
            reader: Arc::clone(&reader),
            condition: Arc::clone(&condition),
            checkpoints,
            lock,
            alive,
        };
        let writer = thread::Builder::new()
            .name(format!("{}-write", schema.service))
            .spawn(move || thread.run(&jobs, &ready))
            .map_err(|error| unusable(&error))?;
        match prepared.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(open_error(path, &error)),
            Err(_) => return Err(unusable(&"the writer has panicked")),
        }
        let (queue, writer) = (Mutex::new(Some(queue)), Mutex::new(Some(writer)));
        Ok(Self { schema, reader, shared, condition, log, queue, working, writer })
    }

    fn submit(&self, work: Work) -> BoxFuture<'_, Outcome> {
        self.shared.courier.hire();
        let (caller, answer) = oneshot::channel();
        let queued = self.queue(Job { work, caller });
        async move {
            queued?;
            match answer.await {
                Ok(outcome) => outcome,
                Err(_) => Err(CommitError::Unknown("the writer has ended".to_owned())),
            }
        }
        .boxed()
    }

    fn submit_shadow(&self, checked: Result<(), CommitError>, work: impl FnOnce() -> Shadow) -> CommitFuture<'_, bool> {
        if let Err(error) = checked {
            return ready(Err(error)).boxed();
        }
        let outcome = self.submit(Work::Shadow(work()));
        async move {
            match outcome.await? {
                Done::Shadow(gone) => Ok(gone),
                _ => Err(did_something_else()),
            }
        }
        .boxed()
    }

    fn queue(&self, job: Job) -> Result<(), CommitError> {
        let not_done = |why: &str| Err(CommitError::NotDone(why.to_owned()));
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else { return not_done("the database is closed") };
        match queue.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => not_done("too many commits wait for the disk"),
            Err(TrySendError::Disconnected(_)) => not_done("the writer has ended"),
        }
    }

    /// Closes the queue: the writer finishes what is queued, closes everything and ends.
    fn hang_up(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn join(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer has panicked");
        }
    }
}

impl Drop for SqliteDatabase {
    fn drop(&mut self) {
        self.hang_up();
        self.join();
        self.shared.courier.dismiss();
    }
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
    alive: watch::Sender<()>,
}

impl WriterThread {
    fn run(self, jobs: &Receiver<Job>, ready: &SyncSender<rusqlite::Result<()>>) {
        let Self { connection, collections, counters, shared, reader, condition, checkpoints, lock, alive } = self;
        match Writer::new(&connection, &collections, counters, shared, &checkpoints, &condition) {
            Ok(mut writer) => {
                // `open` waits for this, unless it has panicked.
                let _ = ready.send(Ok(()));
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
        drop(alive);
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

fn did_something_else() -> CommitError {
    CommitError::Unknown("the writer did something else".to_owned())
}

impl ReadDatabase for SqliteDatabase {
    delegate!(reader: read);
}

impl RebuildDatabase for SqliteDatabase {
    fn clear_shadow(&self, collection: &'static str) -> CommitFuture<'_, bool> {
        self.submit_shadow(rules::check_collections(&[collection], &self.schema), || Shadow::Clear(collection))
    }

    fn write_shadow(&self, collection: &'static str, documents: Vec<Document>) -> CommitFuture<'_, ()> {
        let checked = rules::check_shadow(collection, &documents, &self.schema);
        let written = self.submit_shadow(checked, || Shadow::Write { collection, documents, is_next_base: false });
        async move { written.await.map(drop) }.boxed()
    }

    fn read_shadow(&self, collection: &'static str, ids: Vec<i64>) -> ReadFuture<'_, Vec<Document>> {
        self.reader.read_shadow(collection, ids)
    }

    fn switch_shadows(&self, collections: Vec<&'static str>, positions: Vec<Position>) -> CommitFuture<'_, ()> {
        let checked = rules::check_collections(&collections, &self.schema);
        let switched = self.submit_shadow(checked, || Shadow::Switch { collections, positions });
        async move { switched.await.map(drop) }.boxed()
    }

    fn write_next_base(&self, collection: &'static str, documents: Vec<Document>) -> CommitFuture<'_, ()> {
        let checked = rules::check_shadow(collection, &documents, &self.schema);
        let written = self.submit_shadow(checked, || Shadow::Write { collection, documents, is_next_base: true });
        async move { written.await.map(drop) }.boxed()
    }

    fn keep_bases(&self, collections: Vec<&'static str>, positions: Vec<Position>) -> CommitFuture<'_, ()> {
        let checked = rules::check_collections(&collections, &self.schema);
        let kept = self.submit_shadow(checked, || Shadow::Keep { collections, positions });
        async move { kept.await.map(drop) }.boxed()
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
        if let Err(error) = rules::check_limits(&changes, &self.schema) {
            return ready(Err(error)).boxed();
        }
        let outcome = self.submit(Work::Commit(changes));
        async move {
            match outcome.await? {
                Done::Committed(receipt) => Ok(receipt),
                _ => Err(did_something_else()),
            }
        }
        .boxed()
    }

    fn next_id(&self, collection: &'static str) -> ReadFuture<'_, i64> {
        let next = self.shared.ids.next(collection);
        ready(next.ok_or_else(|| ReadError::Unavailable(format!("there are no ids for `{collection}`")))).boxed()
    }

    fn purge_requests(&self, before_ms: i64, keep_at_most: u64) -> CommitFuture<'_, u64> {
        let outcome = self.submit(Work::Purge { before_ms, keep_at_most });
        async move {
            match outcome.await? {
                Done::Purged(count) => Ok(count),
                _ => Err(did_something_else()),
            }
        }
        .boxed()
    }

    fn failure(&self) -> Option<DatabaseFailure> {
        self.condition.failure().cloned()
    }

    fn stats(&self) -> Stats {
        Stats { log: self.log.stats(), disk_error: self.condition.disk_error(), ..self.shared.stats() }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.hang_up();
        let mut working = self.working.clone();
        async move {
            // An error says that the writer's end is gone: it has closed everything.
            while working.changed().await.is_ok() {}
            self.join();
        }
        .boxed()
    }
}
