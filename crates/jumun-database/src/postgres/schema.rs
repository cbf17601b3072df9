//! What is in the schema: tables, how they came to be, and whether it is ours at all.
//!
//! ```text
//! meta                schema (its version), service, epoch, partitions, processes (how many may use it at a time: one),
//!                     holder (the process that writes), and the collections as JSON, so that a reader needs no
//!                     configuration
//! counters            as of the SQLite adapter, and `groups`: the number of the last transaction
//! journal, places, requests, bases, waits
//! <name>_documents    one table a collection; an index per indexed field
//! <name>              a view of it, for people: id and the fields as columns, hidden documents left out
//! <name>_documents_shadow, <name>_documents_base   see [`super::shadow`]
//! ```
//!
//! A document is `json`, which keeps its text as it was given. What documents are found and sorted by are two expressions a
//! field: [`text`] and [`number`]; of each document at most one of them is not null.

use super::session::{Call, Session, text_of};
use crate::{
    Identity, OpenError, Schema, Sharing,
    names::{self, BASE, SHADOW, StoredCollection},
};
use std::iter;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// Each entry makes a schema of version n out of one of version n - 1. Never changed once released, only added to.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL);
    CREATE TABLE counters (name text PRIMARY KEY, value bigint NOT NULL) WITH (fillfactor = 50);
    CREATE TABLE journal (
        partition integer NOT NULL,
        sequence bigint NOT NULL,
        event_type text NOT NULL,
        key bigint NOT NULL,
        time_ms bigint NOT NULL,
        body text NOT NULL,
        trace bytea,
        PRIMARY KEY (partition, sequence)
    );
    CREATE TABLE places (
        source text COLLATE \"C\" NOT NULL,
        partition integer NOT NULL,
        epoch uuid NOT NULL,
        sequence bigint NOT NULL,
        PRIMARY KEY (source, partition)
    ) WITH (fillfactor = 50);
    CREATE TABLE requests (
        id uuid PRIMARY KEY,
        key text,
        fingerprint bytea NOT NULL,
        state text NOT NULL,
        collection text NOT NULL,
        subject bigint NOT NULL,
        ask_service text,
        ask_path text,
        ask_question text,
        answer_status integer,
        answer_location text,
        answer_body text,
        answer_partition integer,
        answer_sequence bigint,
        incarnation uuid NOT NULL,
        until_ms bigint NOT NULL,
        trace bytea
    );
    CREATE UNIQUE INDEX requests_by_key ON requests (key) WHERE key IS NOT NULL;
    CREATE INDEX requests_in_doubt_by_state ON requests (state, id) WHERE state IN ('asking', 'delayed', 'voiding');
    CREATE INDEX requests_in_doubt_by_subject ON requests (subject) WHERE state IN ('asking', 'delayed', 'voiding');
    CREATE INDEX requests_delayed_by_until ON requests (until_ms) WHERE state = 'delayed';
    CREATE TABLE bases (
        collection text NOT NULL,
        source text COLLATE \"C\" NOT NULL,
        partition integer NOT NULL,
        epoch uuid NOT NULL,
        sequence bigint NOT NULL,
        PRIMARY KEY (collection, source, partition)
    );
    CREATE TABLE waits (
        id bigint NOT NULL,
        collection text COLLATE \"C\" NOT NULL,
        name text NOT NULL,
        due_ms bigint NOT NULL,
        trace bytea,
        PRIMARY KEY (id, collection)
    );
    CREATE INDEX waits_by_due ON waits (due_ms, id, collection);
    INSERT INTO meta VALUES ('processes', 'one');
"];

/// The newest version.
pub(super) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Which version the schema has; `None`: there is no such schema, or nothing is in it.
pub(super) async fn version(session: &Session, schema: &str, path: &str) -> Result<Option<u32>, OpenError> {
    let failed = |error: Error| open_error(path, &error);
    let sql = "SELECT to_regclass(format('%I.meta', $1::text)) IS NOT NULL,
        EXISTS (SELECT 1 FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1)";
    let rows = session.query(&Call::new(sql).with(schema)).await.map_err(failed)?;
    let Some(row) = rows.first() else { return Ok(None) };
    match (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?) {
        (false, false) => return Ok(None),
        (false, true) => {
            let why = "the schema has tables of another program; name another one with `schema=` in the address";
            return Err(OpenError::Foreign { path: path.to_owned(), why: why.to_owned() });
        }
        (true, _) => {}
    }
    let found = meta(session, "schema").await.map_err(failed)?;
    let Some(version) = found.as_deref().and_then(|text| text.parse().ok()) else {
        let why = "its table `meta` does not say which version it has".to_owned();
        return Err(OpenError::Foreign { path: path.to_owned(), why });
    };
    if version > newest() {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known: newest() });
    }
    Ok(Some(version))
}

