//! Threads for queries over many rows, so that no query blocks the thread that serves all requests.

use super::{condition::Condition, connection, counts::Counts, failure::StartError};
use crate::{ReadError, ReadFuture, limits};
use futures_util::future::FutureExt;
use rusqlite::Connection;
use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// What a query works with.
pub(super) struct QueryConnection {
    pub(super) connection: Connection,
    pub(super) counts: Counts,
    deadline: Arc<Deadline>,
}

type Task = Box<dyn FnOnce(&mut QueryConnection) + Send>;

/// A few connections, each with a thread of its own.
pub(super) struct Queries {
    queue: Mutex<Option<SyncSender<Task>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    longest: Duration,
    condition: Arc<Condition>,
}

/// Queries that pause, as long as this lives.
pub(super) struct Paused {
    _release: Vec<SyncSender<()>>,
}

impl Queries {
    /// `longest`: how long a query may take.
    pub(super) fn start(
        file: &Path,
        name: &str,
        connections: usize,
        longest: Duration,
        condition: Arc<Condition>,
    ) -> Result<Self, StartError> {
        let (queue, tasks) = sync_channel::<Task>(limits::QUERY_QUEUE_MAX);
        let tasks = Arc::new(Mutex::new(tasks));
        let mut threads = Vec::with_capacity(connections);
        for number in 1..=connections {
            let mut connection = connection::for_reading(file, 2048)?;
            let deadline = Arc::new(Deadline::new());
            let watched = Arc::clone(&deadline);
            // Every thousand steps, which is every few microseconds.
            connection.progress_handler(1_000, Some(move || watched.is_over()))?;
            let mut own = QueryConnection { connection, counts: Counts::default(), deadline };
            let tasks = Arc::clone(&tasks);
            let builder = thread::Builder::new().name(format!("{name}-{number}"));
            threads.push(builder.spawn(move || {
                while let Some(task) = next(&tasks) {
                    task(&mut own);
                }
            })?);
        }
        Ok(Self { queue: Mutex::new(Some(queue)), threads: Mutex::new(threads), longest, condition })
    }

    /// Runs a query in a transaction of its own. Skips it if the caller no longer waits.
    pub(super) fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut QueryConnection) -> rusqlite::Result<T> + Send + 'static,
    ) -> ReadFuture<'_, T> {
        let (sender, receiver) = oneshot::channel();
        let (longest, condition) = (self.longest, Arc::clone(&self.condition));
        let task = Box::new(move |own: &mut QueryConnection| {
            if !sender.is_closed() {
                let result = own.within(longest, query);
                let _ = sender.send(result.map_err(|error| condition.read_error(&error)));
            }
        });
        let queued = self.queue(task);
        async move {
            queued?;
            receiver.await.unwrap_or_else(|_| Err(ReadError::Unavailable("the query was not finished".to_owned())))
        }
        .boxed()
    }

    /// Lets all threads finish what they are at and then pause, as long as the returned value lives. They do not all pause
    /// if one takes longer than a query may.
    pub(super) fn pause(&self) -> Paused {
        let count = self.threads.lock().unwrap_or_else(PoisonError::into_inner).len();
        let (arrived, arrivals) = sync_channel(count);
        let mut release = Vec::with_capacity(count);
        for _ in 0..count {
            let (sender, receiver) = sync_channel::<()>(1);
            let arrived = arrived.clone();
            let pause = Box::new(move |_: &mut QueryConnection| {
                let _ = arrived.send(()); // nobody waits for it any more
                let _ = receiver.recv(); // ends when the sender is dropped
            });
            if self.queue(pause).is_ok() {
                release.push(sender);
            }
        }
        let until = Instant::now() + self.longest;
        for _ in 0..release.len() {
            let left = until.saturating_duration_since(Instant::now());
            if arrivals.recv_timeout(left).is_err() {
                break;
            }
        }
        Paused { _release: release }
    }

    fn queue(&self, task: Task) -> Result<(), ReadError> {
        let unavailable = |why: &str| Err(ReadError::Unavailable(why.to_owned()));
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().map(|queue| queue.try_send(task)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => unavailable("too many queries wait"),
            Some(Err(TrySendError::Disconnected(_))) | None => unavailable("it is closed"),
        }
    }

    /// Ends the threads after what is queued, so that their connections are closed.
    pub(super) fn stop(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a query thread has panicked");
            }
        }
    }
}

fn next(tasks: &Mutex<Receiver<Task>>) -> Option<Task> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl QueryConnection {
    fn within<T>(
        &mut self,
        longest: Duration,
        query: impl FnOnce(&mut QueryConnection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.deadline.set(longest);
        let result = query(self);
        self.deadline.clear();
        result
    }
}

/// The deadline of the current query.
struct Deadline {
    started: Instant,
    /// In nanoseconds after `started`.
    at: AtomicU64,
}

impl Deadline {
    fn new() -> Self {
        Self { started: Instant::now(), at: AtomicU64::new(u64::MAX) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn set(&self, longest: Duration) {
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        self.at.store(self.now().saturating_add(longest), Ordering::Relaxed);
    }

    fn clear(&self) {
        self.at.store(u64::MAX, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at != u64::MAX && self.now() >= at
    }
}
