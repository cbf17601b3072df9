//! Reading, by the service itself and by other processes.

use super::{
    address::PostgresAddress,
    elsewhere,
    failure::connect_error,
    pool::{Pool, Use, read_error},
    rows, schema,
    session::{Call, Role, Session},
};
use crate::{
    Direction, Document, Identity, JournalRecord, Lookup, OpenError, Page, Position, Query, ReadDatabase, ReadError,
    ReadFuture, Request, RequestFilter, RequestState, Waiting, limits,
    names::StoredCollection,
    values::{Number, Wanted, signed, unsigned},
    writing::shown,
};
use futures_util::future::{FutureExt, ready, try_join_all};
use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// Reads a database of `PostgreSQL` beside the process that writes it, or while that is stopped. It takes no lock that a
/// writer waits for, and changes nothing. What the service keeps is read from the database itself.
pub struct PostgresReader {
    identity: Identity,
    collections: HashMap<String, Known>,
    pool: Pool,
    counts: Mutex<HashMap<Counted, (u64, Instant)>>,
}

/// A collection that is in the database.
struct Known {
    table: String,
    fields: Vec<String>,
}

/// What was counted: collection, field, value.
type Counted = (&'static str, String, String);

impl PostgresReader {
    /// Opens the database at this address. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Missing`] where its service has not made it yet, and the like.
    pub fn open(address: &Arc<PostgresAddress>) -> Result<Self, OpenError> {
        let path = address.to_string();
        let work = async || {
            let session = Session::connect(address, Role::Query).await.map_err(|error| connect_error(&path, &error))?;
            let known = schema::newest();
            match schema::version(&session, address.schema(), &path).await? {
                None => Err(OpenError::Missing { path: path.clone() }),
                Some(found) if found < known => Err(OpenError::Older { path: path.clone(), found, known }),
                Some(_) => schema::load(&session, &path).await,
            }
        };
        let stored = elsewhere(work, &path)?;
        Ok(Self::new(Arc::clone(address), stored.identity, stored.collections))
    }

    pub(super) fn new(address: Arc<PostgresAddress>, identity: Identity, collections: Vec<StoredCollection>) -> Self {
        let known = |collection: StoredCollection| {
            (collection.name.clone(), Known { table: schema::table(&collection.name), fields: collection.fields })
        };
        let collections = collections.into_iter().map(known).collect();
        Self { identity, collections, pool: Pool::new(address), counts: Mutex::default() }
    }

    /// Lets go of the connections. Later reads are answered [`ReadError::Unavailable`].
    pub(super) fn close(&self) {
        self.pool.close();
    }

    fn read<T: Send + 'static>(
        &self,
        which: Use,
        call: Call<'static>,
        of: fn(&Row) -> Result<T, Error>,
    ) -> ReadFuture<'_, Vec<T>> {
        self.pool.read(which, call, of).boxed()
    }

    fn read_one<T: Send + 'static>(
        &self,
        call: Call<'static>,
        of: fn(&Row) -> Result<T, Error>,
    ) -> ReadFuture<'_, Option<T>> {
        async move { Ok(self.pool.read(Use::Point, call, of).await?.pop()) }.boxed()
    }

    /// Reads rows of a table that need not be there.
    fn read_if_there<T: Send + 'static>(
        &self,
        table: String,
        call: Call<'static>,
        of: fn(&Row) -> Result<T, Error>,
    ) -> ReadFuture<'_, Option<Vec<T>>> {
        async move {
            let is_there: Vec<bool> = self.pool.read(Use::Own, schema::exists(table), |row| row.try_get(0)).await?;
            if is_there != [true] {
                return Ok(None);
            }
            self.pool.read(Use::Own, call, of).await.map(Some)
        }
        .boxed()
    }

    /// See [`crate::RebuildDatabase::read_shadow`]. In the order of the ids.
    pub(super) fn read_shadow(&self, collection: &'static str, mut ids: Vec<i64>) -> ReadFuture<'_, Vec<Document>> {
        ids.truncate(limits::PAGE_MAX_ROWS as usize);
        let shadow = schema::shadow(collection);
        let sql = format!(
            "SELECT d.{} FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (id, place) JOIN \"{shadow}\" d ON d.id = wanted.id
             ORDER BY place",
            rows::DOCUMENT
        );
        let found = self.read_if_there(shadow, Call::new(sql).with(ids), rows::document);
        async move { Ok(found.await?.unwrap_or_default()) }.boxed()
    }

    /// See [`crate::RebuildDatabase::base`].
    pub(super) fn base(&self, collection: &'static str) -> ReadFuture<'_, Option<Vec<Position>>> {
        let sql =
            "SELECT source, partition, epoch, sequence FROM bases WHERE collection = $1 ORDER BY source, partition";
        self.read_if_there(schema::base(collection), Call::new(sql).with(collection), rows::position)
    }

    /// See [`crate::RebuildDatabase::scan_base`].
    pub(super) fn scan_base(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>> {
        let base = schema::base(collection);
        let sql = format!("SELECT {} FROM \"{base}\" WHERE id > $1 ORDER BY id LIMIT $2", rows::DOCUMENT);
        let found = self.read_if_there(base, Call::new(sql).with(after).with(at_most(limit)), rows::document);
        async move { Ok(found.await?.unwrap_or_default()) }.boxed()
    }

    /// Total and documents as of the same moment, in one transaction.
    async fn page_of(&self, known: &Known, query: Query) -> Result<Page, ReadError> {
        let has = |name: &str| known.fields.iter().any(|field| field == name);
        let order = order(&query.sort, has);
        let (condition, values) = match &query.filter {
            None => ("shown".to_owned(), Vec::new()),
            Some((name, value)) if has(name) || name == "id" => condition(name, Wanted::new(value.clone())),
            Some(_) => return Ok(Page::default()),
        };
        let filled = |sql: String| values.iter().cloned().fold(Call::new(sql), Call::with);
        let (limit, offset) = (values.len() + 1, values.len() + 2);
        let sql = format!(
            "SELECT {} FROM {} WHERE {condition} ORDER BY {order} LIMIT ${limit} OFFSET ${offset}",
            rows::DOCUMENT,
            known.table
        );
        let documents = filled(sql).with(at_most(query.size)).with(signed(query.offset));
        let counted: Option<Counted> = query.filter.map(|(name, value)| (query.collection, name.into_owned(), value));
        if let Some(total) = counted.as_ref().and_then(|counted| self.count(counted)) {
            let rows = self.pool.query(&[documents]).await?;
            return page(total, rows.first());
        }
        let total = match &counted {
            // The writer keeps this one itself, in the same transaction as the documents.
            None => Call::new("SELECT value FROM counters WHERE name = $1").with(shown(query.collection)),
            Some(_) => filled(format!("SELECT count(*) FROM {} WHERE {condition}", known.table)),
        };
        let began = Instant::now();
        let begin = Call::new("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        let rows = self.pool.query(&[begin, total, documents, Call::new("COMMIT")]).await?;
        let total = rows.get(1).and_then(|rows| rows.first()).map_or(Ok(0), |row| row.try_get(0));
        let total = unsigned(total.map_err(|error| read_error(&error))?);
        if let Some(counted) = counted.filter(|_| began.elapsed() >= limits::SERVER_CHEAP_COUNT) {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            if counts.len() >= limits::COUNTS_REMEMBERED_MAX {
                counts.clear();
            }
            counts.insert(counted, (total, Instant::now()));
        }
        page(total, rows.get(2))
    }

    /// A count that took long and is still good.
    fn count(&self, counted: &Counted) -> Option<u64> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(counted).filter(|(_, at)| at.elapsed() < limits::COUNT_KEPT).map(|(total, _)| *total)
    }
}

fn page(total: u64, rows: Option<&Vec<Row>>) -> Result<Page, ReadError> {
    let documents = rows.into_iter().flatten().map(rows::document).collect::<Result<_, _>>();
    Ok(Page { documents: documents.map_err(|error| read_error(&error))?, total })
}

impl ReadDatabase for PostgresReader {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn document(&self, collection: &'static str, id: i64) -> ReadFuture<'_, Option<Document>> {
        let Some(known) = self.collections.get(collection) else { return ready(Ok(None)).boxed() };
        let sql = format!("SELECT {} FROM {} WHERE id = $1", rows::DOCUMENT, known.table);
        self.read_one(Call::new(sql).with(id), rows::document)
    }

    /// One statement a collection, sent together.
    fn documents(&self, keys: Vec<(&'static str, i64)>) -> ReadFuture<'_, Vec<Option<Document>>> {
        let mut wanted = HashMap::<_, Vec<i64>>::new();
        for (collection, id) in &keys {
            wanted.entry(*collection).or_default().push(*id);
        }
        let reads = wanted.into_iter().filter_map(|(collection, ids)| {
            let sql = format!(
                "SELECT {} FROM {} WHERE id = ANY ($1)",
                rows::DOCUMENT,
                self.collections.get(collection)?.table
            );
            let of = move |row: &Row| rows::document(row).map(|document| ((collection, document.id), document));
            Some(self.pool.read(Use::Point, Call::new(sql).with(ids), of))
        });
        let reads = try_join_all(reads);
        async move {
            let found: HashMap<_, _> = reads.await?.into_iter().flatten().collect();
            Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
        }
        .boxed()
    }

    fn first(&self, lookup: Lookup) -> ReadFuture<'_, Vec<i64>> {
        let Lookup { collection, fields, values, after, limit } = lookup;
        let has = |known: &&Known| fields.iter().all(|field| known.fields.iter().any(|other| other == field));
        let Some(known) = self.collections.get(collection).filter(has) else { return ready(Ok(Vec::new())).boxed() };
        let (mut conditions, mut parameters) = (Vec::new(), Vec::new());
        for (name, value) in fields.iter().zip(values) {
            let place = parameters.len() + 1;
            conditions.push(match &value {
                serde_json::Value::String(_) => is_text(name, place),
                serde_json::Value::Number(number) if number.is_i64() => is_number(name, place, false),
                _ => return ready(Ok(Vec::new())).boxed(), // equal to nothing
            });
            parameters.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let order: Vec<_> = fields.iter().map(|name| schema::order(name, "ASC")).collect();
        let (after_place, limit_place) = (parameters.len() + 1, parameters.len() + 2);
        let sql = format!(
            "SELECT id FROM {} WHERE shown AND {} AND id > ${after_place} ORDER BY {}, id LIMIT ${limit_place}",
            known.table,
            conditions.join(" AND "),
            order.join(", ")
        );
        let call = parameters.into_iter().fold(Call::new(sql), Call::with).with(after).with(at_most(limit));
        self.read(Use::Point, call, |row| row.try_get(0))
    }

    /// A sort field that the collection does not have is ignored; a filter field that it does not have matches nothing.
    fn page(&self, query: Query) -> ReadFuture<'_, Page> {
        match self.collections.get(query.collection) {
            Some(known) => self.page_of(known, query).boxed(),
            None => ready(Ok(Page::default())).boxed(),
        }
    }

    fn scan(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>> {
        let Some(known) = self.collections.get(collection) else { return ready(Ok(Vec::new())).boxed() };
        let sql = format!("SELECT {} FROM {} WHERE id > $1 ORDER BY id LIMIT $2", rows::DOCUMENT, known.table);
        let call = Call::new(sql).with(after).with(at_most(limit));
        async move { page(0, self.pool.query(&[call]).await?.first()).map(|page| page.documents) }.boxed()
    }

    fn request_by_key(&self, key: &str) -> ReadFuture<'_, Option<Request>> {
        let sql = format!("SELECT {} FROM requests WHERE key = $1", rows::REQUEST);
        self.read_one(Call::new(sql).with(key.to_owned()), rows::request)
    }

    fn request(&self, id: Uuid) -> ReadFuture<'_, Option<Request>> {
        let sql = format!("SELECT {} FROM requests WHERE id = $1", rows::REQUEST);
        self.read_one(Call::new(sql).with(id), rows::request)
    }

    fn requests(&self, filter: RequestFilter) -> ReadFuture<'_, Vec<Request>> {
        let state = filter.state;
        // By its time: an expression keeps the planner from the index of `id`.
        let after =
            if state == RequestState::Delayed && filter.until_before_ms.is_some() { "(id::text)::uuid" } else { "id" };
        let sql = format!(
            "SELECT {} FROM requests WHERE state = '{state}' AND {after} > $1 AND until_ms < $2
             AND ($3::text IS NULL OR ask_service = $3) ORDER BY id LIMIT $4",
            rows::REQUEST
        );
        // Nothing is before the nil id, and nothing is given up in all eternity.
        let (after, before) = (filter.after.unwrap_or_default(), filter.until_before_ms.unwrap_or(i64::MAX));
        let call = Call::new(sql).with(after).with(before).with(filter.service).with(at_most(filter.limit));
        self.read(Use::Own, call, rows::request)
    }

    fn doubts_about(&self, subject: i64) -> ReadFuture<'_, Vec<Request>> {
        let sql = format!(
            "SELECT {} FROM requests WHERE {} AND subject = $1 ORDER BY id LIMIT $2",
            rows::REQUEST,
            rows::IN_DOUBT
        );
        self.read(Use::Point, Call::new(sql).with(subject).with(at_most(u32::MAX)), rows::request)
    }

    fn due(&self, until_ms: i64, limit: u32) -> ReadFuture<'_, Vec<Waiting>> {
        // Another release may have left waits of a collection that this one does not keep.
        let known: Vec<String> = self.collections.keys().cloned().collect();
        let sql = "SELECT collection, id, name, due_ms, trace FROM waits WHERE due_ms <= $1 AND collection = ANY ($2)
            ORDER BY due_ms, id, collection LIMIT $3";
        self.read(Use::Own, Call::new(sql).with(until_ms).with(known).with(at_most(limit)), rows::waiting)
    }

    fn waits_of(&self, id: i64) -> ReadFuture<'_, Vec<Waiting>> {
        let sql = "SELECT collection, id, name, due_ms, trace FROM waits WHERE id = $1 ORDER BY collection";
        self.read(Use::Point, Call::new(sql).with(id), rows::waiting)
    }

    fn journal(&self, partition: u16, after: u64, limit: u32) -> ReadFuture<'_, Vec<JournalRecord>> {
        let sql = "SELECT partition, sequence, event_type, key, time_ms, body, trace FROM journal
            WHERE partition = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
        let call = Call::new(sql).with(i32::from(partition)).with(signed(after)).with(at_most(limit));
        self.read(Use::Own, call, rows::event)
    }

    fn positions(&self) -> ReadFuture<'_, Vec<Position>> {
        let sql = "SELECT source, partition, epoch, sequence FROM places ORDER BY source, partition";
        self.read(Use::Point, Call::new(sql), rows::position)
    }
}

