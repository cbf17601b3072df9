//! Who may write: one process at a time. See *One process* in the page of the adapter.

use super::{
    address::PostgresAddress,
    failure::connect_error,
    pool::connect_text,
    schema,
    session::{Call, Role, Session, text_of},
};
use crate::{Identity, OpenError, Schema, limits, writing::Counters};
use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Instant};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// A connection that holds the lock of the database, and what it has found there.
pub(super) struct Holder {
    pub(super) session: Session,
    pub(super) backend: Backend,
    /// The number of the last transaction.
    pub(super) group: i64,
}

/// A connection as the server knows it.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    process: i32,
    started: String,
}

/// What a service finds in its database when it starts.
pub(super) struct Opened {
    pub(super) holder: Holder,
    pub(super) id: Uuid,
    pub(super) identity: Identity,
    pub(super) counters: Counters,
}

/// Why the lock was not taken again.
pub(super) enum NotHeld {
    /// It may be another time.
    Now(String),
    /// Another process was there meanwhile.
    TakenOver,
}

/// "JUMN", the class of our locks: others may lock something in the same database.
const CLASS: i32 = 0x4A55_4D4E;

/// Opens the database for its service: connects, takes the lock, migrates the schema. Waits some seconds for a server that
/// is being started, and for an earlier process that is being ended.
pub(super) async fn open(address: &PostgresAddress, path: &str, schema: &Schema) -> Result<Opened, OpenError> {
    let until = Instant::now() + limits::SERVER_START_MAX;
    let session = loop {
        match Session::connect(address, Role::Write).await.map_err(|error| connect_error(path, &error)) {
            Ok(session) => break session,
            Err(OpenError::Unreachable { .. }) if Instant::now() < until => {
                tokio::time::sleep(limits::RECONNECT_EVERY).await;
            }
            Err(error) => return Err(error),
        }
    };
    let failed = |error: Error| schema::open_error(path, &error);
    let found = schema::version(&session, address.schema(), path).await?;
    if !lock(&session, address, until).await.map_err(failed)? {
        return Err(OpenError::InUse { path: path.to_owned(), holder: None });
    }
    schema::migrate(&session, address.schema(), path, found).await?;
    let identity = schema::adopt(&session, path, schema).await?;
    warn_of_no_durability(&session, path).await.map_err(failed)?;
    let id = Uuid::new_v4();
    schema::set_meta(&session, HOLDER, id.to_string()).await.map_err(failed)?;
    let backend = Backend::of(&session).await.map_err(failed)?;
    let (counters, group) = load_counters(&session, schema).await.map_err(failed)?;
    Ok(Opened { holder: Holder { session, backend, group }, id, identity, counters })
}

/// Connects again after the connection was lost, ends what is left of the one before, and takes its lock.
pub(super) async fn again(address: Arc<PostgresAddress>, id: Uuid, before: Backend) -> Result<Holder, NotHeld> {
    let session = Session::connect(&address, Role::Write).await.map_err(|error| NotHeld::Now(connect_text(&error)))?;
    let failed = |error: Error| NotHeld::Now(text_of(&error));
    before.end(&session).await.map_err(failed)?;
    if !lock(&session, &address, Instant::now() + limits::SERVER_START_MAX).await.map_err(failed)? {
        return Err(NotHeld::Now("another process holds the database".to_owned()));
    }
    let sql =
        "SELECT (SELECT value FROM meta WHERE name = $1), coalesce((SELECT value FROM counters WHERE name = $2), 0)";
    let rows = session.query(&Call::new(sql).with(HOLDER).with(GROUPS)).await.map_err(failed)?;
    let row = rows.first().ok_or_else(|| NotHeld::Now("the server has not answered".to_owned()))?;
    let holder: Option<String> = row.try_get(0).map_err(failed)?;
    if holder != Some(id.to_string()) {
        return Err(NotHeld::TakenOver);
    }
    let group = row.try_get(1).map_err(failed)?;
    let backend = Backend::of(&session).await.map_err(failed)?;
    Ok(Holder { session, backend, group })
}

/// The counter of transactions.
pub(super) const GROUPS: &str = "groups";

const HOLDER: &str = "holder";

/// Takes the lock that the connection holds until it ends. Waits for it at most this long.
async fn lock(session: &Session, address: &PostgresAddress, until: Instant) -> Result<bool, Error> {
    let sql = "SELECT pg_try_advisory_lock($1, hashtext($2))";
    loop {
        let rows = session.query(&Call::new(sql).with(CLASS).with(address.schema())).await?;
        if rows.first().map_or(Ok(false), |row| row.try_get(0))? {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(limits::RECONNECT_EVERY).await;
    }
}

impl Backend {
    async fn of(session: &Session) -> Result<Self, Error> {
        let sql = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let rows = session.query(&Call::new(sql)).await?;
        let none = || Ok(Self { process: 0, started: String::new() });
        rows.first().map_or_else(none, |row| Ok(Self { process: row.try_get(0)?, started: row.try_get(1)? }))
    }

    /// Ends this connection, if the server still has it: what it was doing is done or undone then.
    async fn end(&self, session: &Session) -> Result<(), Error> {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2";
        session.query(&Call::new(sql).with(self.process).with(&self.started)).await.map(drop)
    }
}

async fn load_counters(session: &Session, schema: &Schema) -> Result<(Counters, i64), Error> {
    let pair = |row: &Row| Ok::<(String, i64), Error>((row.try_get(0)?, row.try_get(1)?));
    let rows = session.query(&Call::new("SELECT name, value FROM counters")).await?;
    let stored: HashMap<_, _> = rows.iter().map(pair).collect::<Result<_, _>>()?;
    let mut largest = HashMap::new();
    for collection in schema.collections.iter().map(|collection| collection.name) {
        let sql = format!("SELECT coalesce(max(id), 0) FROM {}", schema::table(collection));
        let rows = session.query(&Call::new(sql)).await?;
        largest.insert(collection, rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?);
    }
    let stored = |name: &str| stored.get(name).copied().unwrap_or(0);
    let largest = |name: &'static str| Ok::<_, Infallible>(largest.get(name).copied().unwrap_or(0));
    let Ok(counters) = Counters::load(schema, |name| Ok(stored(name)), largest);
    Ok((counters, stored(GROUPS)))
}

/// A server may be set up to lose what it has acknowledged. That is its owner's decision, and it is told.
async fn warn_of_no_durability(session: &Session, path: &str) -> Result<(), Error> {
    let sql = "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'";
    for row in session.query(&Call::new(sql)).await? {
        let setting: &str = row.try_get(0)?;
        tracing::warn!("{path}: `{setting}` is off on this server: a power cut may lose orders that were acknowledged");
    }
    Ok(())
}
