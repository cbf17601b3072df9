//! Every statement that writes, prepared once: what one commit reads to be sure, and what it then writes.

use super::{rows, schema};
use crate::{
    Changes, DocumentChange, JournalEntry, PositionChange, Receipt, RequestChange, Wait, WaitChange, limits,
    partition_of,
    rules::{Facts, RequestFacts},
    values,
    writing::Counters,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Statement, params};
use uuid::Uuid;

pub(super) struct Statements<'c> {
    connection: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    request: Statement<'c>,
    key_owner: Statement<'c>,
    position: Statement<'c>,
    insert_request: Statement<'c>,
    move_request: Statement<'c>,
    answer_request: Statement<'c>,
    delay_request: Statement<'c>,
    release_key: Statement<'c>,
    insert_event: Statement<'c>,
    set_place: Statement<'c>,
    begin_wait: Statement<'c>,
    end_wait: Statement<'c>,
    set_counter: Statement<'c>,
    collections: Vec<CollectionStatements<'c>>,
    /// Whether each document of the commit at hand was shown before it; filled while looking for conflicts.
    was_shown: Vec<bool>,
}

struct CollectionStatements<'c> {
    name: &'static str,
    version: Statement<'c>,
    has_body: Statement<'c>,
    insert: Statement<'c>,
    update: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(connection: &'c Connection, collections: &[&'static str]) -> rusqlite::Result<Self> {
        let of_collection = |name: &&'static str| {
            let table = schema::table(name);
            Ok(CollectionStatements {
                name,
                version: connection.prepare(&format!("SELECT version, shown FROM {table} WHERE id = ?1"))?,
                has_body: connection.prepare(&format!("SELECT body = ?2 FROM {table} WHERE id = ?1"))?,
                insert: connection.prepare(&format!("INSERT INTO {table} VALUES (?1, ?2, ?3, ?4)"))?,
                update: connection
                    .prepare(&format!("UPDATE {table} SET version = ?2, shown = ?3, body = ?4 WHERE id = ?1"))?,
            })
        };
        Ok(Self {
            connection,
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            request: connection
                .prepare("SELECT state, key IS NOT NULL, answer_status IS NOT NULL FROM requests WHERE id = ?1")?,
            key_owner: connection.prepare("SELECT id FROM requests WHERE key = ?1")?,
            position: connection.prepare("SELECT epoch, sequence FROM places WHERE source = ?1 AND partition = ?2")?,
            insert_request: connection
                .prepare("INSERT INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)")?,
            move_request: connection.prepare("UPDATE requests SET state = ?2 WHERE id = ?1")?,
            answer_request: connection.prepare(
                "UPDATE requests SET state = ?2, answer_status = ?3, answer_location = ?4, answer_body = ?5,
                 answer_partition = ?6, answer_sequence = ?7 WHERE id = ?1",
            )?,
            // An answer is five columns: where a status comes, all of it comes.
            delay_request: connection.prepare(
                "UPDATE requests SET state = 'delayed', until_ms = ?2, answer_status = ifnull(?3, answer_status),
                 answer_location = iif(?3 IS NULL, answer_location, ?4), answer_body = iif(?3 IS NULL, answer_body, ?5),
                 answer_partition = iif(?3 IS NULL, answer_partition, ?6),
                 answer_sequence = iif(?3 IS NULL, answer_sequence, ?7)
                 WHERE id = ?1",
            )?,
            release_key: connection.prepare("UPDATE requests SET key = NULL WHERE id = ?1")?,
            insert_event: connection.prepare("INSERT INTO journal VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            set_place: connection.prepare(
                "INSERT INTO places VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence",
            )?,
            begin_wait: connection.prepare(
                "INSERT INTO waits VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET name = excluded.name, due_ms = excluded.due_ms, trace = excluded.trace",
            )?,
            end_wait: connection.prepare("DELETE FROM waits WHERE id = ?1 AND collection = ?2")?,
            set_counter: connection
                .prepare("INSERT INTO counters VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value")?,
            collections: collections.iter().map(of_collection).collect::<rusqlite::Result<_>>()?,
            was_shown: Vec::new(),
        })
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        // Only after a rollback that itself failed.
        schema::roll_back(self.connection);
        self.begin.raw_execute().map(drop)
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.commit.raw_execute().map(drop)
    }

    pub(super) fn roll_back(&mut self) {
        schema::roll_back(self.connection);
    }

    /// To be called before the conflicts of the next commit are looked for.
    pub(super) fn forget_last(&mut self) {
        self.was_shown.clear();
    }

    /// Writes what no conflict was found in.
    pub(super) fn apply(&mut self, changes: &Changes, counters: &mut Counters) -> rusqlite::Result<Receipt> {
        let mut sequences = Vec::with_capacity(changes.journal.len());
        for entry in &changes.journal {
            sequences.push(self.apply_event(entry, counters)?);
        }
        for change in &changes.requests {
            self.apply_request(change, sequences.last().copied(), counters)?;
        }
        for (position, change) in changes.documents.iter().enumerate() {
            let was_shown = self.was_shown.get(position).copied().unwrap_or(false);
            self.apply_document(change, was_shown, counters)?;
        }
        for change in &changes.positions {
            self.apply_place(change)?;
        }
        Ok(Receipt { sequences })
    }

    /// `last_event` is that of the commit: the answers that it stores name it.
    fn apply_request(
        &mut self,
        change: &RequestChange,
        last_event: Option<(u16, u64)>,
        counters: &mut Counters,
    ) -> rusqlite::Result<()> {
        let (partition, sequence) = last_event.map(|(partition, sequence)| (partition, rows::signed(sequence))).unzip();
        match change {
            RequestChange::Insert(request) => {
                let (ask, answer) = (request.ask.as_ref(), request.answer.as_ref());
                self.insert_request.execute(params![
                    request.id.as_bytes(),
                    request.key,
                    request.fingerprint,
                    request.state.as_str(),
                    request.collection,
                    request.subject,
                    ask.map(|ask| &ask.service),
                    ask.map(|ask| &ask.path),
                    answer.map(|answer| answer.status),
                    answer.and_then(|answer| answer.location.as_ref()),
                    answer.map(|answer| &answer.body),
                    request.incarnation.as_bytes(),
                    request.until_ms,
                    request.trace,
                    ask.and_then(|ask| ask.question.as_ref()),
                    answer.and(partition),
                    answer.and(sequence),
                ])?;
                let subject = request.takes_its_subject().then_some(request.subject);
                counters.request_added(&request.collection, subject.unwrap_or_default());
            }
            RequestChange::Move { id, to, answer: None, .. } => {
                self.move_request.execute(params![id.as_bytes(), to.as_str()])?;
            }
            RequestChange::Move { id, to, answer: Some(answer), .. } => {
                self.answer_request.execute(params![
                    id.as_bytes(),
                    to.as_str(),
                    answer.status,
                    answer.location,
                    answer.body,
                    partition,
                    sequence,
                ])?;
            }
            RequestChange::Delay { id, until_ms, answer } => {
                let answer = answer.as_ref();
                self.delay_request.execute(params![
                    id.as_bytes(),
                    until_ms,
                    answer.map(|answer| answer.status),
                    answer.and_then(|answer| answer.location.as_ref()),
                    answer.map(|answer| &answer.body),
                    partition,
                    sequence,
                ])?;
            }
            RequestChange::ReleaseKey { id } => {
                self.release_key.execute([id.as_bytes()])?;
            }
        }
        Ok(())
    }

    fn apply_document(
        &mut self,
        change: &DocumentChange,
        was_shown: bool,
        counters: &mut Counters,
    ) -> rusqlite::Result<()> {
        let Some(position) = self.place_of(change.collection) else { return Ok(()) };
        let collection = &mut self.collections[position];
        let values = params![change.id, rows::signed(change.expected_version + 1), change.shown, change.body];
        let statement = if change.expected_version == 0 { &mut collection.insert } else { &mut collection.update };
        statement.execute(values)?;
        counters.document_written(position, change.id, was_shown, change.shown);
        match &change.wait {
            WaitChange::Keep => {}
            WaitChange::Begin(Wait { name, due_ms, trace }) => {
                self.begin_wait.execute(params![change.id, change.collection, name, due_ms, trace])?;
            }
            WaitChange::End => {
                self.end_wait.execute(params![change.id, change.collection])?;
            }
        }
        Ok(())
    }

    fn apply_event(&mut self, entry: &JournalEntry, counters: &mut Counters) -> rusqlite::Result<(u16, u64)> {
        let partition = partition_of(entry.key, counters.partitions());
        let sequence = counters.next_sequence(partition);
        let JournalEntry { event_type, key, time_ms, trace, body } = entry;
        let values = params![partition, rows::signed(sequence), event_type, key, time_ms, body, trace];
        self.insert_event.execute(values)?;
        Ok((partition, sequence))
    }

    fn apply_place(&mut self, change: &PositionChange) -> rusqlite::Result<()> {
        let position = &change.position;
        let values =
            params![position.source, position.partition, position.epoch.as_bytes(), rows::signed(position.sequence)];
        self.set_place.execute(values).map(drop)
    }

    /// Deletes the oldest requests that are not in doubt. Once an hour or so; its statements are not worth keeping.
    pub(super) fn purge(
        &mut self,
        before_ms: i64,
        keep_at_most: u64,
        counters: &mut Counters,
    ) -> rusqlite::Result<u64> {
        let prepare = |sql: &str| -> rusqlite::Result<CachedStatement<'_>> { self.connection.prepare_cached(sql) };
        let in_doubt: i64 = prepare(&format!("SELECT count(*) FROM requests WHERE {}", rows::IN_DOUBT))?
            .query_row([], |row| row.get(0))?;
        let answered = counters.requests().saturating_sub(rows::unsigned(in_doubt));
        let too_many = answered.saturating_sub(keep_at_most);
        let oldest: Vec<[u8; 16]> =
            prepare(&format!("SELECT id FROM requests WHERE NOT ({}) ORDER BY id LIMIT ?1", rows::IN_DOUBT))?
                .query_map([limits::PURGE_MAX_ROWS], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
        let mut delete = prepare("DELETE FROM requests WHERE id = ?1")?;
        let mut gone = 0;
        for id in oldest {
            if gone >= too_many && values::time_ms(Uuid::from_bytes(id)) >= before_ms {
                break;
            }
            delete.execute([id])?;
            gone += 1;
        }
        counters.requests_purged(gone);
        Ok(gone)
    }

    pub(super) fn set_counter(&mut self, name: &str, value: i64) -> rusqlite::Result<()> {
        self.set_counter.execute(params![name, value]).map(drop)
    }

    fn place_of(&self, collection: &str) -> Option<usize> {
        self.collections.iter().position(|known| known.name == collection)
    }
}