/// The condition of a filter, and the values of its parameters, as texts.
fn condition(name: &str, wanted: Wanted) -> (String, Vec<String>) {
    let Wanted { text, number, truth } = wanted;
    if name == "id" {
        return match number {
            Some(Number::Whole(id)) => ("shown AND id = $1::text::bigint".to_owned(), vec![id.to_string()]),
            _ => ("false".to_owned(), Vec::new()),
        };
    }
    let is_text = is_text(name, 1);
    match (truth, number) {
        (Some(truth), _) => {
            let (is_number, kind, value) = (is_number(name, 2, true), schema::kind(name), i32::from(truth).to_string());
            (format!("shown AND ({is_text} OR ({is_number} AND {kind} = 'boolean'))"), vec![text, value])
        }
        (None, Some(number)) => {
            let value = match number {
                Number::Whole(whole) => whole.to_string(),
                Number::Real(real) => real.to_string(),
            };
            (format!("shown AND ({is_text} OR {})", is_number(name, 2, false)), vec![text, value])
        }
        (None, None) => (format!("shown AND {is_text}"), vec![text]),
    }
}

/// That a field is the text of this parameter. It names all columns of the index.
fn is_text(name: &str, place: usize) -> String {
    format!("({} = ${place} AND {} IS NULL)", schema::text(name), schema::number(name))
}

/// That a field is the number of this parameter, which is a text, too. `true` is not 1, unless that is asked for.
fn is_number(name: &str, place: usize, or_truth: bool) -> String {
    let (text, number, kind) = (schema::text(name), schema::number(name), schema::kind(name));
    let only = if or_truth { String::new() } else { format!(" AND {kind} = 'number'") };
    format!("({text} IS NULL AND {number} = ${place}::text::numeric{only})")
}

/// The terms of the order: those after `id` decide nothing.
fn order(sort: &[(Cow<'static, str>, Direction)], has: impl Fn(&str) -> bool) -> String {
    let mut terms = Vec::with_capacity(sort.len() + 1);
    let mut last = "ASC";
    for (name, direction) in sort.iter().filter(|(name, _)| name == "id" || has(name)) {
        last = match direction {
            Direction::Ascending => "ASC",
            Direction::Descending => "DESC",
        };
        if name == "id" {
            break;
        }
        terms.push(schema::order(name, last));
    }
    terms.push(format!("id {last}"));
    terms.join(", ")
}

fn at_most(limit: u32) -> i64 {
    i64::from(limit.min(limits::PAGE_MAX_ROWS))
}
