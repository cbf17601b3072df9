//! What a group of commits reads, and what it writes: a handful of statements, whatever the size of the group.

use super::{
    rows, schema,
    session::{Call, Session},
};
use crate::{
    DocumentChange, Schema, Wait, WaitChange,
    values::signed,
    writing::{Group, RequestAfter},
};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// Begins a transaction and reads what the commits of a group depend on: all at once, in one round trip.
pub(super) async fn look_up(session: &Session, schema: &Schema, group: &mut Group<'_>) -> Result<(), Error> {
    let (mut calls, mut kinds) = (vec![Call::new("BEGIN")], Vec::new());
    for collection in schema.collections.iter().map(|collection| collection.name) {
        let named = group.documents.iter().filter(|((name, _), _)| *name == collection);
        let (mut ids, mut wanted) = (Vec::new(), Vec::new());
        for ((_, id), document) in named {
            ids.push(*id);
            wanted.extend(document.is_content_wanted.then_some(*id));
        }
        if !ids.is_empty() {
            let sql = format!(
                "SELECT id, version, shown, CASE WHEN id = ANY ($2) THEN body::text END FROM {} WHERE id = ANY ($1)",
                schema::table(collection)
            );
            calls.push(Call::new(sql).with(ids).with(wanted));
            kinds.push(Found::Documents(collection));
        }
    }
    if !group.requests.is_empty() {
        let ids: Vec<Uuid> = group.requests.keys().copied().collect();
        let sql = "SELECT id, state, key IS NOT NULL, answer_status IS NOT NULL FROM requests WHERE id = ANY ($1)";
        calls.push(Call::new(sql).with(ids));
        kinds.push(Found::Requests);
    }
    if !group.keys.is_empty() {
        let keys: Vec<String> = group.keys.keys().map(|key| (*key).to_owned()).collect();
        calls.push(Call::new("SELECT key, id FROM requests WHERE key = ANY ($1)").with(keys));
        kinds.push(Found::Keys);
    }
    if !group.positions.is_empty() {
        calls.push(Call::new("SELECT source, partition, epoch, sequence FROM places"));
        kinds.push(Found::Positions);
    }
    for (kind, rows) in kinds.into_iter().zip(session.pipeline(&calls).await?.into_iter().skip(1)) {
        for row in &rows {
            kind.tell(group, row)?;
        }
    }
    Ok(())
}

/// What rows are about.
enum Found {
    Documents(&'static str),
    Requests,
    Keys,
    Positions,
}

impl Found {
    fn tell(&self, group: &mut Group<'_>, row: &Row) -> Result<(), Error> {
        match self {
            Self::Documents(collection) => {
                let (id, version) = (row.try_get(0)?, rows::number(row, 1)?);
                group.found_document((collection, id), version, row.try_get(2)?, row.try_get(3)?);
            }
            Self::Requests => {
                let (id, facts) = rows::facts(row)?;
                group.found_request(id, facts);
            }
            Self::Keys => group.found_key(row.try_get(0)?, row.try_get(1)?),
            Self::Positions => {
                let position = rows::position(row)?;
                group.found_position(&position.source, position.partition, position.epoch, position.sequence);
            }
        }
        Ok(())
    }
}

/// Writes what a group makes: no more than one statement a table, besides one for what is new and one for what was there.
pub(super) fn writes<'g>(schema: &Schema, group: &'g Group<'_>) -> Vec<Call<'g>> {
    let mut calls = Vec::new();
    for collection in schema.collections.iter().map(|collection| collection.name) {
        let table = schema::table(collection);
        let rows = "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::text[]::json[])";
        documents(&mut calls, group.changed_documents(collection, true), || format!("INSERT INTO {table} {rows}"));
        documents(&mut calls, group.changed_documents(collection, false), || {
            format!(
                "UPDATE {table} d SET version = u.version, shown = u.shown, body = u.body
                 FROM ({rows}) AS u (id, version, shown, body) WHERE d.id = u.id"
            )
        });
    }
    events(&mut calls, group);
    changed_requests(&mut calls, group); // first: they let go of keys that new ones have
    new_requests(&mut calls, group);
    waits(&mut calls, group);
    positions(&mut calls, group);
    calls
}

fn documents<'g>(
    calls: &mut Vec<Call<'g>>,
    changes: impl Iterator<Item = &'g DocumentChange>,
    sql: impl FnOnce() -> String,
) {
    let (mut ids, mut versions, mut shown, mut bodies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        ids.push(change.id);
        versions.push(signed(change.expected_version + 1));
        shown.push(change.shown);
        bodies.push(&*change.body);
    }
    if !ids.is_empty() {
        calls.push(Call::new(sql()).with(ids).with(versions).with(shown).with(bodies));
    }
}

