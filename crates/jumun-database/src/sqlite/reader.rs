//! Reading, by the service itself and by other processes.

use super::{
    condition::Condition,
    connection,
    counts::Counted,
    failure::open_error,
    files,
    queries::{Paused, Queries, QueryConnection},
    rows,
    schema::{self, StoredCollection},
    shadow,
};
use crate::{
    Direction, Document, Identity, JournalRecord, Lookup, OpenError, Page, Position, Query, ReadDatabase, ReadError,
    ReadFuture, Request, RequestFilter, RequestState, Waiting, limits,
    values::{Number, Wanted},
    writing::shown,
};
use futures_util::future::{FutureExt, ready};
use rusqlite::{Connection, OptionalExtension, params, types::Value};
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt::Write,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// Reads a database of `SQLite` beside the process that writes it, or after that process has stopped or was killed.
///
/// It takes no lock that a writer waits for, makes no file of its own but `SQLite`'s shared memory, and changes
/// nothing. What the service keeps is read from the database itself.
pub struct SqliteReader {
    identity: Identity,
    collections: Arc<HashMap<String, Known>>,
    /// For reads of one row or a few. They take microseconds, less than a hand-over to another thread and back, so they
    /// run on the caller's thread. No caller holds this lock for longer than such a read.
    point: Mutex<Option<Connection>>,
    /// For clients: pages and scans.
    queries: Queries,
    /// For the service itself: journal and requests. No client's query delays these.
    own: Queries,
    condition: Arc<Condition>,
}

/// A collection that is in the database.
struct Known {
    table: String,
    fields: Vec<String>,
}

