//! The way to the writer: its thread, and the jobs that wait for it.

use super::{
    job::{Done, Job, Outcome, Shadow, Work},
    shared::Shared,
};
use crate::{
    Changes, CommitError, CommitFuture, Document, Position, ReadError, ReadFuture, Receipt, Schema, limits, rules,
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};
use tokio::sync::{oneshot, watch};

/// The queue to a writer, and its thread. Dropping it has the writer finish what is queued, and waits for that.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    /// None once it is closed.
    jobs: Mutex<Option<SyncSender<Job>>>,
    /// Ends when the writer has let go of the database.
    working: watch::Receiver<()>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Through which a writer says that it is ready, or why it is not.
pub(crate) type Ready<T, E> = SyncSender<Result<(Arc<Shared>, T), E>>;

/// Why a writer did not start.
pub(crate) enum NotStarted<E> {
    /// There is no thread for it.
    Thread(io::Error),
    /// It has panicked.
    Panicked,
    /// It says so itself.
    Failed(E),
}

impl Queue {
    /// Starts a writer. `run` works until its queue is closed, and has let go of everything when it returns. It says through
    /// the sender when it is ready, and gives what it shows to other threads; this waits for that.
    pub(crate) fn start<T: Send + 'static, E: Send + 'static>(
        service: &str,
        run: impl FnOnce(&Receiver<Job>, &Ready<T, E>) + Send + 'static,
    ) -> Result<(Self, T), NotStarted<E>> {
        let (jobs, queue) = sync_channel(limits::QUEUE_MAX_JOBS);
        let (ready, prepared) = sync_channel(1);
        let (alive, working) = watch::channel(());
        let builder = thread::Builder::new().name(format!("{service}-write"));
        let writer = builder.spawn(move || {
            run(&queue, &ready);
            drop(alive);
        });
        let writer = writer.map_err(NotStarted::Thread)?;
        let (shared, own) = match prepared.recv() {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => return Err(NotStarted::Failed(error)),
            Err(_) => return Err(NotStarted::Panicked),
        };
        Ok((Self { shared, jobs: Mutex::new(Some(jobs)), working, writer: Mutex::new(Some(writer)) }, own))
    }

