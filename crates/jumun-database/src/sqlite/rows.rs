//! Between rows and values.

pub(super) use crate::values::{signed, unsigned};

use crate::{AskRecord, Document, JournalRecord, Position, Request, RequestState, StoredAnswer, Wait, Waiting};
use rusqlite::{Row, types::Type};
use std::borrow::Cow;
use uuid::Uuid;

/// The columns that [`document`] reads.
pub(super) const DOCUMENT: &str = "id, version, shown, body";

/// The columns that [`request`] reads.
pub(super) const REQUEST: &str = "id, key, fingerprint, state, collection, subject, ask_service, ask_path, \
     answer_status, answer_location, answer_body, incarnation, until_ms, trace, ask_question, \
     answer_partition, answer_sequence";

/// The states of [`RequestState::is_in_doubt`](crate::RequestState::is_in_doubt), in the words of the indexes: a query
/// is only led through them if it says the same.
pub(super) const IN_DOUBT: &str = "state NOT IN ('done', 'voided')";

pub(super) fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document { id: row.get(0)?, version: unsigned(row.get(1)?), shown: row.get(2)?, body: row.get(3)? })
}

pub(super) fn request(row: &Row<'_>) -> rusqlite::Result<Request> {
    let ask = match (row.get::<_, Option<String>>(6)?, row.get::<_, Option<String>>(7)?) {
        (Some(service), Some(path)) => Some(AskRecord { service, path, question: row.get(14)? }),
        _ => None,
    };
    let answer = match row.get::<_, Option<u16>>(8)? {
        Some(status) => {
            let last_event = row.get::<_, Option<u16>>(15)?.zip(row.get::<_, Option<i64>>(16)?.map(unsigned));
            Some(StoredAnswer { status, location: row.get(9)?, body: row.get(10)?, last_event })
        }
        None => None,
    };
    Ok(Request {
        id: uuid(row, 0)?,
        key: row.get(1)?,
        fingerprint: row.get(2)?,
        state: state(row, 3)?,
        collection: Cow::Owned(row.get(4)?),
        subject: row.get(5)?,
        ask,
        answer,
        incarnation: uuid(row, 11)?,
        until_ms: row.get(12)?,
        trace: row.get(13)?,
    })
}

/// Reads `partition, sequence, event_type, key, time_ms, body, trace`.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<JournalRecord> {
    Ok(JournalRecord {
        partition: row.get(0)?,
        sequence: unsigned(row.get(1)?),
        event_type: row.get(2)?,
        key: row.get(3)?,
        time_ms: row.get(4)?,
        body: row.get(5)?,
        trace: row.get(6)?,
    })
}

/// Reads `source, partition, epoch, sequence`.
pub(super) fn position(row: &Row<'_>) -> rusqlite::Result<Position> {
    Ok(Position { source: row.get(0)?, partition: row.get(1)?, epoch: uuid(row, 2)?, sequence: unsigned(row.get(3)?) })
}

/// Reads `collection, id, name, due_ms, trace`.
pub(super) fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    let wait = Wait { name: Cow::Owned(row.get(2)?), due_ms: row.get(3)?, trace: row.get(4)? };
    Ok(Waiting { collection: Cow::Owned(row.get(0)?), id: row.get(1)?, wait })
}

pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}

pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<RequestState> {
    let word = row.get_ref(column)?.as_str()?;
    RequestState::parse(word).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("no request is `{word}`").into())
    })
}