impl SqliteReader {
    /// Opens the database in this file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable =
            |error: io::Error| OpenError::Unusable { path: path.display().to_string(), why: error.to_string() };
        let path = &*files::resolve(path).map_err(unusable)?;
        Self::open_with(path, limits::READ_MAX, Arc::new(Condition::new(path)))
    }

    /// As [`Self::open`], with another limit than [`limits::READ_MAX`], for a database of this condition.
    pub(super) fn open_with(path: &Path, longest: Duration, condition: Arc<Condition>) -> Result<Self, OpenError> {
        let file = || path.display().to_string();
        connection::check_file(path)?;
        if !path.exists() {
            return Err(OpenError::Missing { path: file() });
        }
        let failed = |error| open_error(path, &error);
        let point = connection::for_reading(path, 2048).map_err(failed)?;
        let newest = schema::MIGRATIONS.len();
        let version = schema::inspect(&point, path, newest)?;
        if version == 0 {
            return Err(OpenError::Missing { path: file() });
        }
        if (version as usize) < newest {
            let known = u32::try_from(newest).unwrap_or(u32::MAX);
            return Err(OpenError::Older { path: file(), found: version, known });
        }
        let stored = schema::load(&point, path)?;
        let start = |name: &str, connections| {
            Queries::start(path, name, connections, longest, Arc::clone(&condition))
                .map_err(|error| OpenError::Unusable { path: file(), why: error.to_string() })
        };
        let queries = start(&format!("{}-query", stored.identity.service), limits::QUERY_CONNECTIONS)?;
        let own = start(&format!("{}-own", stored.identity.service), 1)?;
        point.busy_timeout(limits::POINT_BUSY_MAX).map_err(failed)?;
        let known = |collection: StoredCollection| {
            (collection.name.clone(), Known { table: schema::table(&collection.name), fields: collection.fields })
        };
        Ok(Self {
            identity: stored.identity,
            collections: Arc::new(stored.collections.into_iter().map(known).collect()),
            point: Mutex::new(Some(point)),
            queries,
            own,
            condition,
        })
    }

    /// Lets go of the file. Later reads are answered [`ReadError::Unavailable`].
    pub(super) fn close(&self) {
        drop(self.point.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.queries.stop();
        self.own.stop();
    }

    /// Reads here and now; see [`Self::point`].
    fn read<T: Send + 'static>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> ReadFuture<'_, T> {
        let result = match &*self.point.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(connection) => read(connection).map_err(|error| self.condition.read_error(&error)),
            None => Err(ReadError::Unavailable("it is closed".to_owned())),
        };
        ready(result).boxed()
    }

    /// Pauses the queries of clients, as long as the returned value lives.
    pub(super) fn pause_queries(&self) -> Paused {
        self.queries.pause()
    }

    /// See [`crate::RebuildDatabase::read_shadow`].
    pub(super) fn read_shadow(&self, collection: &'static str, ids: Vec<i64>) -> ReadFuture<'_, Vec<Document>> {
        self.queries.run(move |own| {
            if !shadow::exists(&own.connection, collection)? {
                return Ok(Vec::new());
            }
            let sql = format!("SELECT {} FROM {} WHERE id = ?1", rows::DOCUMENT, shadow::table(collection));
            let transaction = own.connection.transaction()?;
            let mut statement = transaction.prepare_cached(&sql)?;
            let mut found = Vec::with_capacity(ids.len());
            for id in ids.into_iter().take(limits::PAGE_MAX_ROWS as usize) {
                found.extend(statement.query_row([id], rows::document).optional()?);
            }
            Ok(found)
        })
    }

    /// See [`crate::RebuildDatabase::base`].
    pub(super) fn base(&self, collection: &'static str) -> ReadFuture<'_, Option<Vec<Position>>> {
        self.queries.run(move |own| {
            let transaction = own.connection.transaction()?;
            if !shadow::base_exists(&transaction, collection)? {
                return Ok(None);
            }
            let sql = "SELECT source, partition, epoch, sequence FROM bases WHERE collection = ?1
                ORDER BY source, partition";
            let mut statement = transaction.prepare_cached(sql)?;
            statement.query_map([collection], rows::position)?.collect::<rusqlite::Result<_>>().map(Some)
        })
    }

    /// See [`crate::RebuildDatabase::scan_base`].
    pub(super) fn scan_base(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>> {
        self.queries.run(move |own| {
            let transaction = own.connection.transaction()?;
            if !shadow::base_exists(&transaction, collection)? {
                return Ok(Vec::new());
            }
            let (columns, base) = (rows::DOCUMENT, shadow::base_table(collection));
            let sql = format!("SELECT {columns} FROM {base} WHERE id > ?1 ORDER BY id LIMIT ?2");
            let mut statement = transaction.prepare_cached(&sql)?;
            statement.query_map(params![after, limit.min(limits::PAGE_MAX_ROWS)], rows::document)?.collect()
        })
    }

    fn point_request(&self, wanted: &str, value: impl rusqlite::ToSql) -> ReadFuture<'_, Option<Request>> {
        self.read(|connection| {
            let sql = format!("SELECT {} FROM requests WHERE {wanted} = ?1", rows::REQUEST);
            connection.prepare_cached(&sql)?.query_row([value], rows::request).optional()
        })
    }
}

impl Drop for SqliteReader {
    fn drop(&mut self) {
        self.close();
    }
}

impl ReadDatabase for SqliteReader {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn document(&self, collection: &'static str, id: i64) -> ReadFuture<'_, Option<Document>> {
        let Some(known) = self.collections.get(collection) else { return ready(Ok(None)).boxed() };
        self.read(|connection| {
            let sql = format!("SELECT {} FROM {} WHERE id = ?1", rows::DOCUMENT, known.table);
            connection.prepare_cached(&sql)?.query_row([id], rows::document).optional()
        })
    }

    /// In one transaction: to begin and end one costs more than to read a row.
    fn documents(&self, keys: Vec<(&'static str, i64)>) -> ReadFuture<'_, Vec<Option<Document>>> {
        self.read(move |connection| {
            let transaction = connection.unchecked_transaction()?;
            let mut found = Vec::with_capacity(keys.len());
            let mut keys = keys.iter().peekable();
            while let Some((collection, _)) = keys.peek() {
                let Some(known) = self.collections.get(*collection) else {
                    keys.next();
                    found.push(None);
                    continue;
                };
                let sql = format!("SELECT {} FROM {} WHERE id = ?1", rows::DOCUMENT, known.table);
                let mut statement = transaction.prepare_cached(&sql)?;
                while let Some((_, id)) = keys.next_if(|(another, _)| another == collection) {
                    found.push(statement.query_row([id], rows::document).optional()?);
                }
            }
            Ok(found)
        })
    }

    fn first(&self, lookup: Lookup) -> ReadFuture<'_, Vec<i64>> {
        let Lookup { collection, fields, values, after, limit } = lookup;
        let has = |known: &&Known| fields.iter().all(|field| known.fields.iter().any(|other| other == field));
        let Some(known) = self.collections.get(collection).filter(has) else { return ready(Ok(Vec::new())).boxed() };
        let values = values.into_iter().map(|value| match value {
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Number(number) => number.as_i64().map_or(Value::Null, Value::Integer),
            _ => Value::Null, // equal to nothing
        });
        let values: Vec<_> = values.chain([after, at_most(limit)].map(Value::Integer)).collect();
        self.read(move |connection| {
            let equal: Vec<_> = fields.iter().map(|name| format!("{} = ?", schema::field(name))).collect();
            let (table, equal) = (&known.table, equal.join(" AND "));
            let sql = format!("SELECT id FROM {table} WHERE shown = 1 AND {equal} AND id > ? ORDER BY id LIMIT ?");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_map(rusqlite::params_from_iter(values), |row| row.get(0))?.collect()
        })
    }

    /// A sort field that the collection does not have is ignored; a filter field that it does not have matches nothing.
    fn page(&self, query: Query) -> ReadFuture<'_, Page> {
        let collections = Arc::clone(&self.collections);
        self.queries.run(move |own| match collections.get(query.collection) {
            Some(known) => page(own, known, query),
            None => Ok(Page::default()),
        })
    }

    fn scan(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>> {
        let Some(known) = self.collections.get(collection) else { return ready(Ok(Vec::new())).boxed() };
        let sql = format!("SELECT {} FROM {} WHERE id > ?1 ORDER BY id LIMIT ?2", rows::DOCUMENT, known.table);
        self.queries.run(move |own| {
            own.connection.prepare_cached(&sql)?.query_map([after, at_most(limit)], rows::document)?.collect()
        })
    }

    fn request_by_key(&self, key: &str) -> ReadFuture<'_, Option<Request>> {
        self.point_request("key", key)
    }

    fn request(&self, id: Uuid) -> ReadFuture<'_, Option<Request>> {
        self.point_request("id", id.as_bytes())
    }

    fn requests(&self, filter: RequestFilter) -> ReadFuture<'_, Vec<Request>> {
        let wanted = match (filter.state, filter.until_before_ms) {
            // By its time: `+id` keeps SQLite from using an index of `id`.
            (RequestState::Delayed, Some(_)) => "state = 'delayed' AND state = ?1 AND +id > ?2".to_owned(),
            (state, _) if state.is_in_doubt() => format!("{} AND state = ?1 AND id > ?2", rows::IN_DOUBT),
            _ => "state = ?1 AND id > ?2".to_owned(),
        };
        let sql = format!(
            "SELECT {} FROM requests WHERE {wanted} AND until_ms < ?3 AND (?4 IS NULL OR ask_service = ?4)
             ORDER BY id LIMIT ?5",
            rows::REQUEST
        );
        self.own.run(move |own| {
            // Nothing is before the nil id, and nothing is given up in all eternity.
            let (after, before) = (filter.after.unwrap_or_default(), filter.until_before_ms.unwrap_or(i64::MAX));
            let values =
                params![filter.state.as_str(), after.as_bytes(), before, filter.service, at_most(filter.limit)];
            own.connection.prepare_cached(&sql)?.query_map(values, rows::request)?.collect()
        })
    }

    fn doubts_about(&self, subject: i64) -> ReadFuture<'_, Vec<Request>> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {} FROM requests WHERE {} AND subject = ?1 ORDER BY id LIMIT ?2",
                rows::REQUEST,
                rows::IN_DOUBT
            );
            let values = [subject, i64::from(limits::PAGE_MAX_ROWS)];
            connection.prepare_cached(&sql)?.query_map(values, rows::request)?.collect()
        })
    }

    fn due(&self, until_ms: i64, limit: u32) -> ReadFuture<'_, Vec<Waiting>> {
        // Another release may have left waits of a collection that this one does not keep.
        let known: Vec<_> = self.collections.keys().map(|name| format!("'{name}'")).collect();
        let known = known.join(", ");
        self.own.run(move |own| {
            let sql = format!(
                "SELECT collection, id, name, due_ms, trace FROM waits WHERE due_ms <= ?1 AND collection IN ({known})
                 ORDER BY due_ms, id, collection LIMIT ?2"
            );
            own.connection.prepare_cached(&sql)?.query_map([until_ms, at_most(limit)], rows::waiting)?.collect()
        })
    }

    fn waits_of(&self, id: i64) -> ReadFuture<'_, Vec<Waiting>> {
        self.read(|connection| {
            let sql = "SELECT collection, id, name, due_ms, trace FROM waits WHERE id = ?1 ORDER BY collection";
            connection.prepare_cached(sql)?.query_map([id], rows::waiting)?.collect()
        })
    }

    fn journal(&self, partition: u16, after: u64, limit: u32) -> ReadFuture<'_, Vec<JournalRecord>> {
        self.own.run(move |own| {
            let sql = "SELECT partition, sequence, event_type, key, time_ms, body, trace FROM journal
                 WHERE partition = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";
            let values = params![partition, rows::signed(after), at_most(limit)];
            own.connection.prepare_cached(sql)?.query_map(values, rows::event)?.collect()
        })
    }

    fn positions(&self) -> ReadFuture<'_, Vec<Position>> {
        self.read(|connection| {
            let sql = "SELECT source, partition, epoch, sequence FROM places ORDER BY source, partition";
            connection.prepare_cached(sql)?.query_map([], rows::position)?.collect()
        })
    }
}