/// Makes the schema, unless it is there, and migrates it to the newest version, one transaction a version: after a crash it
/// resumes where it stopped. The caller holds the lock of the database.
pub(super) async fn migrate(session: &Session, schema: &str, path: &str, found: Option<u32>) -> Result<(), OpenError> {
    let failed = |error: Error| open_error(path, &error);
    let is_there = Call::new("SELECT 1 FROM pg_namespace WHERE nspname = $1").with(schema);
    if session.query(&is_there).await.map_err(failed)?.is_empty() {
        session.script(&format!("CREATE SCHEMA \"{schema}\"")).await.map_err(failed)?;
    }
    let done = found.unwrap_or(0);
    for (sql, version) in MIGRATIONS.iter().zip(1_u32..).skip(done as usize) {
        let script = format!(
            "BEGIN; SET LOCAL statement_timeout = 0; {sql};
             INSERT INTO meta VALUES ('schema', '{version}') ON CONFLICT (name) DO UPDATE SET value = excluded.value;
             COMMIT"
        );
        transaction(session, &script).await.map_err(failed)?;
    }
    Ok(())
}

/// Runs a script that is one transaction; nothing of it stays if it fails.
pub(super) async fn transaction(session: &Session, script: &str) -> Result<(), Error> {
    let done = session.script(script).await;
    if done.is_err() {
        // Without a connection there is no transaction either.
        let _ = session.script("ROLLBACK").await;
    }
    done
}

