//! A database in memory, for tests: the same promises, except that nothing outlives the process.

use crate::{
    Changes, CommitError, CommitFuture, Database, DatabaseFailure, Direction, Document, Identity, JournalRecord,
    Lookup, Page, Position, Query, ReadDatabase, ReadError, ReadFuture, RebuildDatabase, Receipt, Request,
    RequestChange, RequestFilter, RequestState, Schema, Sharing, Stats, StoredAnswer, Wait, WaitChange, Waiting,
    limits, partition_of,
    rules::{self, Facts, RequestFacts},
    values::{self, Number, Wanted},
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{self, AtomicBool},
    },
};
use uuid::Uuid;

/// A database that lives in memory.
///
/// A clone shares the documents and everything else with its original, so that a test can stop a service and start it
/// again on what it had committed. Each handle is closed on its own.
#[derive(Debug)]
pub struct MemoryDatabase {
    identity: Identity,
    closed: AtomicBool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    schema: Schema,
    documents: BTreeMap<(&'static str, i64), Document>,
    shadows: BTreeMap<(&'static str, i64), Document>,
    bases: BTreeMap<(&'static str, i64), Document>,
    base_places: BTreeMap<&'static str, Vec<Position>>,
    /// By id and collection.
    waits: BTreeMap<(i64, &'static str), Wait>,
    requests: BTreeMap<Uuid, Request>,
    keys: HashMap<String, Uuid>,
    journal: Vec<Vec<JournalRecord>>,
    positions: BTreeMap<(String, u16), Position>,
    last_ids: BTreeMap<&'static str, i64>,
    stats: Stats,
}

impl MemoryDatabase {
    /// An empty database.
    pub fn new(schema: Schema) -> Self {
        let identity = Identity {
            service: schema.service.clone(),
            epoch: Uuid::new_v4(),
            partitions: schema.partitions.max(1),
            sharing: Sharing::OneProcess,
        };
        let state = State {
            documents: BTreeMap::new(),
            shadows: BTreeMap::new(),
            bases: BTreeMap::new(),
            base_places: BTreeMap::new(),
            waits: BTreeMap::new(),
            requests: BTreeMap::new(),
            keys: HashMap::new(),
            journal: vec![Vec::new(); usize::from(identity.partitions)],
            positions: BTreeMap::new(),
            last_ids: schema.collections.iter().map(|collection| (collection.name, 0)).collect(),
            stats: Stats::default(),
            schema,
        };
        Self { identity, closed: AtomicBool::new(false), state: Arc::new(Mutex::new(state)) }
    }

    /// Nothing under this lock can panic half way, so that a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(atomic::Ordering::Acquire)
    }

    fn read<T: Send + 'static>(&self, read: impl FnOnce(&State) -> T) -> ReadFuture<'_, T> {
        let result = if self.is_closed() {
            Err(ReadError::Unavailable("it is closed".to_owned()))
        } else {
            Ok(read(&self.state()))
        };
        ready(result).boxed()
    }

    fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut State) -> Result<T, CommitError>,
    ) -> CommitFuture<'_, T> {
        let result = if self.is_closed() {
            Err(CommitError::NotDone("the database is closed".to_owned()))
        } else {
            write(&mut self.state())
        };
        ready(result).boxed()
    }
}

impl Clone for MemoryDatabase {
    /// Another handle, open, on the same state.
    fn clone(&self) -> Self {
        Self { identity: self.identity.clone(), closed: AtomicBool::new(false), state: Arc::clone(&self.state) }
    }
}