/// Total and documents as of the same moment, in one transaction.
fn page(own: &mut QueryConnection, known: &Known, query: Query) -> rusqlite::Result<Page> {
    let QueryConnection { connection, counts, .. } = own;
    let transaction = connection.transaction()?;
    let has = |name: &str| known.fields.iter().any(|field| field == name);
    let mut condition = "shown = 1".to_owned();
    let (mut text, mut number) = (Value::Null, Value::Null);
    let total = if let Some((name, value)) = query.filter {
        if !has(&name) && name != "id" {
            return Ok(Page::default());
        }
        let expression = if name == "id" { "id".to_owned() } else { schema::field(&name) };
        // The same expression as in the index, and both types that the value may have there.
        condition = format!("shown = 1 AND {expression} IN (?1, ?2)");
        let wanted = Wanted::new(value.clone());
        let kinds = match wanted.number {
            // `json_extract` gives 1 for `true` and 0 for `false`.
            _ if wanted.truth.is_some() => "'text', 'true', 'false'",
            Some(Number::Whole(0 | 1)) if name != "id" => "'text', 'integer', 'real'",
            _ => "",
        };
        number = match (wanted.truth, wanted.number) {
            (Some(truth), _) => Value::Integer(truth.into()),
            (None, Some(Number::Whole(whole))) => Value::Integer(whole),
            (None, Some(Number::Real(real))) => Value::Real(real),
            (None, None) => Value::Null,
        };
        if !kinds.is_empty() {
            let _ = write!(condition, " AND {} IN ({kinds})", schema::kind(&name));
        }
        let counted = Counted { collection: query.collection, field: name.into_owned(), value };
        text = Value::Text(wanted.text);
        counts.get(&transaction, counted, || {
            let sql = format!("SELECT count(*) FROM {} WHERE {condition}", known.table);
            let count = transaction.prepare_cached(&sql)?.query_row([&text, &number], |row| row.get(0))?;
            Ok(rows::unsigned(count))
        })?
    } else {
        // The writer keeps this one itself, in the same transaction as the documents.
        let mut statement = transaction.prepare_cached("SELECT value FROM counters WHERE name = ?1")?;
        rows::unsigned(statement.query_row([shown(query.collection)], |row| row.get(0)).optional()?.unwrap_or(0))
    };
    let order = order(&query.sort, has);
    let sql =
        format!("SELECT {} FROM {} WHERE {condition} ORDER BY {order} LIMIT ?3 OFFSET ?4", rows::DOCUMENT, known.table);
    let values = params![text, number, at_most(query.size), rows::signed(query.offset)];
    let documents =
        transaction.prepare_cached(&sql)?.query_map(values, rows::document)?.collect::<rusqlite::Result<_>>()?;
    Ok(Page { documents, total })
}

