//! Between rows and values.

use crate::{
    AskRecord, Document, JournalRecord, Position, Request, RequestState, StoredAnswer, Trace, Wait, Waiting,
    rules::RequestFacts, values::unsigned,
};
use std::borrow::Cow;
use tokio_postgres::{
    Error, Row,
    types::{FromSql, Type, accepts},
};
use uuid::Uuid;

/// The columns that [`document`] reads.
pub(super) const DOCUMENT: &str = "id, version, shown, body::text";

/// The columns that [`request`] reads.
pub(super) const REQUEST: &str = "id, key, fingerprint, state, collection, subject, ask_service, ask_path, ask_question, \
     answer_status, answer_location, answer_body, answer_partition, answer_sequence, incarnation, until_ms, trace";

/// The states of [`RequestState::is_in_doubt`], in the words of the indexes.
pub(super) const IN_DOUBT: &str = "state IN ('asking', 'delayed', 'voiding')";

pub(super) fn document(row: &Row) -> Result<Document, Error> {
    Ok(Document { id: row.try_get(0)?, version: number(row, 1)?, shown: row.try_get(2)?, body: row.try_get(3)? })
}

pub(super) fn request(row: &Row) -> Result<Request, Error> {
    let ask = match (row.try_get(6)?, row.try_get(7)?) {
        (Some(service), Some(path)) => Some(AskRecord { service, path, question: row.try_get(8)? }),
        _ => None,
    };
    let answer = match row.try_get::<_, Option<Small>>(9)? {
        Some(Small(status)) => {
            let (partition, sequence): (Option<Small>, Option<i64>) = (row.try_get(12)?, row.try_get(13)?);
            let last_event = partition.map(|Small(partition)| partition).zip(sequence.map(unsigned));
            Some(StoredAnswer { status, location: row.try_get(10)?, body: row.try_get(11)?, last_event })
        }
        None => None,
    };
    let Bytes(fingerprint) = row.try_get(2)?;
    Ok(Request {
        id: row.try_get(0)?,
        key: row.try_get(1)?,
        fingerprint,
        state: state(row, 3)?,
        collection: Cow::Owned(row.try_get(4)?),
        subject: row.try_get(5)?,
        ask,
        answer,
        incarnation: row.try_get(14)?,
        until_ms: row.try_get(15)?,
        trace: trace(row, 16)?,
    })
}

/// Reads `id, state, key IS NOT NULL, answer_status IS NOT NULL`.
pub(super) fn facts(row: &Row) -> Result<(Uuid, RequestFacts), Error> {
    let facts = RequestFacts { state: state(row, 1)?, has_key: row.try_get(2)?, answered: row.try_get(3)? };
    Ok((row.try_get(0)?, facts))
}

/// Reads `partition, sequence, event_type, key, time_ms, body, trace`.
pub(super) fn event(row: &Row) -> Result<JournalRecord, Error> {
    Ok(JournalRecord {
        partition: small(row, 0)?,
        sequence: number(row, 1)?,
        event_type: row.try_get(2)?,
        key: row.try_get(3)?,
        time_ms: row.try_get(4)?,
        body: row.try_get(5)?,
        trace: trace(row, 6)?,
    })
}

/// Reads `source, partition, epoch, sequence`.
pub(super) fn position(row: &Row) -> Result<Position, Error> {
    let partition = small(row, 1)?;
    Ok(Position { source: row.try_get(0)?, partition, epoch: row.try_get(2)?, sequence: number(row, 3)? })
}

/// Reads `collection, id, name, due_ms, trace`.
pub(super) fn waiting(row: &Row) -> Result<Waiting, Error> {
    let wait = Wait { name: Cow::Owned(row.try_get(2)?), due_ms: row.try_get(3)?, trace: trace(row, 4)? };
    Ok(Waiting { collection: Cow::Owned(row.try_get(0)?), id: row.try_get(1)?, wait })
}

/// A number that counts something.
pub(super) fn number(row: &Row, column: usize) -> Result<u64, Error> {
    row.try_get(column).map(unsigned)
}

fn small(row: &Row, column: usize) -> Result<u16, Error> {
    row.try_get(column).map(|Small(number)| number)
}

fn trace(row: &Row, column: usize) -> Result<Option<Trace>, Error> {
    Ok(row.try_get::<_, Option<Bytes<25>>>(column)?.map(|Bytes(trace)| trace))
}

fn state(row: &Row, column: usize) -> Result<RequestState, Error> {
    row.try_get(column).map(|Word(state)| state)
}

type Failure = Box<dyn std::error::Error + Sync + Send>;

/// A status or a partition.
struct Small(u16);

impl<'a> FromSql<'a> for Small {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self(i32::from_sql(kind, raw)?.try_into()?))
    }

    accepts!(INT4);
}

/// So many bytes.
struct Bytes<const N: usize>([u8; N]);

impl<'a, const N: usize> FromSql<'a> for Bytes<N> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self(<&[u8]>::from_sql(kind, raw)?.try_into()?))
    }

    accepts!(BYTEA);
}

/// The state of a request.
struct Word(RequestState);

impl<'a> FromSql<'a> for Word {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        let word = <&str>::from_sql(kind, raw)?;
        Ok(Self(RequestState::parse(word).ok_or_else(|| format!("no request is `{word}`"))?))
    }

    accepts!(TEXT);
}