impl ReadDatabase for MemoryDatabase {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn document(&self, collection: &'static str, id: i64) -> ReadFuture<'_, Option<Document>> {
        self.read(|state| state.documents.get(&(collection, id)).cloned())
    }

    fn documents(&self, keys: Vec<(&'static str, i64)>) -> ReadFuture<'_, Vec<Option<Document>>> {
        self.read(move |state| keys.iter().map(|key| state.documents.get(key).cloned()).collect())
    }

    fn first(&self, lookup: Lookup) -> ReadFuture<'_, Vec<i64>> {
        let is_it = move |document: &Document| {
            let body: serde_json::Value = serde_json::from_str(&document.body).unwrap_or_default();
            let mut values = lookup.fields.iter().zip(&lookup.values);
            document.shown
                && document.id > lookup.after
                && values.all(|(field, value)| !value.is_null() && body[*field] == *value)
        };
        self.read(move |state| {
            let found = state.collection(lookup.collection).filter(|document| is_it(document));
            found.map(|document| document.id).take(rows(lookup.limit)).collect()
        })
    }

    fn page(&self, query: Query) -> ReadFuture<'_, Page> {
        self.read(|state| state.page(query))
    }

    fn scan(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>> {
        self.read(|state| {
            state.collection(collection).filter(|document| document.id > after).take(rows(limit)).cloned().collect()
        })
    }

    fn request_by_key(&self, key: &str) -> ReadFuture<'_, Option<Request>> {
        self.read(|state| state.keys.get(key).and_then(|id| state.requests.get(id)).cloned())
    }

    fn request(&self, id: Uuid) -> ReadFuture<'_, Option<Request>> {
        self.read(|state| state.requests.get(&id).cloned())
    }

    fn requests(&self, filter: RequestFilter) -> ReadFuture<'_, Vec<Request>> {
        self.read(|state| {
            state
                .requests
                .values()
                .filter(|request| request.state == filter.state)
                .filter(|request| {
                    filter.service.is_none_or(|service| request.ask.as_ref().is_some_and(|ask| ask.service == service))
                })
                .filter(|request| filter.after.is_none_or(|after| request.id > after))
                .filter(|request| filter.until_before_ms.is_none_or(|before| request.until_ms < before))
                .take(rows(filter.limit))
                .cloned()
                .collect()
        })
    }

    fn doubts_about(&self, subject: i64) -> ReadFuture<'_, Vec<Request>> {
        self.read(|state| {
            let doubts = state.requests.values().filter(|request| request.subject == subject && in_doubt(request));
            doubts.take(rows(limits::PAGE_MAX_ROWS)).cloned().collect()
        })
    }

    fn due(&self, until_ms: i64, limit: u32) -> ReadFuture<'_, Vec<Waiting>> {
        self.read(|state| {
            let due = state.waits.iter().filter(|(_, wait)| wait.due_ms <= until_ms).map(waiting);
            let mut due: Vec<_> = due.collect();
            due.sort_by_key(|waiting| waiting.wait.due_ms); // stable: between equals the order of the map
            due.truncate(rows(limit));
            due
        })
    }

    fn waits_of(&self, id: i64) -> ReadFuture<'_, Vec<Waiting>> {
        self.read(|state| state.waits.range((id, "")..).take_while(|(key, _)| key.0 == id).map(waiting).collect())
    }

    fn journal(&self, partition: u16, after: u64, limit: u32) -> ReadFuture<'_, Vec<JournalRecord>> {
        self.read(|state| {
            let records = state.journal.get(usize::from(partition)).map(Vec::as_slice).unwrap_or_default();
            records.iter().filter(|record| record.sequence > after).take(rows(limit)).cloned().collect()
        })
    }

    fn positions(&self) -> ReadFuture<'_, Vec<Position>> {
        self.read(|state| state.positions.values().cloned().collect())
    }
}