fn events<'g>(calls: &mut Vec<Call<'g>>, group: &'g Group<'_>) {
    if group.events.is_empty() {
        return;
    }
    let (mut partitions, mut sequences, mut types) = (Vec::new(), Vec::new(), Vec::new());
    let (mut keys, mut times, mut bodies, mut traces) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (partition, sequence, entry) in &group.events {
        partitions.push(i32::from(*partition));
        sequences.push(signed(*sequence));
        types.push(entry.event_type);
        keys.push(entry.key);
        times.push(entry.time_ms);
        bodies.push(&*entry.body);
        traces.push(entry.trace.as_ref().map(|trace| &trace[..]));
    }
    let sql = "INSERT INTO journal SELECT * FROM
        unnest($1::integer[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[])";
    let call = Call::new(sql).with(partitions).with(sequences).with(types).with(keys);
    calls.push(call.with(times).with(bodies).with(traces));
}

/// The columns of what becomes of requests.
#[derive(Default)]
struct After<'g> {
    ids: Vec<Uuid>,
    states: Vec<&'static str>,
    has_key: Vec<bool>,
    until_ms: Vec<Option<i64>>,
    statuses: Vec<Option<i32>>,
    locations: Vec<Option<&'g str>>,
    bodies: Vec<Option<&'g str>>,
    partitions: Vec<Option<i32>>,
    sequences: Vec<Option<i64>>,
}

impl<'g> After<'g> {
    fn push(&mut self, id: Uuid, after: RequestAfter<'g>) {
        let answer = after.answer.map(|(answer, _)| answer);
        let (partition, sequence) = after.answer.and_then(|(_, last_event)| last_event).unzip();
        self.ids.push(id);
        self.states.push(after.state.as_str());
        self.has_key.push(after.has_key);
        self.until_ms.push(after.until_ms);
        self.statuses.push(answer.map(|answer| i32::from(answer.status)));
        self.locations.push(answer.and_then(|answer| answer.location.as_deref()));
        self.bodies.push(answer.map(|answer| &*answer.body));
        self.partitions.push(partition.map(i32::from));
        self.sequences.push(sequence.map(signed));
    }

    fn into_call(self, sql: &'static str) -> Call<'g> {
        let call = Call::new(sql).with(self.ids).with(self.states).with(self.has_key).with(self.until_ms);
        let call = call.with(self.statuses).with(self.locations).with(self.bodies);
        call.with(self.partitions).with(self.sequences)
    }
}

fn changed_requests<'g>(calls: &mut Vec<Call<'g>>, group: &'g Group<'_>) {
    let mut all = After::default();
    for (id, after) in group.changed_requests() {
        all.push(id, after);
    }
    if !all.ids.is_empty() {
        // An answer is five columns: where a status comes, all of it comes.
        calls.push(all.into_call(
            "UPDATE requests r SET state = u.state, key = CASE WHEN u.has_key THEN r.key END,
                until_ms = coalesce(u.until_ms, r.until_ms), answer_status = coalesce(u.status, r.answer_status),
                answer_location = CASE WHEN u.status IS NULL THEN r.answer_location ELSE u.location END,
                answer_body = CASE WHEN u.status IS NULL THEN r.answer_body ELSE u.body END,
                answer_partition = CASE WHEN u.status IS NULL THEN r.answer_partition ELSE u.partition END,
                answer_sequence = CASE WHEN u.status IS NULL THEN r.answer_sequence ELSE u.sequence END
             FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::bigint[], $5::integer[], $6::text[], $7::text[],
                $8::integer[], $9::bigint[])
                AS u (id, state, has_key, until_ms, status, location, body, partition, sequence)
             WHERE r.id = u.id",
        ));
    }
}