/// The terms of the order: those after `id` decide nothing.
fn order(sort: &[(Cow<'static, str>, Direction)], has: impl Fn(&str) -> bool) -> String {
    let mut terms = Vec::with_capacity(sort.len() + 1);
    let mut last = "ASC";
    for (name, direction) in sort.iter().filter(|(name, _)| name == "id" || has(name)) {
        last = word(*direction);
        if name == "id" {
            break;
        }
        terms.push(format!("{} {last}", schema::field(name)));
    }
    terms.push(format!("id {last}"));
    terms.join(", ")
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    }
}

fn at_most(limit: u32) -> i64 {
    i64::from(limit.min(limits::PAGE_MAX_ROWS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Changes, Database, SqliteDatabase,
        conformance::{order, schema},
    };

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_ended_and_the_next_one_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("order.db");
        let database = SqliteDatabase::open(&file, schema(1)).unwrap();
        let rows = (0..2_000).map(|id| order(id, 0, &serde_json::json!({ "note": "a" }))).collect();
        database.commit(Changes { documents: rows, ..Changes::default() }).await.unwrap();
        let query = |sort: Option<_>| {
            let sort = sort.into_iter().collect();
            Query { collection: "orders", filter: None, sort, offset: 0, size: 1 }
        };

        let reader = SqliteReader::open_with(&file, Duration::ZERO, Arc::new(Condition::new(&file))).unwrap();
        for _ in 0..3 {
            let by_note = query(Some(("note".into(), Direction::Ascending)));
            assert_eq!(reader.page(by_note).await, Err(ReadError::TooLong));
            assert_eq!(reader.page(query(None)).await.unwrap().total, 2_000);
        }
        assert!(reader.document("orders", 7).await.unwrap().is_some());
    }
}