impl RebuildDatabase for MemoryDatabase {
    fn clear_shadow(&self, collection: &'static str) -> CommitFuture<'_, bool> {
        self.write(|state| {
            rules::check_collections(&[collection], &state.schema)?;
            let ids = of_collection(collection);
            let gone: Vec<_> =
                state.shadows.range(ids.clone()).map(|(key, _)| *key).take(limits::SHADOW_MAX_ROWS).collect();
            for key in gone {
                state.shadows.remove(&key);
            }
            Ok(state.shadows.range(ids).next().is_none())
        })
    }

    fn write_shadow(&self, collection: &'static str, documents: Vec<Document>) -> CommitFuture<'_, ()> {
        self.write(|state| {
            rules::check_shadow(collection, &documents, &state.schema)?;
            state.shadows.extend(documents.into_iter().map(|document| ((collection, document.id), document)));
            Ok(())
        })
    }

    fn read_shadow(&self, collection: &'static str, ids: Vec<i64>) -> ReadFuture<'_, Vec<Document>> {
        self.read(|state| {
            let ids = ids.into_iter().take(rows(limits::PAGE_MAX_ROWS));
            ids.filter_map(|id| state.shadows.get(&(collection, id)).cloned()).collect()
        })
    }

    fn switch_shadows(&self, collections: Vec<&'static str>, positions: Vec<Position>) -> CommitFuture<'_, ()> {
        self.write(|state| {
            rules::check_collections(&collections, &state.schema)?;
            let found: Vec<_> = state.positions.values().cloned().collect();
            if let Some(conflict) = rules::place_conflict(&positions, &found) {
                return Err(CommitError::Conflict(conflict));
            }
            for collection in collections {
                state.switch(collection);
            }
            Ok(())
        })
    }

    fn write_next_base(&self, collection: &'static str, documents: Vec<Document>) -> CommitFuture<'_, ()> {
        self.write_shadow(collection, documents)
    }

    fn keep_bases(&self, collections: Vec<&'static str>, mut positions: Vec<Position>) -> CommitFuture<'_, ()> {
        positions.sort_unstable_by(|a, b| (&a.source, a.partition).cmp(&(&b.source, b.partition)));
        self.write(|state| {
            rules::check_collections(&collections, &state.schema)?;
            for collection in collections {
                let before = take(&mut state.bases, collection);
                let after = take(&mut state.shadows, collection);
                state.shadows.extend(before);
                state.bases.extend(after);
                state.base_places.insert(collection, positions.clone());
            }
            Ok(())
        })
    }

    fn base(&self, collection: &'static str) -> ReadFuture<'_, Option<Vec<Position>>> {
        self.read(|state| state.base_places.get(collection).cloned())
    }

    fn scan_base(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>> {
        self.read(|state| {
            let documents = state.bases.range(of_collection(collection)).map(|(_, document)| document);
            documents.filter(|document| document.id > after).take(rows(limit)).cloned().collect()
        })
    }
}

impl Database for MemoryDatabase {
    fn commit(&self, changes: Changes) -> CommitFuture<'_, Receipt> {
        self.write(|state| {
            rules::check_limits(&changes, &state.schema)?;
            let Ok(conflict) = rules::first_conflict(&changes, state);
            if let Some(conflict) = conflict {
                state.stats.conflicts += 1;
                return Err(CommitError::Conflict(conflict));
            }
            Ok(state.apply(changes))
        })
    }

    fn next_id(&self, collection: &'static str) -> ReadFuture<'_, i64> {
        let mut state = self.state();
        let next = state.last_ids.get_mut(collection).and_then(|last| {
            *last = last.checked_add(1)?;
            Some(*last)
        });
        ready(next.ok_or_else(|| ReadError::Unavailable(format!("there are no ids for `{collection}`")))).boxed()
    }

    fn purge_requests(&self, before_ms: i64, keep_at_most: u64) -> CommitFuture<'_, u64> {
        self.write(|state| Ok(state.purge(before_ms, keep_at_most)))
    }

    fn failure(&self) -> Option<DatabaseFailure> {
        None
    }

    fn stats(&self) -> Stats {
        self.state().stats.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.store(true, atomic::Ordering::Release);
        ready(()).boxed()
    }
}

impl State {
    fn collection(&self, name: &'static str) -> impl Iterator<Item = &Document> {
        self.documents.range(of_collection(name)).map(|(_, document)| document)
    }

    fn switch(&mut self, collection: &'static str) {
        let (before, after) = (take(&mut self.documents, collection), take(&mut self.shadows, collection));
        if let Some(((_, last), _)) = after.last() {
            self.raise_last_id(collection, *last);
        }
        self.shadows.extend(before);
        self.documents.extend(after);
    }

    fn raise_last_id(&mut self, collection: &str, id: i64) {
        if let Some(last) = self.last_ids.get_mut(collection) {
            *last = id.max(*last);
        }
    }

    /// Does what [`rules::first_conflict`] found nothing against.
    fn apply(&mut self, changes: Changes) -> Receipt {
        for change in changes.documents {
            self.raise_last_id(change.collection, change.id);
            let version = change.expected_version + 1;
            let document = Document { id: change.id, version, shown: change.shown, body: change.body };
            self.documents.insert((change.collection, change.id), document);
            match change.wait {
                WaitChange::Keep => {}
                WaitChange::Begin(wait) => drop(self.waits.insert((change.id, change.collection), wait)),
                WaitChange::End => drop(self.waits.remove(&(change.id, change.collection))),
            }
        }
        let mut receipt = Receipt::default();
        for entry in changes.journal {
            let partition = partition_of(entry.key, self.schema.partitions);
            let records = &mut self.journal[usize::from(partition)];
            let sequence = records.len() as u64 + 1;
            records.push(JournalRecord {
                partition,
                sequence,
                event_type: entry.event_type.to_owned(),
                key: entry.key,
                time_ms: entry.time_ms,
                trace: entry.trace,
                body: entry.body,
            });
            receipt.sequences.push((partition, sequence));
        }
        for change in changes.requests {
            self.apply_request(change, receipt.sequences.last().copied());
        }
        for change in changes.positions {
            self.positions.insert((change.position.source.clone(), change.position.partition), change.position);
        }
        self.stats.commits += 1;
        self.stats.groups += 1;
        receipt
    }

    /// `last_event` is that of the commit: the answers that it stores name it.
    fn apply_request(&mut self, change: RequestChange, last_event: Option<(u16, u64)>) {
        let stored = |answer: Option<StoredAnswer>| answer.map(|answer| StoredAnswer { last_event, ..answer });
        match change {
            RequestChange::Insert(mut request) => {
                request.answer = stored(request.answer.take());
                if request.takes_its_subject() {
                    self.raise_last_id(&request.collection, request.subject);
                }
                if let Some(key) = &request.key {
                    self.keys.insert(key.clone(), request.id);
                }
                self.requests.insert(request.id, *request);
            }
            RequestChange::Move { id, to, answer, .. } => {
                if let Some(request) = self.requests.get_mut(&id) {
                    request.state = to;
                    request.answer = stored(answer).or(request.answer.take());
                }
            }
            RequestChange::Delay { id, until_ms, answer } => {
                if let Some(request) = self.requests.get_mut(&id) {
                    (request.state, request.until_ms) = (RequestState::Delayed, until_ms);
                    request.answer = stored(answer).or(request.answer.take());
                }
            }
            RequestChange::ReleaseKey { id } => {
                if let Some(key) = self.requests.get_mut(&id).and_then(|request| request.key.take()) {
                    self.keys.remove(&key);
                }
            }
        }
    }

    fn purge(&mut self, before_ms: i64, keep_at_most: u64) -> u64 {
        let answered: Vec<Uuid> =
            self.requests.values().filter(|request| !in_doubt(request)).map(|request| request.id).collect();
        let too_many = answered.len().saturating_sub(usize::try_from(keep_at_most).unwrap_or(usize::MAX));
        let too_old = answered.partition_point(|id| values::time_ms(*id) < before_ms);
        let gone = &answered[..too_many.max(too_old).min(rows(limits::PURGE_MAX_ROWS))];
        for id in gone {
            if let Some(key) = self.requests.remove(id).and_then(|request| request.key) {
                self.keys.remove(&key);
            }
        }
        gone.len() as u64
    }

    fn page(&self, query: Query) -> Page {
        let field = |document: &Document, name: &str| {
            serde_json::from_str::<serde_json::Value>(&document.body).ok().and_then(|body| body.get(name).cloned())
        };
        let Some(schema) = self.schema.collections.iter().find(|collection| collection.name == query.collection) else {
            return Page::default();
        };
        let known = |name: &str| name == "id" || schema.fields.iter().any(|field| field.name == name);
        let mut documents: Vec<&Document> =
            self.collection(query.collection).filter(|document| document.shown).collect();
        if let Some((name, value)) = query.filter {
            let wanted = Wanted::new(value);
            documents.retain(|document| {
                let key = match &*name {
                    "id" => SortKey::Whole(document.id),
                    name => match field(document, name) {
                        // `true` is found by its word, and not by 1.
                        Some(serde_json::Value::Bool(truth)) => SortKey::Text(truth.to_string()),
                        value => SortKey::of(value),
                    },
                };
                known(&name) && key.is(&wanted)
            });
        }
        // Stable sorts, the last key first: id decides between equals, in the direction of the last key.
        let mut keys: Vec<_> = query.sort.into_iter().filter(|(name, _)| known(name)).collect();
        if let Some(id) = keys.iter().position(|(name, _)| name == "id") {
            keys.truncate(id + 1);
        }
        if keys.last().is_some_and(|(_, direction)| *direction == Direction::Descending) {
            documents.reverse();
        }
        for (name, direction) in keys.iter().rev().filter(|(name, _)| name != "id") {
            let mut keyed: Vec<(SortKey, &Document)> =
                documents.into_iter().map(|document| (SortKey::of(field(document, name)), document)).collect();
            keyed.sort_by(|(a, _), (b, _)| match direction {
                Direction::Ascending => a.compare(b),
                Direction::Descending => b.compare(a),
            });
            documents = keyed.into_iter().map(|(_, document)| document).collect();
        }
        let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
        Page {
            total: documents.len() as u64,
            documents: documents.into_iter().skip(offset).take(rows(query.size)).cloned().collect(),
        }
    }
}

/// A field as `SQLite` orders it: nothing, then numbers, then texts.
enum SortKey {
    Nothing,
    Whole(i64),
    Real(f64),
    Text(String),
}

impl SortKey {
    fn of(value: Option<serde_json::Value>) -> Self {
        match value {
            None | Some(serde_json::Value::Null) => Self::Nothing,
            Some(serde_json::Value::Bool(truth)) => Self::Whole(i64::from(truth)),
            Some(serde_json::Value::Number(number)) => match number.as_i64() {
                Some(whole) => Self::Whole(whole),
                None => Self::Real(number.as_f64().unwrap_or_default()),
            },
            Some(serde_json::Value::String(text)) => Self::Text(text),
            Some(nested) => Self::Text(nested.to_string()),
        }
    }

    fn is(&self, wanted: &Wanted) -> bool {
        match (self, wanted.number) {
            (Self::Text(text), _) => *text == wanted.text,
            (Self::Whole(whole), Some(Number::Whole(number))) => *whole == number,
            #[expect(clippy::float_cmp, reason = "the same value, not one near it")]
            (Self::Real(real), Some(Number::Real(number))) => *real == number,
            _ => false,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        #[expect(clippy::cast_precision_loss, reason = "only where a whole number meets a real one")]
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Whole(a), Self::Real(b)) => (*a as f64).total_cmp(b),
            (Self::Real(a), Self::Whole(b)) => a.total_cmp(&(*b as f64)),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Whole(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

impl Facts for State {
    type Error = Infallible;

    fn version(&mut self, collection: &'static str, id: i64) -> Result<u64, Infallible> {
        Ok(self.documents.get(&(collection, id)).map_or(0, |document| document.version))
    }

    fn has_body(&mut self, collection: &'static str, id: i64, body: &str) -> Result<bool, Infallible> {
        Ok(self.documents.get(&(collection, id)).is_some_and(|document| document.body == body))
    }

    fn request(&mut self, id: Uuid) -> Result<Option<RequestFacts>, Infallible> {
        Ok(self.requests.get(&id).map(|request| RequestFacts {
            state: request.state,
            has_key: request.key.is_some(),
            answered: request.answer.is_some(),
        }))
    }

    fn key_owner(&mut self, key: &str) -> Result<Option<Uuid>, Infallible> {
        Ok(self.keys.get(key).copied())
    }

    fn position(&mut self, source: &str, partition: u16) -> Result<Option<(Uuid, u64)>, Infallible> {
        Ok(self.positions.get(&(source.to_owned(), partition)).map(|position| (position.epoch, position.sequence)))
    }
}

/// Takes the documents of a collection out of a map.
fn take(
    map: &mut BTreeMap<(&'static str, i64), Document>,
    collection: &'static str,
) -> Vec<((&'static str, i64), Document)> {
    map.extract_if(of_collection(collection), |_, _| true).collect()
}

fn waiting(((id, collection), wait): (&(i64, &'static str), &Wait)) -> Waiting {
    Waiting { collection: Cow::Borrowed(collection), id: *id, wait: wait.clone() }
}

fn of_collection(name: &'static str) -> RangeInclusive<(&'static str, i64)> {
    (name, i64::MIN)..=(name, i64::MAX)
}

fn in_doubt(request: &Request) -> bool {
    request.state.is_in_doubt()
}

fn rows(limit: u32) -> usize {
    limit.min(limits::PAGE_MAX_ROWS) as usize
}