/// Checks that the database belongs to this service, or assigns it, and gives each collection its table, indexes and
/// view. That is not a migration: a later release may have new collections and fields.
pub(super) async fn adopt(session: &Session, path: &str, schema: &Schema) -> Result<Identity, OpenError> {
    let failed = |error: Error| open_error(path, &error);
    let unusable = |why| OpenError::Unusable { path: path.to_owned(), why };
    names::check_names(schema).map_err(unusable)?;
    if meta(session, "service").await.map_err(failed)?.is_some() {
        load(session, path).await?.identity.check(schema, path)?;
    } else {
        let (service, partitions) = (&schema.service, schema.partitions.max(1));
        let values = [
            ("service", service.clone()),
            ("epoch", Uuid::new_v4().to_string()),
            ("partitions", partitions.to_string()),
        ];
        let (names, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        let insert = "INSERT INTO meta SELECT * FROM unnest($1::text[], $2::text[])";
        session.execute(&Call::new(insert).with(names).with(values)).await.map_err(failed)?;
    }
    define_collections(session, schema).await.map_err(failed)?;
    set_meta(session, "collections", names::collections_to_json(schema)).await.map_err(failed)?;
    Ok(load(session, path).await?.identity)
}

/// What a database says about itself.
pub(super) struct Stored {
    pub(super) identity: Identity,
    pub(super) collections: Vec<StoredCollection>,
}

/// Reads what [`adopt`] has written.
pub(super) async fn load(session: &Session, path: &str) -> Result<Stored, OpenError> {
    let failed = |error: Error| open_error(path, &error);
    let rows = session.query(&Call::new("SELECT name, value FROM meta")).await.map_err(failed)?;
    let pair = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
    let all: Vec<(String, String)> = rows.iter().map(pair).collect::<Result<_, Error>>().map_err(failed)?;
    let value = |wanted: &str| {
        let found = all.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        found.ok_or_else(|| damaged(path, wanted, "is missing"))
    };
    let unreadable = |name: &str| damaged(path, name, "cannot be read");
    let identity = Identity {
        service: value("service")?.to_owned(),
        epoch: value("epoch")?.parse().map_err(|_| unreadable("epoch"))?,
        partitions: value("partitions")?.parse().map_err(|_| unreadable("partitions"))?,
        sharing: Sharing::parse(value("processes")?).ok_or_else(|| unreadable("processes"))?,
    };
    let collections = names::collections_from_json(value("collections").unwrap_or("[]"));
    Ok(Stored { identity, collections: collections.ok_or_else(|| unreadable("collections"))? })
}

fn damaged(path: &str, name: &str, how: &str) -> OpenError {
    OpenError::Unusable {
        path: path.to_owned(),
        why: format!("its table `meta` is not as a service wrote it: `{name}` {how}"),
    }
}

async fn define_collections(session: &Session, schema: &Schema) -> Result<(), Error> {
    for collection in &schema.collections {
        let (name, table) = (collection.name, table(collection.name));
        let mut script = vec![
            "BEGIN; SET LOCAL statement_timeout = 0".to_owned(),
            format!("CREATE TABLE IF NOT EXISTS {table} {COLUMNS}"),
            format!(
                "INSERT INTO counters SELECT 'shown/{name}', count(*) FROM {table} WHERE shown ON CONFLICT DO NOTHING"
            ),
        ];
        let wanted = fields_of_indexes(schema, name);
        let found = indexes_of(session, &format!("{name}_documents")).await?;
        let is_wanted = |index_name: &String| wanted.iter().any(|fields| index(name, fields).contains(index_name));
        script.extend(found.iter().filter(|old| !is_wanted(old)).map(|old| format!("DROP INDEX \"{old}\"")));
        for fields in &wanted {
            let [usual, other] = index(name, fields);
            if !found.contains(&usual) && !found.contains(&other) {
                script.push(index_sql(&usual, &table, fields));
            }
        }
        let columns: Vec<&str> = schema_fields(schema, name).collect();
        if columns_of(session, name).await? != [&["id"], &*columns].concat() {
            script.push(format!("DROP VIEW IF EXISTS \"{name}\""));
        }
        script.push(view_sql(name, &columns));
        script.push("COMMIT".to_owned());
        transaction(session, &script.join(";\n")).await?;
    }
    Ok(())
}

/// The fields of a collection that are columns of its view, besides `id`.
fn schema_fields<'s>(schema: &'s Schema, collection: &str) -> impl Iterator<Item = &'s str> {
    let known = schema.collections.iter().find(|known| known.name == collection);
    let fields = known.into_iter().flat_map(|known| &known.fields).map(|field| &*field.name);
    fields.filter(|name| *name != "id")
}

/// Puts the view of a collection on the table that has its documents now. Whoever may read it still may.
pub(super) fn view_of(schema: &Schema, collection: &str) -> String {
    view_sql(collection, &schema_fields(schema, collection).collect::<Vec<_>>())
}

fn view_sql(collection: &str, fields: &[&str]) -> String {
    let fields = fields.iter().map(|name| format!("body->>'{name}' AS \"{name}\""));
    let columns: Vec<_> = iter::once("id".to_owned()).chain(fields).collect();
    let (columns, table) = (columns.join(", "), table(collection));
    format!("CREATE OR REPLACE VIEW \"{collection}\" AS SELECT {columns} FROM {table} WHERE shown")
}

/// The fields of each index of a collection, with `+` between them, which is in no name.
pub(super) fn fields_of_indexes(schema: &Schema, collection: &str) -> Vec<String> {
    let known = schema.collections.iter().find(|known| known.name == collection);
    let single = known.into_iter().flat_map(|known| &known.fields).filter(|field| field.indexed && field.name != "id");
    let several = known.into_iter().flat_map(|known| &known.indexes).map(|fields| fields.join("+"));
    single.map(|field| field.name.to_string()).chain(several).collect()
}

/// The names of the indexes of a table, that of its primary key left out.
pub(super) async fn indexes_of(session: &Session, table: &str) -> Result<Vec<String>, Error> {
    let sql = "SELECT c.relname::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid
        WHERE indrelid = to_regclass(quote_ident($1)) AND NOT indisprimary";
    session.query(&Call::new(sql).with(table)).await?.iter().map(|row| row.try_get(0)).collect()
}

