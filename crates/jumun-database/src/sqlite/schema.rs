//! What is in the file: tables, how they came to be, and whether it is ours at all.
//!
//! ```text
//! meta                service, epoch, partitions, processes (how many may use it at a time: one), and the collections as
//!                     JSON, so that a reader needs no configuration; dates, while those of an earlier release are still
//!                     to be written in three digits of a second; texts, while those of an earlier release are still to be
//!                     written in the spelling that finders look for
//! counters            journal/<partition>   the last number given out
//!                     ids/<collection>      the largest subject of a request that was not done at once; survives its purge
//!                     shown/<collection>    how many documents are shown
//!                     requests              how many requests there are
//! journal, positions, requests, bases
//! waits               documents in which something is to be done in time, and until when
//! <name>_documents    one table a collection; an index per indexed field
//! <name>              a view of it, for people: id and the fields as columns, hidden documents left out
//! <name>_documents_shadow   where a view is rebuilt, see [`super::shadow`]; mostly not there
//! <name>_documents_base     what a view was when the log was cut; its positions are in `bases`
//! ```
//!
//! All counters are in one table because that is one page: a commit changes several of them at once.

use super::failure::open_error;
pub(super) use crate::names::{BASE, SHADOW, StoredCollection};

use crate::{
    Collection, Field, Identity, OpenError, Schema, Sharing, limits,
    names::{check_names, collections_from_json, collections_to_json},
};
use rusqlite::{Connection, OptionalExtension, params};
use std::{iter, path::Path};
use uuid::Uuid;

/// "JUMN": how a file says that it is one of ours.
pub(super) const APPLICATION_ID: i32 = 0x4A55_4D4E;

