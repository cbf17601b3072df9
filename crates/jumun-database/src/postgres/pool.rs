//! The connections that read. Each is made when it is first needed, and again when it is lost.

use super::{
    address::PostgresAddress,
    session::{Call, ConnectError, Role, Session, is_lost, text_of},
};
use crate::{ReadError, limits};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::sync::{Mutex, Semaphore};
use tokio_postgres::{Error, Row, error::SqlState};

/// The connections of one database that read.
pub(super) struct Pool {
    address: Arc<PostgresAddress>,
    closed: AtomicBool,
    /// For reads of one row or a few. They share the round trips of one connection.
    point: Slot,
    /// For the service itself: journal and requests. No client's query delays these.
    own: Slot,
    /// For clients: pages and scans. Each query has its connection for itself.
    queries: [Slot; limits::QUERY_CONNECTIONS],
    free: Semaphore,
    waiting: AtomicUsize,
}

/// Which of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Point,
    Own,
}

/// A place for a connection.
type Slot = Mutex<Place>;

#[derive(Default)]
struct Place {
    session: Option<Arc<Session>>,
    refused: Option<(Instant, ReadError)>,
}

impl Pool {
    pub(super) fn new(address: Arc<PostgresAddress>) -> Self {
        Self {
            address,
            closed: AtomicBool::new(false),
            point: Slot::default(),
            own: Slot::default(),
            queries: Default::default(),
            free: Semaphore::new(limits::QUERY_CONNECTIONS),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Reads rows. A connection that turns out to be lost is made again, once: a read changes nothing.
    pub(super) async fn read<T>(
        &self,
        which: Use,
        call: Call<'static>,
        of: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, ReadError> {
        let (slot, role) = match which {
            Use::Point => (&self.point, Role::Point),
            Use::Own => (&self.own, Role::Query),
        };
        let mut is_again = false;
        loop {
            let session = self.session(&mut *slot.lock().await, role).await?;
            match tokio::time::timeout(2 * limits::READ_MAX, session.query(&call)).await {
                Ok(Ok(rows)) => {
                    return rows.iter().map(of).collect::<Result<_, _>>().map_err(|error| read_error(&error));
                }
                Ok(Err(error)) if !is_again && is_lost(&error) => is_again = true,
                Ok(Err(error)) => return Err(read_error(&error)),
                Err(_) => {
                    slot.lock().await.forget(&session);
                    return Err(ReadError::TooLong);
                }
            }
            slot.lock().await.forget(&session);
        }
    }

    /// Runs a query of a client: statements that are sent all at once. The rows of each.
    pub(super) async fn query(&self, calls: &[Call<'static>]) -> Result<Vec<Vec<Row>>, ReadError> {
        let queue = Waiting::of(&self.waiting)?;
        let permit = self.free.acquire().await.map_err(|_| closed())?;
        drop(queue);
        // There are as many permits as slots.
        let free = self.queries.iter().find_map(|slot| slot.try_lock().ok());
        let mut place = free.ok_or_else(|| ReadError::Unavailable("no connection is free".to_owned()))?;
        let mut is_again = false;
        let result = loop {
            let session = self.session(&mut place, Role::Query).await?;
            match tokio::time::timeout(2 * limits::READ_MAX, session.pipeline(calls)).await {
                Ok(Ok(rows)) => break Ok(rows),
                Ok(Err(error)) if !is_again && is_lost(&error) => is_again = true,
                Ok(Err(error)) => break Err(read_error(&error)),
                Err(_) => {
                    place.forget(&session);
                    break Err(ReadError::TooLong);
                }
            }
            place.forget(&session);
        };
        drop(place);
        drop(permit);
        result
    }

    /// Lets go of all connections. Later reads are answered [`ReadError::Unavailable`].
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.free.close();
        for slot in [&self.point, &self.own].into_iter().chain(&self.queries) {
            // One that is in use is dropped with its query.
            if let Ok(mut place) = slot.try_lock() {
                place.session = None;
            }
        }
    }

    async fn session(&self, place: &mut Place, role: Role) -> Result<Arc<Session>, ReadError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        if let Some(session) = place.session.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        // While a server is away, each of many reads need not ask it.
        if let Some((_, error)) = place.refused.as_ref().filter(|(at, _)| at.elapsed() < limits::RECONNECT_EVERY) {
            return Err(error.clone());
        }
        match Session::connect(&self.address, role).await {
            Ok(session) => Ok(Arc::clone(place.session.insert(Arc::new(session)))),
            Err(error) => {
                let error = ReadError::Unavailable(connect_text(&error));
                place.refused = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

impl Place {
    fn forget(&mut self, lost: &Arc<Session>) {
        if self.session.as_ref().is_some_and(|session| Arc::ptr_eq(session, lost)) {
            self.session = None;
        }
    }
}

/// A query that waits for a connection.
struct Waiting<'p>(&'p AtomicUsize);

impl<'p> Waiting<'p> {
    fn of(count: &'p AtomicUsize) -> Result<Self, ReadError> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= limits::QUERY_QUEUE_MAX {
            return Err(ReadError::Unavailable("too many queries wait".to_owned()));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn closed() -> ReadError {
    ReadError::Unavailable("it is closed".to_owned())
}

/// Why there is no connection, as the callers of reads and commits learn it.
pub(super) fn connect_text(error: &ConnectError) -> String {
    format!("the database server cannot be reached: {error}")
}

/// What a failed read means for its caller.
pub(super) fn read_error(error: &Error) -> ReadError {
    match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => ReadError::TooLong,
        _ => ReadError::Unavailable(text_of(error)),
    }
}