async fn columns_of(session: &Session, view: &str) -> Result<Vec<String>, Error> {
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(quote_ident($1)) AND attnum > 0 ORDER BY attnum";
    session.query(&Call::new(sql).with(view)).await?.iter().map(|row| row.try_get(0)).collect()
}

/// Whether there is a table of this name.
pub(super) fn exists(table: String) -> Call<'static> {
    Call::new("SELECT to_regclass(quote_ident($1)) IS NOT NULL").with(table)
}

/// The columns of documents.
pub(super) const COLUMNS: &str =
    "(id bigint PRIMARY KEY, version bigint NOT NULL, shown boolean NOT NULL, body json NOT NULL)";

/// The table of a collection, quoted.
pub(super) fn table(collection: &str) -> String {
    format!("\"{collection}_documents\"")
}

/// The table of a collection's shadow.
pub(super) fn shadow(collection: &str) -> String {
    format!("{collection}{SHADOW}")
}

/// The table of a collection's base.
pub(super) fn base(collection: &str) -> String {
    format!("{collection}{BASE}")
}

/// The name of an index. There are two of each, as a shadow has its indexes beside those of the documents.
pub(super) fn index(collection: &str, fields: &str) -> [String; 2] {
    let name = format!("{collection}_by_{fields}");
    // Longer names are cut by the server, and might then be the same.
    let short = if name.len() < 63 { name } else { format!("{}~{:016x}", prefix(&name, 40), hash(&name)) };
    [short.clone(), format!("{short}~")]
}

fn prefix(name: &str, bytes: usize) -> &str {
    let end = (0..=bytes).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    &name[..end]
}

/// FNV-1a, written down here because names of indexes stay.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Hidden documents are in no list, so they need not be in an index either.
pub(super) fn index_sql(index: &str, table: &str, fields: &str) -> String {
    let terms: Vec<_> = fields.split('+').map(|name| order(name, "ASC")).collect();
    format!("CREATE INDEX \"{index}\" ON {table} ({}, id) WHERE shown", terms.join(", "))
}

/// The order by a field: first what has no value, then numbers, then texts.
pub(super) fn order(name: &str, direction: &str) -> String {
    let nulls = if direction == "ASC" { "FIRST" } else { "LAST" };
    format!("{} {direction} NULLS {nulls}, {} {direction} NULLS {nulls}", text(name), number(name))
}

/// A field that holds a text, or else null. An index is used only where a query says exactly what the index says, so both
/// take it here.
pub(super) fn text(name: &str) -> String {
    format!(
        "((CASE {} WHEN 'number' THEN NULL WHEN 'boolean' THEN NULL ELSE body->>'{name}' END) COLLATE \"C\")",
        kind(name)
    )
}

/// A field that holds a number, or true or false as 1 and 0, or else null.
pub(super) fn number(name: &str) -> String {
    format!(
        "(CASE {} WHEN 'number' THEN (body->>'{name}')::numeric WHEN 'boolean' THEN (body->>'{name}')::boolean::integer::numeric END)",
        kind(name)
    )
}

/// What kind of value a field holds: `'string'`, `'number'`, `'boolean'`, `'null'`, and others.
pub(super) fn kind(name: &str) -> String {
    format!("json_typeof(body->'{name}')")
}

async fn meta(session: &Session, name: &str) -> Result<Option<String>, Error> {
    let rows = session.query(&Call::new("SELECT value FROM meta WHERE name = $1").with(name)).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}

/// Writes a value of `meta`.
pub(super) async fn set_meta(session: &Session, name: &str, value: String) -> Result<(), Error> {
    let sql = "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    session.execute(&Call::new(sql).with(name).with(value)).await.map(drop)
}

/// What an error means for whoever opens a database.
pub(super) fn open_error(path: &str, error: &Error) -> OpenError {
    let (path, why) = (path.to_owned(), text_of(error));
    match error.as_db_error().map(|told| told.code().code()) {
        // Authorization, no such database, no privilege.
        Some("28P01" | "28000" | "3D000" | "42501") => OpenError::Refused { path, why },
        Some("57P01" | "57P02" | "57P03" | "53300") | None => OpenError::Unreachable { path, why },
        Some(_) => OpenError::Unusable { path, why },
    }
}