/// Each entry makes a schema of version n out of one of version n - 1. Never changed once released, only added to.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE journal (
        partition INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        key INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (partition, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE places (
        source TEXT NOT NULL,
        partition INTEGER NOT NULL,
        epoch BLOB NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (source, partition)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE requests (
        id BLOB PRIMARY KEY,
        key TEXT,
        fingerprint BLOB NOT NULL,
        state TEXT NOT NULL,
        collection TEXT NOT NULL,
        subject INTEGER NOT NULL,
        ask_service TEXT,
        ask_path TEXT,
        answer_status INTEGER,
        answer_location TEXT,
        answer_body TEXT,
        incarnation BLOB NOT NULL,
        until_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX requests_by_key ON requests (key) WHERE key IS NOT NULL;
    CREATE INDEX requests_in_doubt_by_state ON requests (state, id) WHERE state IN ('asking', 'voiding');
    CREATE INDEX requests_in_doubt_by_subject ON requests (subject) WHERE state IN ('asking', 'voiding');
",
    "
    ALTER TABLE journal ADD COLUMN trace BLOB;
    ALTER TABLE requests ADD COLUMN trace BLOB;
",
    "
    CREATE TABLE bases (
        collection TEXT NOT NULL,
        source TEXT NOT NULL,
        partition INTEGER NOT NULL,
        epoch BLOB NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (collection, source, partition)
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE requests ADD COLUMN ask_question TEXT;
    DROP INDEX requests_in_doubt_by_state;
    DROP INDEX requests_in_doubt_by_subject;
    CREATE INDEX requests_in_doubt_by_state ON requests (state, id) WHERE state IN ('asking', 'delayed', 'voiding');
    CREATE INDEX requests_in_doubt_by_subject ON requests (subject) WHERE state IN ('asking', 'delayed', 'voiding');
    CREATE INDEX requests_delayed_by_until ON requests (until_ms) WHERE state = 'delayed';
",
    "
    INSERT INTO meta VALUES ('processes', 'one');
",
    "
    ALTER TABLE requests ADD COLUMN answer_partition INTEGER;
    ALTER TABLE requests ADD COLUMN answer_sequence INTEGER;
    INSERT INTO meta VALUES ('dates', 'of any width');
",
    "
    CREATE TABLE waits (
        id INTEGER NOT NULL,
        collection TEXT NOT NULL,
        name TEXT NOT NULL,
        due_ms INTEGER NOT NULL,
        trace BLOB,
        PRIMARY KEY (id, collection)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX waits_by_due ON waits (due_ms);
",
    "
    INSERT INTO meta VALUES ('texts', 'as they were sent');
",
    // With two words SQLite compares them; for a list of three it makes a table, for each request that is written.
    "
    DROP INDEX requests_in_doubt_by_state;
    DROP INDEX requests_in_doubt_by_subject;
    CREATE INDEX requests_in_doubt_by_state ON requests (state, id) WHERE state NOT IN ('done', 'voided');
    CREATE INDEX requests_in_doubt_by_subject ON requests (subject) WHERE state NOT IN ('done', 'voided');
",
];

/// Looks at the file without changing it: the version of its schema, 0 for an empty one.
pub(super) fn inspect(connection: &Connection, path: &Path, known: usize) -> Result<u32, OpenError> {
    let failed = |error| open_error(path, &error);
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(failed)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let file = path.display().to_string();
    if application == 0 && version == 0 && tables == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(OpenError::Foreign { path: file, why: "it is a database of another program".to_owned() });
    }
    let version = u32::try_from(version)
        .map_err(|_| OpenError::Damaged { path: file.clone(), why: format!("its schema has version {version}") })?;
    let known = u32::try_from(known).unwrap_or(u32::MAX);
    if version > known {
        return Err(OpenError::Newer { path: file, found: version, known });
    }
    Ok(version)
}

/// Migrates the file to the newest version, one transaction a version: after a crash it resumes where it stopped.
pub(super) fn migrate(connection: &Connection, path: &Path, migrations: &[&str]) -> Result<(), OpenError> {
    let found = inspect(connection, path, migrations.len())?;
    for (sql, version) in migrations.iter().zip(1_u32..).skip(found as usize) {
        let script = format!(
            "BEGIN IMMEDIATE; {sql}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}; COMMIT"
        );
        if let Err(error) = run_script(connection, &script) {
            roll_back(connection);
            return Err(open_error(path, &error));
        }
    }
    Ok(())
}

/// Checks that the database belongs to this service, or assigns it, and gives each collection its table, indexes and
/// view. That is not a migration: a later release may have new collections and fields.
pub(super) fn adopt(connection: &Connection, path: &Path, schema: &Schema) -> Result<(), OpenError> {
    check_names(schema).map_err(|why| OpenError::Unusable { path: path.display().to_string(), why })?;
    let adopted = run_script(connection, "BEGIN IMMEDIATE").map_err(|error| open_error(path, &error)).and_then(|()| {
        check_meta(connection, path, schema)?;
        define_collections(connection, schema).map_err(|error| open_error(path, &error))?;
        run_script(connection, "COMMIT").map_err(|error| open_error(path, &error))
    });
    if adopted.is_err() {
        roll_back(connection);
    }
    adopted?;
    let failed = |error| open_error(path, &error);
    widen_dates(connection, schema, limits::REWRITTEN_AT_ONCE).map_err(failed)?;
    respell_texts(connection, schema, limits::REWRITTEN_AT_ONCE).map_err(failed)
}

fn check_meta(connection: &Connection, path: &Path, schema: &Schema) -> Result<(), OpenError> {
    let failed = |error| open_error(path, &error);
    if meta(connection, "service").map_err(failed)?.is_some() {
        load(connection, path)?.identity.check(schema, &path.display().to_string())?;
    } else {
        set_meta(connection, "service", &schema.service).map_err(failed)?;
        set_meta(connection, "epoch", &Uuid::new_v4().to_string()).map_err(failed)?;
        set_meta(connection, "partitions", &schema.partitions.max(1).to_string()).map_err(failed)?;
    }
    set_meta(connection, "collections", &collections_to_json(schema)).map_err(failed)
}

/// What a database says about itself.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) identity: Identity,
    pub(super) collections: Vec<StoredCollection>,
}

/// Reads what [`adopt`] has written.
pub(super) fn load(connection: &Connection, path: &Path) -> Result<Stored, OpenError> {
    let value = |name: &str| {
        meta(connection, name).map_err(|error| open_error(path, &error))?.ok_or_else(|| OpenError::Damaged {
            path: path.display().to_string(),
            why: format!("its `{name}` is missing"),
        })
    };
    let unreadable = |name: &str| OpenError::Damaged {
        path: path.display().to_string(),
        why: format!("its `{name}` cannot be read"),
    };
    let identity = Identity {
        service: value("service")?,
        epoch: value("epoch")?.parse().map_err(|_| unreadable("epoch"))?,
        partitions: value("partitions")?.parse().map_err(|_| unreadable("partitions"))?,
        sharing: Sharing::parse(&value("processes")?).ok_or_else(|| unreadable("processes"))?,
    };
    let collections = collections_from_json(&value("collections")?).ok_or_else(|| unreadable("collections"))?;
    Ok(Stored { identity, collections })
}

/// The table of a collection, quoted.
pub(super) fn table(collection: &str) -> String {
    format!("\"{collection}_documents\"")
}

/// The columns of documents.
pub(super) const COLUMNS: &str = "(
    id INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    shown INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT";

/// The name of an index. There are two of each, as a shadow has its indexes beside those of the documents.
pub(super) fn index(collection: &str, field: &str) -> [String; 2] {
    [format!("{collection}_by_{field}"), format!("{collection}_by_{field}~")]
}

/// Hidden documents are in no list, so they need not be in an index either. `names`: the fields, with `+` between them, which
/// is in no name.
pub(super) fn index_sql(index: &str, table: &str, names: &str) -> String {
    let fields: Vec<_> = names.split('+').map(field).collect();
    format!("CREATE INDEX \"{index}\" ON {table} ({}) WHERE shown = 1", fields.join(", "))
}

/// A field of a document. An index is used only where a query says exactly what the index says, so both take it here.
pub(super) fn field(name: &str) -> String {
    format!("json_extract(body, '$.\"{name}\"')")
}

/// A field as a column of a view.
fn column(name: &str) -> String {
    format!("{} AS \"{name}\"", field(name))
}

/// What kind of value a field holds: `'text'`, `'integer'`, `'real'`, `'true'`, `'false'`, and others.
pub(super) fn kind(name: &str) -> String {
    format!("json_type(body, '$.\"{name}\"')")
}

fn define_collections(connection: &Connection, schema: &Schema) -> rusqlite::Result<()> {
    for collection in &schema.collections {
        let name = collection.name;
        let table = table(name);
        run_script(
            connection,
            &format!(
                "CREATE TABLE IF NOT EXISTS {table} {COLUMNS};
                INSERT INTO counters (name, value)
                    SELECT 'shown/{name}', (SELECT count(*) FROM {table} WHERE shown = 1)
                    WHERE NOT EXISTS (SELECT 1 FROM counters WHERE name = 'shown/{name}')"
            ),
        )?;
        let fields = collection.fields.iter().filter(|field| field.indexed && field.name != "id");
        let indexed: Vec<String> = fields
            .map(|field| field.name.to_string())
            .chain(collection.indexes.iter().map(|fields| fields.join("+")))
            .collect();
        let found = indexes_of(connection, &format!("{name}_documents"))?;
        for old in &found {
            if !indexed.iter().any(|fields| index(name, fields).contains(old)) {
                run_script(connection, &format!("DROP INDEX \"{old}\""))?;
            }
        }
        for wanted in &indexed {
            let [usual, other] = index(name, wanted);
            let index = if found.contains(&other) { other } else { usual };
            define(connection, "INDEX", &index, &index_sql(&index, &table, wanted))?;
        }
        let columns: Vec<String> = iter::once("id".to_owned())
            .chain(collection.fields.iter().map(|field| &*field.name).filter(|name| *name != "id").map(column))
            .collect();
        let sql = format!("CREATE VIEW \"{name}\" AS SELECT {} FROM {table} WHERE shown = 1", columns.join(", "));
        define(connection, "VIEW", name, &sql)?;
    }
    Ok(())
}

/// Writes the dates of an earlier release, which had as many digits of a second as they needed, with three. Texts of one
/// width sort by time. It is no migration, because no migration knows which fields are dates.
fn widen_dates(connection: &Connection, schema: &Schema, at_once: i64) -> rusqlite::Result<()> {
    let widened = rewrite(
        connection,
        schema,
        at_once,
        "dates",
        |collection| collection.fields.iter().filter(|field| field.is_date).map(|field| &*field.name).collect(),
        |table, name, from, to| {
            let date = field(name);
            let sql = format!(
                "UPDATE \"{table}\" SET body = json_set(body, '$.\"{name}\"',
             substr({date}, 1, 19) || '.' || substr(rtrim(substr({date}, 21), 'Z') || '000', 1, 3) || 'Z')
             WHERE id > ?1 AND id <= ?2 AND {date} GLOB '????-??-??T??:??:??*Z' AND length({date}) <> 24"
            );
            connection.execute(&sql, [from, to])
        },
    )?;
    if widened > 0 {
        tracing::info!(widened, "dates of an earlier release have three digits of a second now");
    }
    Ok(())
}

/// Writes the texts by which documents are found, and which an earlier release took as they were sent, in the spelling that
/// all texts that look equal share: a finder compares with that.
fn respell_texts(connection: &Connection, schema: &Schema, at_once: i64) -> rusqlite::Result<()> {
    let respelled = rewrite(
        connection,
        schema,
        at_once,
        "texts",
        |collection| {
            let found_by =
                |field: &&Field| field.indexed || collection.indexes.iter().any(|index| index.contains(&&*field.name));
            collection.fields.iter().filter(found_by).map(|field| &*field.name).collect()
        },
        |table, name, from, to| {
            let (text, kind) = (field(name), kind(name));
            let sql = format!(
                "SELECT id, {text} FROM \"{table}\" WHERE id > ?1 AND id <= ?2 AND {kind} = 'text'
             AND ({text} GLOB '*[^ -~]*' OR {text} <> trim({text}))"
            );
            let rows = connection
                .prepare_cached(&sql)?
                .query_map([from, to], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<Vec<(i64, String)>>>()?;
            let sql = format!("UPDATE \"{table}\" SET body = json_set(body, '$.\"{name}\"', ?2) WHERE id = ?1");
            let mut update = connection.prepare_cached(&sql)?;
            let mut count = 0;
            for (id, stored) in rows {
                let spelled = jumun_text::respelled(&stored);
                if spelled != stored {
                    count += update.execute(params![id, spelled])?;
                }
            }
            Ok(count)
        },
    )?;
    if respelled > 0 {
        tracing::info!(respelled, "texts of an earlier release are spelled as those that look equal now");
    }
    Ok(())
}

/// Rewrites fields of all documents, while `mark` says that this is still to be done. Returns how many values it wrote.
///
/// At most `at_once` documents are one transaction, and are folded back before the next one: all of them would be in the log a
/// second time. After a crash the next start goes over all documents again, and writes those that are left.
fn rewrite<'s>(
    connection: &Connection,
    schema: &'s Schema,
    at_once: i64,
    mark: &str,
    fields: impl Fn(&'s Collection) -> Vec<&'s str>,
    write: impl Fn(&str, &str, i64, i64) -> rusqlite::Result<usize>,
) -> rusqlite::Result<usize> {
    if meta(connection, mark)?.is_none() {
        return Ok(0);
    }
    let mut written = 0;
    for collection in &schema.collections {
        for suffix in ["_documents", SHADOW, BASE] {
            let table = format!("{}{suffix}", collection.name);
            if !connection.table_exists(None, table.as_str())? {
                continue;
            }
            let next = format!("SELECT max(id) FROM (SELECT id FROM \"{table}\" WHERE id > ?1 ORDER BY id LIMIT ?2)");
            for name in fields(collection) {
                let mut after = i64::MIN;
                while let Some(last) =
                    connection.query_row(&next, [after, at_once], |row| row.get::<_, Option<i64>>(0))?
                {
                    run_script(connection, "BEGIN IMMEDIATE")?;
                    let count = write(&table, name, after, last)?;
                    run_script(connection, "COMMIT")?;
                    if count > 0 {
                        run_script(connection, "PRAGMA wal_checkpoint(PASSIVE)")?;
                    }
                    (after, written) = (last, written + count);
                }
            }
        }
    }
    connection.execute("DELETE FROM meta WHERE name = ?1", [mark])?;
    Ok(written)
}

pub(super) fn indexes_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1")?
        .query_map([table], |row| row.get(0))?
        .collect()
}

/// Creates an index or a view, or replaces a different one.
fn define(connection: &Connection, kind: &str, name: &str, sql: &str) -> rusqlite::Result<()> {
    let stored: Option<String> = connection
        .query_row("SELECT sql FROM sqlite_schema WHERE name = ?1 AND type = lower(?2)", [name, kind], |row| row.get(0))
        .optional()?;
    if stored.as_deref() == Some(sql) {
        return Ok(());
    }
    if stored.is_some() {
        run_script(connection, &format!("DROP {kind} \"{name}\""))?;
    }
    run_script(connection, sql)
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()
}

fn set_meta(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES (?1, ?2)
        ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value";
    connection.execute(sql, params![name, value]).map(drop)
}

/// Runs statements that come from this crate alone.
#[allow(clippy::disallowed_methods, reason = "schema and pragmas; which one failed is in the message")]
pub(super) fn run_script(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.execute_batch(sql)
}

/// Undoes what a failed step left. `SQLite` may have done so itself already.
pub(super) fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = run_script(connection, "ROLLBACK")
    {
        tracing::warn!("a transaction could not be rolled back: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE a (x INTEGER)";
    const SECOND: &str = "ALTER TABLE a ADD COLUMN y INTEGER";
    const BROKEN: &str = "CREATE TABLE b (x INTEGER); INSERT INTO nowhere VALUES (1)";

    fn version(connection: &Connection) -> u32 {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    fn columns(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM pragma_table_info('a')", [], |row| row.get(0)).unwrap()
    }

    fn path() -> &'static Path {
        Path::new("test.db")
    }

    #[test]
    fn each_migration_runs_once() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, path(), &[FIRST]).unwrap();
        migrate(&connection, path(), &[FIRST]).unwrap();
        migrate(&connection, path(), &[FIRST, SECOND]).unwrap();
        migrate(&connection, path(), &[FIRST, SECOND]).unwrap();
        assert_eq!((version(&connection), columns(&connection)), (2, 2));
    }

    #[test]
    fn a_migration_that_fails_changes_nothing_and_is_tried_again() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, path(), &[FIRST, BROKEN]).unwrap_err();
        assert_eq!((version(&connection), columns(&connection)), (1, 1));
        let broken: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'b'", [], |row| row.get(0)).unwrap();
        assert_eq!(broken, 0, "half of the migration stayed");
        migrate(&connection, path(), &[FIRST, SECOND]).unwrap();
        assert_eq!((version(&connection), columns(&connection)), (2, 2));
    }

    #[test]
    fn what_the_first_schema_held_is_kept_and_has_no_trace() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, path(), &MIGRATIONS[..1]).unwrap();
        run_script(&connection, "INSERT INTO journal VALUES (0, 1, 'Ordered', 7, 1700, '{}')").unwrap();
        migrate(&connection, path(), MIGRATIONS).unwrap();
        let sql = "SELECT partition, sequence, event_type, key, time_ms, body, trace FROM journal";
        let event = connection.query_row(sql, [], crate::sqlite::rows::event).unwrap();
        assert_eq!((event.sequence, event.key, event.trace), (1, 7, None));
    }

    #[test]
    fn a_database_of_the_release_before_this_one_is_for_one_process() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, path(), &MIGRATIONS[..4]).unwrap();
        let made = "INSERT INTO meta VALUES ('service', 'order'), ('partitions', '1'), ('collections', '[]'),
            ('epoch', '00000000-0000-0000-0000-000000000007')";
        run_script(&connection, made).unwrap();
        migrate(&connection, path(), MIGRATIONS).unwrap();
        let schema = Schema { service: "order".to_owned(), partitions: 1, collections: vec![] };
        adopt(&connection, path(), &schema).unwrap();
        let stored = load(&connection, path()).unwrap().identity;
        assert_eq!((stored.sharing, stored.epoch), (Sharing::OneProcess, Uuid::from_u128(7)));

        set_meta(&connection, "processes", "many").unwrap();
        let error = adopt(&connection, path(), &schema).unwrap_err();
        assert!(error.to_string().contains("several processes"), "{error}");
    }

    #[test]
    fn dates_of_an_earlier_release_get_three_digits() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, path(), &MIGRATIONS[..5]).unwrap();
        let date = |name: &'static str| Field { name: name.into(), indexed: false, is_date: true };
        let fields = vec![date("orderDate"), date("주문일"), Field { is_date: false, ..date("storeName") }];
        let schema = Schema {
            service: "order".to_owned(),
            partitions: 1,
            collections: vec![Collection { name: "orders", fields, indexes: vec![] }],
        };
        let body = |date: &str| {
            format!(
                r#"{{"storeName":"2026-11-26T17:00:54Z","price":1.50,"orderDate":{date},"주문일":{date},"note":"é\\u00e9"}}"#
            )
        };
        let dates = [
            (r#""2026-11-26T17:00:54Z""#, r#""2026-11-26T17:00:54.000Z""#),
            (r#""2026-11-26T17:00:54.3Z""#, r#""2026-11-26T17:00:54.300Z""#),
            (r#""2026-11-26T17:00:54.36Z""#, r#""2026-11-26T17:00:54.360Z""#),
            (r#""2026-11-26T17:00:54.365Z""#, r#""2026-11-26T17:00:54.365Z""#),
            ("null", "null"),
        ];
        for table in ["orders_documents", "orders_documents_base"] {
            run_script(&connection, &format!("CREATE TABLE {table} {COLUMNS}")).unwrap();
            for (id, (before, _)) in (1..).zip(dates) {
                let sql = format!("INSERT INTO {table} VALUES (?1, 1, 1, ?2)");
                connection.execute(&sql, params![id, body(before)]).unwrap();
            }
        }
        migrate(&connection, path(), MIGRATIONS).unwrap();
        adopt(&connection, path(), &schema).unwrap();
        let bodies = |table: &str| -> Vec<String> {
            let sql = format!("SELECT body FROM {table} ORDER BY id");
            let mut statement = connection.prepare(&sql).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
        };
        for table in ["orders_documents", "orders_documents_base"] {
            assert_eq!(bodies(table), dates.map(|(_, after)| body(after)), "{table}");
        }
        assert_eq!(meta(&connection, "dates").unwrap(), None);
    }

    #[test]
    fn texts_of_an_earlier_release_are_spelled_as_finders_look_for_them() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, path(), &MIGRATIONS[..7]).unwrap();
        let field = |name: &'static str, indexed| Field { name: name.into(), indexed, is_date: false };
        let fields = vec![field("storeName", true), field("customerId", false), field("itemName", false)];
        let collections = vec![Collection { name: "orders", fields, indexes: vec![&["customerId", "price"]] }];
        let schema = Schema { service: "order".to_owned(), partitions: 1, collections };
        let body =
            |text: &str| format!(r#"{{"storeName":{text},"customerId":{text},"itemName":"cafe\u0301","price":1.50}}"#);
        let texts = [
            (r#""cafe\u0301""#, r#""café""#),
            ("\"\u{1112}\u{1161}\u{11ab}글\"", r#""한글""#),
            (r#"" kim ""#, r#""kim""#),
            (r#""kim""#, r#""kim""#),
            (r#""kim\nlee""#, r#""kim\nlee""#),
            ("7", "7"),
            ("null", "null"),
            (r#"["e\u0301"]"#, r#"["e\u0301"]"#),
        ];
        run_script(&connection, &format!("CREATE TABLE orders_documents {COLUMNS}")).unwrap();
        for (id, (stored, _)) in (1..).zip(texts) {
            let sql = "INSERT INTO orders_documents VALUES (?1, 1, 1, ?2)";
            connection.execute(sql, params![id, body(stored)]).unwrap();
        }
        migrate(&connection, path(), MIGRATIONS).unwrap();
        adopt(&connection, path(), &schema).unwrap();
        let mut statement = connection.prepare("SELECT body FROM orders_documents ORDER BY id").unwrap();
        let bodies: Vec<String> =
            statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap();
        assert_eq!(bodies, texts.map(|(_, spelled)| body(spelled)));
        assert_eq!(meta(&connection, "texts").unwrap(), None);
    }

    #[test]
    fn dates_of_many_documents_are_not_all_in_the_log_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("order.db");
        let connection = Connection::open(&file).unwrap();
        run_script(&connection, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
        migrate(&connection, path(), &MIGRATIONS[..5]).unwrap();
        let fields = vec![Field { name: "orderDate".into(), indexed: true, is_date: true }];
        let collections = vec![Collection { name: "orders", indexes: Vec::new(), fields }];
        let schema = Schema { service: "order".to_owned(), partitions: 1, collections };
        let documents = format!(
            "CREATE TABLE orders_documents {COLUMNS};
             WITH RECURSIVE ids (id) AS (VALUES (1) UNION ALL SELECT id + 1 FROM ids WHERE id < 2000)
             INSERT INTO orders_documents SELECT id, 1, 1, json_object('orderDate', '2026-11-26T17:00:54.3Z', 'note',
                hex(zeroblob(500))) FROM ids;
             PRAGMA wal_checkpoint(TRUNCATE)"
        );
        run_script(&connection, &documents).unwrap();
        migrate(&connection, path(), MIGRATIONS).unwrap();
        define_collections(&connection, &schema).unwrap();
        run_script(&connection, "PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        widen_dates(&connection, &schema, 100).unwrap();
        let wide = "SELECT count(*) FROM orders_documents WHERE body ->> 'orderDate' = '2026-11-26T17:00:54.300Z'";
        assert_eq!(connection.query_row(wide, [], |row| row.get::<_, i64>(0)).unwrap(), 2_000);
        let log = std::fs::metadata(folder.path().join("order.db-wal")).unwrap().len();
        assert!(log < 1024 * 1024, "{log} bytes, of 2 MiB");
        assert_eq!(meta(&connection, "dates").unwrap(), None);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, path(), &[FIRST, SECOND]).unwrap();
        let error = migrate(&connection, path(), &[FIRST]).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
        assert_eq!(version(&connection), 2);
    }

    #[test]
    fn the_database_of_another_program_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        run_script(&connection, "CREATE TABLE theirs (x)").unwrap();
        let error = migrate(&connection, path(), &[FIRST]).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
}