impl Facts for Statements<'_> {
    type Error = rusqlite::Error;

    fn version(&mut self, collection: &'static str, id: i64) -> rusqlite::Result<u64> {
        let Some(position) = self.place_of(collection) else { return Ok(0) };
        let row = self.collections[position]
            .version
            .query_row([id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))
            .optional()?;
        let (version, shown) = row.unwrap_or((0, false));
        self.was_shown.push(shown);
        Ok(rows::unsigned(version))
    }

    fn has_body(&mut self, collection: &'static str, id: i64, body: &str) -> rusqlite::Result<bool> {
        let Some(position) = self.place_of(collection) else { return Ok(false) };
        let has_body = &mut self.collections[position].has_body;
        Ok(has_body.query_row(params![id, body], |row| row.get(0)).optional()?.unwrap_or(false))
    }

    fn request(&mut self, id: Uuid) -> rusqlite::Result<Option<RequestFacts>> {
        let facts = |row: &rusqlite::Row<'_>| {
            Ok(RequestFacts { state: rows::state(row, 0)?, has_key: row.get(1)?, answered: row.get(2)? })
        };
        self.request.query_row([id.as_bytes()], facts).optional()
    }

    fn key_owner(&mut self, key: &str) -> rusqlite::Result<Option<Uuid>> {
        self.key_owner.query_row([key], |row| rows::uuid(row, 0)).optional()
    }

    fn position(&mut self, source: &str, partition: u16) -> rusqlite::Result<Option<(Uuid, u64)>> {
        let position = |row: &rusqlite::Row<'_>| Ok((rows::uuid(row, 0)?, rows::unsigned(row.get(1)?)));
        self.position.query_row(params![source, partition], position).optional()
    }
}