    /// What the writer has done since the start.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// See [`crate::Database::commit`].
    pub(crate) fn commit(&self, checked: Result<(), CommitError>, changes: Changes) -> CommitFuture<'_, Receipt> {
        self.job(
            checked,
            || Work::Commit(changes),
            |done| match done {
                Done::Committed(receipt) => Some(receipt),
                _ => None,
            },
        )
    }

    /// See [`crate::Database::purge_requests`].
    pub(crate) fn purge(&self, before_ms: i64, keep_at_most: u64) -> CommitFuture<'_, u64> {
        self.job(
            Ok(()),
            || Work::Purge { before_ms, keep_at_most },
            |done| match done {
                Done::Purged(count) => Some(count),
                _ => None,
            },
        )
    }

    /// Changes a shadow. Returns whether it is gone.
    fn shadow(&self, checked: Result<(), CommitError>, work: impl FnOnce() -> Shadow) -> CommitFuture<'_, bool> {
        self.job(
            checked,
            || Work::Shadow(work()),
            |done| match done {
                Done::Shadow(is_gone) => Some(is_gone),
                _ => None,
            },
        )
    }

    /// See [`crate::RebuildDatabase::clear_shadow`].
    pub(crate) fn clear_shadow(&self, schema: &Schema, collection: &'static str) -> CommitFuture<'_, bool> {
        self.shadow(rules::check_collections(&[collection], schema), || Shadow::Clear(collection))
    }

    /// See [`crate::RebuildDatabase::write_shadow`] and [`crate::RebuildDatabase::write_next_base`].
    pub(crate) fn write_shadow(
        &self,
        schema: &Schema,
        collection: &'static str,
        documents: Vec<Document>,
        is_next_base: bool,
    ) -> CommitFuture<'_, ()> {
        let checked = rules::check_shadow(collection, &documents, schema);
        let written = self.shadow(checked, || Shadow::Write { collection, documents, is_next_base });
        async move { written.await.map(drop) }.boxed()
    }

    /// See [`crate::RebuildDatabase::switch_shadows`].
    pub(crate) fn switch_shadows(
        &self,
        schema: &Schema,
        collections: Vec<&'static str>,
        positions: Vec<Position>,
    ) -> CommitFuture<'_, ()> {
        let checked = rules::check_collections(&collections, schema);
        let switched = self.shadow(checked, || Shadow::Switch { collections, positions });
        async move { switched.await.map(drop) }.boxed()
    }

    /// See [`crate::RebuildDatabase::keep_bases`].
    pub(crate) fn keep_bases(
        &self,
        schema: &Schema,
        collections: Vec<&'static str>,
        positions: Vec<Position>,
    ) -> CommitFuture<'_, ()> {
        let checked = rules::check_collections(&collections, schema);
        let kept = self.shadow(checked, || Shadow::Keep { collections, positions });
        async move { kept.await.map(drop) }.boxed()
    }

    /// See [`crate::Database::next_id`].
    pub(crate) fn next_id(&self, collection: &'static str) -> ReadFuture<'_, i64> {
        let next = self.shared.ids.next(collection);
        ready(next.ok_or_else(|| ReadError::Unavailable(format!("there are no ids for `{collection}`")))).boxed()
    }

    fn job<T: Send + 'static>(
        &self,
        checked: Result<(), CommitError>,
        work: impl FnOnce() -> Work,
        of: fn(Done) -> Option<T>,
    ) -> CommitFuture<'_, T> {
        if let Err(error) = checked {
            return ready(Err(error)).boxed();
        }
        self.shared.courier.hire();
        let (caller, answer) = oneshot::channel();
        let queued = self.push(Job { work: work(), caller });
        async move {
            queued?;
            let outcome: Outcome =
                answer.await.unwrap_or_else(|_| Err(CommitError::Unknown("the writer has ended".to_owned())));
            of(outcome?).ok_or_else(|| CommitError::Unknown("the writer did something else".to_owned()))
        }
        .boxed()
    }

    fn push(&self, job: Job) -> Result<(), CommitError> {
        let not_done = |why: &str| Err(CommitError::NotDone(why.to_owned()));
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(jobs) = jobs.as_ref() else { return not_done("the database is closed") };
        match jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => not_done("too many commits wait for the database"),
            Err(TrySendError::Disconnected(_)) => not_done("the writer has ended"),
        }
    }

    /// Closes the queue. The future ends when the writer has finished what is queued and let go of everything.
    pub(crate) fn close(&self) -> BoxFuture<'_, ()> {
        self.hang_up();
        let mut working = self.working.clone();
        async move {
            // An error says that the writer's end is gone: it has closed everything.
            while working.changed().await.is_ok() {}
            self.join();
        }
        .boxed()
    }

    fn hang_up(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
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

impl Drop for Queue {
    fn drop(&mut self) {
        self.hang_up();
        self.join();
        self.shared.courier.dismiss();
    }
}

/// Fills a group; false when there will never be another.
///
/// The first job is waited for. Then everything that is there is taken. If the last group had more than one job, its
/// callers are probably about to come back, so they get a moment, until as many are here.
pub(crate) fn gather(queue: &Receiver<Job>, group: &mut Vec<Job>, last_size: usize) -> bool {
    let Ok(first) = queue.recv() else { return false };
    group.push(first);
    let mut until = None;
    while group.len() < limits::GROUP_MAX_JOBS {
        match queue.try_recv() {
            Ok(job) => group.push(job),
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) if group.len() >= last_size => break,
            Err(TryRecvError::Empty) => {
                let now = Instant::now();
                let until = *until.get_or_insert(now + limits::GROUP_LINGER);
                match queue.recv_timeout(until.saturating_duration_since(now)) {
                    Ok(job) => group.push(job),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
        }
    }
    true
}