fn new_requests<'g>(calls: &mut Vec<Call<'g>>, group: &'g Group<'_>) {
    let mut all = After::default();
    let (mut keys, mut fingerprints, mut collections, mut subjects) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut services, mut paths, mut questions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut incarnations, mut traces) = (Vec::new(), Vec::new());
    for (request, after) in group.new_requests() {
        all.push(request.id, after);
        keys.push(request.key.as_deref());
        fingerprints.push(&request.fingerprint[..]);
        collections.push(&*request.collection);
        subjects.push(request.subject);
        let ask = request.ask.as_ref();
        services.push(ask.map(|ask| &*ask.service));
        paths.push(ask.map(|ask| &*ask.path));
        questions.push(ask.and_then(|ask| ask.question.as_deref()));
        incarnations.push(request.incarnation);
        traces.push(request.trace.as_ref().map(|trace| &trace[..]));
    }
    if all.ids.is_empty() {
        return;
    }
    let call = all.into_call(
        "INSERT INTO requests (id, state, key, until_ms, answer_status, answer_location, answer_body, answer_partition,
            answer_sequence, fingerprint, collection, subject, ask_service, ask_path, ask_question, incarnation, trace)
         SELECT id, state, CASE WHEN has_key THEN key END, until_ms, status, location, body, partition, sequence,
            fingerprint, collection, subject, service, path, question, incarnation, trace
         FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::bigint[], $5::integer[], $6::text[], $7::text[],
            $8::integer[], $9::bigint[], $10::text[], $11::bytea[], $12::text[], $13::bigint[], $14::text[], $15::text[],
            $16::text[], $17::uuid[], $18::bytea[])
            AS u (id, state, has_key, until_ms, status, location, body, partition, sequence, key, fingerprint, collection,
                subject, service, path, question, incarnation, trace)",
    );
    let call = call.with(keys).with(fingerprints).with(collections).with(subjects);
    calls.push(call.with(services).with(paths).with(questions).with(incarnations).with(traces));
}

fn waits<'g>(calls: &mut Vec<Call<'g>>, group: &'g Group<'_>) {
    let (mut ended_ids, mut ended_collections) = (Vec::new(), Vec::new());
    let (mut ids, mut collections) = (Vec::new(), Vec::new());
    let (mut names, mut due, mut traces) = (Vec::new(), Vec::new(), Vec::new());
    for ((id, collection), change) in &group.waits {
        match change {
            WaitChange::Keep => {}
            WaitChange::End => {
                ended_ids.push(*id);
                ended_collections.push(*collection);
            }
            WaitChange::Begin(Wait { name, due_ms, trace }) => {
                ids.push(*id);
                collections.push(*collection);
                names.push(&**name);
                due.push(*due_ms);
                traces.push(trace.as_ref().map(|trace| &trace[..]));
            }
        }
    }
    if !ended_ids.is_empty() {
        let sql = "DELETE FROM waits w USING unnest($1::bigint[], $2::text[]) AS u (id, collection)
            WHERE w.id = u.id AND w.collection = u.collection";
        calls.push(Call::new(sql).with(ended_ids).with(ended_collections));
    }
    if !ids.is_empty() {
        let sql = "INSERT INTO waits SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bytea[])
            ON CONFLICT (id, collection) DO UPDATE SET name = excluded.name, due_ms = excluded.due_ms, trace = excluded.trace";
        calls.push(Call::new(sql).with(ids).with(collections).with(names).with(due).with(traces));
    }
}

fn positions<'g>(calls: &mut Vec<Call<'g>>, group: &'g Group<'_>) {
    let (mut sources, mut partitions) = (Vec::new(), Vec::new());
    let (mut epochs, mut sequences) = (Vec::new(), Vec::new());
    for position in group.positions.iter().filter_map(|known| known.change).map(|change| &change.position) {
        sources.push(&*position.source);
        partitions.push(i32::from(position.partition));
        epochs.push(position.epoch);
        sequences.push(signed(position.sequence));
    }
    if !sources.is_empty() {
        let sql = "INSERT INTO places SELECT * FROM unnest($1::text[], $2::integer[], $3::uuid[], $4::bigint[])
            ON CONFLICT (source, partition) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence";
        calls.push(Call::new(sql).with(sources).with(partitions).with(epochs).with(sequences));
    }
}

/// Writes counters.
pub(super) fn counters(names: Vec<String>, values: Vec<i64>) -> Call<'static> {
    let sql = "INSERT INTO counters SELECT * FROM unnest($1::text[], $2::bigint[])
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    Call::new(sql).with(names).with(values)
}
