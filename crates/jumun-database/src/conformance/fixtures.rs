//! What the tests of the suite, and other tests of adapters, are made of.

use crate::{
    AskRecord, Changes, Collection, CommitError, Conflict, Database, Direction, Document, DocumentChange,
    DocumentVersion, Field, JournalEntry, JournalRecord, Page, Position, PositionChange, Query, Request, RequestChange,
    RequestFilter, RequestState, Schema, StoredAnswer, WaitChange, Waiting,
};
use std::borrow::Cow;
use uuid::Uuid;

/// A place for one database.
pub trait Home {
    /// The adapter.
    type Database: Database;

    /// Opens the database that lives here, and makes it the first time. Never called while it is open.
    fn open(&self, schema: Schema) -> Self::Database;
}

/// The schema that the suite works with.
pub fn schema(partitions: u16) -> Schema {
    let field = |name, indexed| Field { name: Cow::Borrowed(name), indexed, is_date: false };
    Schema {
        service: "order".to_owned(),
        partitions,
        collections: vec![
            Collection {
                name: "orders",
                fields: vec![field("id", false), field("storeName", true), field("count", true), field("note", false)],
                indexes: vec![&["storeName", "count"]],
            },
            Collection { name: "menus", fields: vec![], indexes: vec![] },
        ],
    }
}

/// A document of `orders`, shown.
pub fn order(id: i64, expected_version: u64, body: &serde_json::Value) -> DocumentChange {
    DocumentChange {
        collection: "orders",
        id,
        expected_version,
        shown: true,
        body: body.to_string(),
        wait: WaitChange::Keep,
    }
}

/// An event about an order; of an odd one with a trace.
pub fn event(key: i64) -> JournalEntry {
    let body = format!(r#"{{"eventType":"Ordered","id":{key}}}"#);
    let trace = (key % 2 == 1).then(|| [u8::try_from(key % 251).unwrap_or_default(); 25]);
    JournalEntry { event_type: "Ordered", key, time_ms: 1_700_000_000_000 + key, trace, body }
}

/// A request about an order that asks the payment service.
pub fn request(key: Option<&str>, state: RequestState, subject: i64) -> Request {
    Request {
        id: Uuid::now_v7(),
        key: key.map(str::to_owned),
        fingerprint: [7; 16],
        state,
        collection: Cow::Borrowed("orders"),
        subject,
        ask: Some(AskRecord { service: "payment".to_owned(), path: "/payinfos".to_owned(), question: None }),
        answer: None,
        incarnation: Uuid::from_u128(9),
        until_ms: 1_000 + subject,
        trace: key.map(|_| [9; 25]),
    }
}

pub(super) fn insert(request: &Request) -> RequestChange {
    RequestChange::Insert(Box::new(request.clone()))
}

pub(super) fn moved(id: Uuid, from: RequestState, to: RequestState) -> RequestChange {
    RequestChange::Move { id, from, to, answer: None }
}

pub(super) fn answer(status: u16) -> StoredAnswer {
    StoredAnswer { status, location: Some("/orders/1".to_owned()), body: r#"{"id":1}"#.to_owned(), last_event: None }
}

pub(super) fn step(source: &str, epoch: u128, from: u64, to: u64) -> PositionChange {
    let position = Position { source: source.to_owned(), partition: 0, epoch: Uuid::from_u128(epoch), sequence: to };
    PositionChange { position, expected_sequence: from }
}

pub(super) fn unchanged(id: i64, version: u64) -> DocumentVersion {
    DocumentVersion { collection: "orders", id, version, body: None }
}

pub(super) fn documents(documents: impl IntoIterator<Item = DocumentChange>) -> Changes {
    Changes { documents: documents.into_iter().collect(), ..Changes::default() }
}

pub(super) fn requests(requests: impl IntoIterator<Item = RequestChange>) -> Changes {
    Changes { requests: requests.into_iter().collect(), ..Changes::default() }
}

pub(super) fn events(events: impl IntoIterator<Item = JournalEntry>) -> Changes {
    Changes { journal: events.into_iter().collect(), ..Changes::default() }
}

pub(super) fn positions(positions: impl IntoIterator<Item = PositionChange>) -> Changes {
    Changes { positions: positions.into_iter().collect(), ..Changes::default() }
}

pub(super) fn all() -> Query {
    Query { collection: "orders", filter: None, sort: Vec::new(), offset: 0, size: 100 }
}

pub(super) fn sorted(field: &'static str, direction: Direction) -> Query {
    Query { sort: vec![(Cow::Borrowed(field), direction)], ..all() }
}

pub(super) fn filtered(field: &'static str, value: &str) -> Query {
    Query { filter: Some((Cow::Borrowed(field), value.to_owned())), ..all() }
}

pub(super) fn ids(page: &Page) -> Vec<i64> {
    page.documents.iter().map(|document| document.id).collect()
}

pub(super) fn conflict<T: std::fmt::Debug>(result: Result<T, CommitError>) -> Conflict {
    match result {
        Err(CommitError::Conflict(conflict)) => conflict,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

/// Everything that a database shows, to compare it with what it, or another one, shows later.
#[derive(Debug, PartialEq, Eq)]
pub struct Everything {
    orders: Vec<Document>,
    menus: Vec<Document>,
    page: Page,
    journal: Vec<JournalRecord>,
    requests: Vec<Request>,
    positions: Vec<Position>,
    waits: Vec<Waiting>,
}

/// Reads it, up to a thousand rows of each kind.
pub async fn everything(database: &impl Database) -> Everything {
    let mut journal = Vec::new();
    for partition in 0..database.identity().partitions {
        journal.extend(database.journal(partition, 0, 1_000).await.unwrap());
    }
    let mut requests = Vec::new();
    for state in RequestState::ALL {
        let filter = RequestFilter { state, service: None, until_before_ms: None, after: None, limit: 1_000 };
        requests.extend(database.requests(filter).await.unwrap());
    }
    Everything {
        orders: database.scan("orders", i64::MIN, 1_000).await.unwrap(),
        menus: database.scan("menus", i64::MIN, 1_000).await.unwrap(),
        page: database.page(all()).await.unwrap(),
        journal,
        requests,
        positions: database.positions().await.unwrap(),
        waits: database.due(i64::MAX, 1_000).await.unwrap(),
    }
}
