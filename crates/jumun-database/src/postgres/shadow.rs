//! Shadows: tables that are filled beside the documents of a collection and then replace them. As in the SQLite adapter:
//! the two change names in one transaction, and what was there before is the shadow then, to be cleared. A base is a shadow
//! that was kept.

use super::{
    rows,
    schema::{self, base, shadow, table},
    session::{Call, Session},
};
use crate::{
    Conflict, Document, Position, Schema, limits, rules,
    values::signed,
    writing::{Counters, Shadow},
};
use std::collections::HashMap;
use tokio_postgres::Error;

/// Runs it in the open transaction. Returns whether the shadow is gone.
pub(super) async fn run(
    change: &Shadow,
    session: &Session,
    known: &Schema,
    counters: &mut Counters,
) -> Result<Result<bool, Conflict>, Error> {
    match change {
        Shadow::Clear(collection) => {
            counters.shadow_cleared(collection);
            clear(session, collection).await.map(Ok)
        }
        Shadow::Write { collection, documents, is_next_base } => {
            make(session, known, collection, !is_next_base).await?;
            write(session, collection, documents, counters).await?;
            Ok(Ok(false))
        }
        Shadow::Switch { collections, positions } => {
            let found = session.query(&Call::new("SELECT source, partition, epoch, sequence FROM places")).await?;
            let found: Vec<_> = found.iter().map(rows::position).collect::<Result<_, _>>()?;
            if let Some(conflict) = rules::place_conflict(positions, &found) {
                return Ok(Err(conflict));
            }
            for collection in collections {
                switch(session, known, collection).await?;
                counters.switched(collection);
            }
            Ok(Ok(false))
        }
        Shadow::Keep { collections, positions } => {
            for collection in collections {
                keep(session, known, collection, positions).await?;
                counters.shadow_cleared(collection);
            }
            Ok(Ok(false))
        }
    }
}

async fn is_there(session: &Session, table: String) -> Result<bool, Error> {
    session.query(&schema::exists(table)).await?.first().map_or(Ok(false), |row| row.try_get(0))
}

async fn clear(session: &Session, collection: &str) -> Result<bool, Error> {
    let shadow = shadow(collection);
    if !is_there(session, shadow.clone()).await? {
        return Ok(true);
    }
    let some = format!("DELETE FROM \"{shadow}\" WHERE id IN (SELECT id FROM \"{shadow}\" LIMIT $1)");
    let most = limits::SHADOW_MAX_ROWS as u64;
    let is_empty = session.execute(&Call::new(some).with(signed(most))).await? < most;
    if is_empty {
        session.script(&format!("DROP TABLE \"{shadow}\"")).await?;
    }
    Ok(is_empty)
}

async fn make(session: &Session, known: &Schema, collection: &str, is_indexed: bool) -> Result<(), Error> {
    let shadow = shadow(collection);
    if is_there(session, shadow.clone()).await? {
        return Ok(());
    }
    let mut script = vec![format!("CREATE TABLE \"{shadow}\" {}", schema::COLUMNS)];
    if is_indexed {
        let taken = schema::indexes_of(session, &format!("{collection}_documents")).await?;
        for fields in schema::fields_of_indexes(known, collection) {
            let names = schema::index(collection, &fields);
            if let Some(free) = names.iter().find(|name| !taken.contains(name)) {
                script.push(schema::index_sql(free, &format!("\"{shadow}\""), &fields));
            }
        }
    }
    session.script(&script.join(";")).await
}

async fn write(
    session: &Session,
    collection: &str,
    documents: &[Document],
    counters: &mut Counters,
) -> Result<(), Error> {
    let table = shadow(collection);
    // Of one id, the last one counts.
    let documents: HashMap<i64, &Document> = documents.iter().map(|document| (document.id, document)).collect();
    let ids: Vec<i64> = documents.keys().copied().collect();
    let sql = format!("SELECT id, shown FROM \"{table}\" WHERE id = ANY ($1)");
    let mut was_shown = HashMap::new();
    for row in session.query(&Call::new(sql).with(&ids)).await? {
        was_shown.insert(row.try_get::<_, i64>(0)?, row.try_get::<_, bool>(1)?);
    }
    let (mut versions, mut shown, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for document in ids.iter().filter_map(|id| documents.get(id)) {
        versions.push(signed(document.version));
        shown.push(document.shown);
        bodies.push(&*document.body);
        let before = was_shown.get(&document.id).copied().unwrap_or(false);
        counters.shadow_written(collection, document.id, before, document.shown);
    }
    let sql = format!(
        "INSERT INTO \"{table}\" SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::text[]::json[])
         ON CONFLICT (id) DO UPDATE SET version = excluded.version, shown = excluded.shown, body = excluded.body"
    );
    session.execute(&Call::new(sql).with(&ids).with(versions).with(shown).with(bodies)).await.map(drop)
}

async fn switch(session: &Session, known: &Schema, collection: &str) -> Result<(), Error> {
    make(session, known, collection, true).await?; // nothing was put into it: then there is nothing in the new documents either
    let (documents, shadow) = (table(collection), shadow(collection));
    // The view follows its table to the new name, so it is put on the other one.
    let script = format!(
        "ALTER TABLE {documents} RENAME TO \"{collection}_documents~\";
         ALTER TABLE \"{shadow}\" RENAME TO \"{collection}_documents\";
         ALTER TABLE \"{collection}_documents~\" RENAME TO \"{shadow}\";
         {}",
        schema::view_of(known, collection)
    );
    session.script(&script).await
}

async fn keep(session: &Session, known: &Schema, collection: &str, positions: &[Position]) -> Result<(), Error> {
    make(session, known, collection, false).await?; // nothing was put into it: then there is nothing in the base either
    let (base, shadow) = (base(collection), shadow(collection));
    // Their names are wanted by the next shadow.
    let indexes = schema::indexes_of(session, &shadow).await?;
    let mut script: Vec<_> = indexes.iter().map(|index| format!("DROP INDEX \"{index}\"")).collect();
    if is_there(session, base.clone()).await? {
        script.push(format!("ALTER TABLE \"{base}\" RENAME TO \"{base}~\""));
        script.push(format!("ALTER TABLE \"{shadow}\" RENAME TO \"{base}\""));
        script.push(format!("ALTER TABLE \"{base}~\" RENAME TO \"{shadow}\""));
    } else {
        script.push(format!("ALTER TABLE \"{shadow}\" RENAME TO \"{base}\""));
    }
    session.script(&script.join(";")).await?;
    session.execute(&Call::new("DELETE FROM bases WHERE collection = $1").with(collection)).await?;
    let (mut sources, mut partitions) = (Vec::new(), Vec::new());
    let (mut epochs, mut sequences) = (Vec::new(), Vec::new());
    for position in positions {
        sources.push(&*position.source);
        partitions.push(i32::from(position.partition));
        epochs.push(position.epoch);
        sequences.push(signed(position.sequence));
    }
    let sql = "INSERT INTO bases SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::uuid[], $5::bigint[])";
    let call = Call::new(sql).with(collection).with(sources).with(partitions).with(epochs).with(sequences);
    session.execute(&call).await.map(drop)
}
