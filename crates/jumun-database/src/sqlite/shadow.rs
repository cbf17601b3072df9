//! Shadows: tables that are filled beside the documents of a collection and then replace them.
//!
//! The two tables change names in one transaction: readers see the one or the other whole. What was there before is the
//! shadow then. It is cleared some rows at a time, because dropping a large table would hold the writer up.
//!
//! A shadow has its indexes from the start, so that none has to be made over all rows at once. Indexes keep their names
//! when tables change theirs; hence there are two names for each (see [`schema::index`]).
//!
//! A base is a shadow that was kept. It changes names with the base before it, which is the shadow then, and has no
//! indexes.

use super::{rows, schema};
use crate::{
    Conflict, Document, Position, limits, rules,
    writing::{Counters, Shadow},
};
use rusqlite::{Connection, OptionalExtension, params};

/// Runs it in the open transaction. Returns whether the shadow is gone.
pub(super) fn run(
    change: &Shadow,
    connection: &Connection,
    counters: &mut Counters,
) -> rusqlite::Result<Result<bool, Conflict>> {
    match change {
        Shadow::Clear(collection) => clear(connection, collection, counters).map(Ok),
        Shadow::Write { collection, documents, is_next_base } => {
            make(connection, collection, !is_next_base)?;
            write(connection, collection, documents, counters)?;
            Ok(Ok(false))
        }
        Shadow::Switch { collections, positions } => {
            if let Some(conflict) = rules::place_conflict(positions, &all_places(connection)?) {
                return Ok(Err(conflict));
            }
            for collection in collections {
                switch(connection, collection)?;
                counters.switched(collection);
            }
            Ok(Ok(false))
        }
        Shadow::Keep { collections, positions } => {
            for collection in collections {
                keep(connection, collection, positions)?;
                counters.shadow_cleared(collection);
            }
            Ok(Ok(false))
        }
    }
}

/// The table of a shadow, quoted.
pub(super) fn table(collection: &str) -> String {
    format!("\"{collection}{}\"", schema::SHADOW)
}

/// The table of a base, quoted.
pub(super) fn base_table(collection: &str) -> String {
    format!("\"{collection}{}\"", schema::BASE)
}

/// Whether there is a shadow.
pub(super) fn exists(connection: &Connection, collection: &str) -> rusqlite::Result<bool> {
    is_table(connection, &format!("{collection}{}", schema::SHADOW))
}

/// Whether there is a base.
pub(super) fn base_exists(connection: &Connection, collection: &str) -> rusqlite::Result<bool> {
    is_table(connection, &format!("{collection}{}", schema::BASE))
}

fn is_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([name], |_| Ok(())).optional()?.is_some())
}

fn clear(connection: &Connection, collection: &str, counters: &mut Counters) -> rusqlite::Result<bool> {
    counters.shadow_cleared(collection);
    if !exists(connection, collection)? {
        return Ok(true);
    }
    let table = table(collection);
    let some = format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} LIMIT ?1)");
    let gone = connection.execute(&some, [i64::try_from(limits::SHADOW_MAX_ROWS).unwrap_or(i64::MAX)])?;
    let is_empty = gone < limits::SHADOW_MAX_ROWS;
    if is_empty {
        schema::run_script(connection, &format!("DROP TABLE {table}"))?;
    }
    Ok(is_empty)
}

fn make(connection: &Connection, collection: &str, is_indexed: bool) -> rusqlite::Result<()> {
    if exists(connection, collection)? {
        return Ok(());
    }
    let table = table(collection);
    schema::run_script(connection, &format!("CREATE TABLE {table} {}", schema::COLUMNS))?;
    if !is_indexed {
        return Ok(());
    }
    for index in schema::indexes_of(connection, &format!("{collection}_documents"))? {
        let Some(field) = index.trim_end_matches('~').strip_prefix(&format!("{collection}_by_")) else { continue };
        if let Some(other) = schema::index(collection, field).iter().find(|name| **name != index) {
            schema::run_script(connection, &schema::index_sql(other, &table, field))?;
        }
    }
    Ok(())
}

fn write(
    connection: &Connection,
    collection: &str,
    documents: &[Document],
    counters: &mut Counters,
) -> rusqlite::Result<()> {
    let table = table(collection);
    let mut shown = connection.prepare_cached(&format!("SELECT shown FROM {table} WHERE id = ?1"))?;
    let mut put = connection.prepare_cached(&format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2, ?3, ?4)"))?;
    for document in documents {
        let was_shown: Option<bool> = shown.query_row([document.id], |row| row.get(0)).optional()?;
        put.execute(params![document.id, rows::signed(document.version), document.shown, document.body])?;
        counters.shadow_written(collection, document.id, was_shown.unwrap_or(false), document.shown);
    }
    Ok(())
}

fn switch(connection: &Connection, collection: &str) -> rusqlite::Result<()> {
    make(connection, collection, true)?; // nothing was put into it: then there is nothing in the new documents either
    let (documents, shadow) = (schema::table(collection), table(collection));
    let view: Option<String> = connection
        .query_row("SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?1", [collection], |row| row.get(0))
        .optional()?;
    // The view would follow its table to the new name, so it is made again.
    let between = format!("\"{collection}_documents~\"");
    schema::run_script(
        connection,
        &format!(
            "DROP VIEW IF EXISTS \"{collection}\";
             ALTER TABLE {documents} RENAME TO {between};
             ALTER TABLE {shadow} RENAME TO {documents};
             ALTER TABLE {between} RENAME TO {shadow}"
        ),
    )?;
    view.map_or(Ok(()), |view| schema::run_script(connection, &view))
}

fn keep(connection: &Connection, collection: &str, positions: &[Position]) -> rusqlite::Result<()> {
    make(connection, collection, false)?; // nothing was put into it: then there is nothing in the base either
    let (base, shadow) = (base_table(collection), table(collection));
    for index in schema::indexes_of(connection, &format!("{collection}{}", schema::SHADOW))? {
        schema::run_script(connection, &format!("DROP INDEX \"{index}\""))?; // its name is wanted by the next shadow
    }
    if base_exists(connection, collection)? {
        let between = format!("\"{collection}{}~\"", schema::BASE);
        schema::run_script(
            connection,
            &format!(
                "ALTER TABLE {base} RENAME TO {between};
                 ALTER TABLE {shadow} RENAME TO {base};
                 ALTER TABLE {between} RENAME TO {shadow}"
            ),
        )?;
    } else {
        schema::run_script(connection, &format!("ALTER TABLE {shadow} RENAME TO {base}"))?;
    }
    connection.prepare_cached("DELETE FROM bases WHERE collection = ?1")?.execute([collection])?;
    let mut put = connection.prepare_cached("INSERT INTO bases VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for Position { source, partition, epoch, sequence } in positions {
        put.execute(params![collection, source, partition, epoch.as_bytes(), rows::signed(*sequence)])?;
    }
    Ok(())
}

fn all_places(connection: &Connection) -> rusqlite::Result<Vec<Position>> {
    let sql = "SELECT source, partition, epoch, sequence FROM places";
    connection.prepare_cached(sql)?.query_map([], rows::position)?.collect()
}
