//! What every adapter must do, as tests that every adapter runs.
//!
//! ```ignore
//! jumun_database::conformance!(Memory::default());
//! ```
//!
//! expands to one test a function of this module; the expression gives each of them a [`Home`] of its own.

#![allow(clippy::unwrap_used, reason = "these are tests, compiled here so that adapters elsewhere can run them")]

mod commits;
mod documents;
mod journal;
mod requests;
mod shadows;

#[doc(hidden)]
pub use {commits::*, documents::*, journal::*, requests::*, shadows::*};

use crate::{
    AskRecord, Changes, Collection, CommitError, Conflict, Database, Direction, Document, DocumentChange, Field,
    JournalEntry, JournalRecord, Page, Place, PlaceChange, Query, Request, RequestChange, RequestFilter, RequestState,
    Schema, StoredAnswer,
};
use std::borrow::Cow;
use uuid::Uuid;

/// Makes one `#[tokio::test]` of each test of the suite. The argument is an expression that makes a [`Home`].
#[macro_export]
macro_rules! conformance {
    ($home:expr) => {
        $crate::conformance! { $home =>
            a_commit_does_all_of_it
            a_commit_that_is_wrong_about_one_thing_changes_nothing
            a_conflict_leaves_the_rest_of_its_group_alone
            a_document_changes_only_from_the_version_it_has
            of_many_writers_of_a_document_none_is_lost
            hidden_documents_are_remembered_and_not_listed
            pages_are_sorted_by_any_field
            pages_are_filtered_by_texts_and_numbers
            pages_cut_a_long_list
            totals_follow_every_commit
            a_scan_gives_all_documents_in_order_of_id
            events_are_numbered_without_gaps_in_commit_order
            each_partition_is_numbered_on_its_own
            the_journal_is_read_in_pieces
            a_request_moves_only_forward_and_only_from_the_state_it_is_in
            an_answer_stays_until_there_is_another
            only_what_is_asked_is_delayed
            a_key_belongs_to_one_request
            a_key_is_released_only_by_an_attempt_without_an_answer
            a_key_can_pass_on_within_one_commit
            requests_are_listed_by_state_age_and_place
            doubts_are_found_by_their_subject
            a_place_moves_only_from_where_it_is
            a_place_of_another_epoch_is_a_conflict
            what_is_over_a_limit_is_never_done
            an_id_is_never_given_twice
            a_purge_takes_the_oldest_that_are_not_in_doubt
            what_is_committed_outlives_the_process
            a_closed_database_does_nothing
            the_writer_counts_what_it_does
            nobody_sees_a_shadow_before_it_takes_its_place
            documents_that_were_switched_are_found_and_changed_like_all_others
            a_switch_needs_the_places_to_be_as_believed
            a_shadow_is_cleared_in_steps_and_filled_within_bounds
            a_base_is_kept_with_its_places_and_nobody_sees_it
            a_base_does_not_get_into_the_way_of_shadows
        }
    };
    ($home:expr => $($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                $crate::conformance::$test(&$home).await;
            }
        )*
    };
}

/// A place for one database.
pub trait Home {
    /// The adapter.
    type Database: Database;

    /// Opens the database that lives here, and makes it the first time. Never called while it is open.
    fn open(&self, schema: Schema) -> Self::Database;
}

/// The schema that the suite works with.
pub fn schema(partitions: u16) -> Schema {
    let field = |name, indexed| Field { name: Cow::Borrowed(name), indexed };
    Schema {
        service: "order".to_owned(),
        partitions,
        collections: vec![
            Collection {
                name: "orders",
                fields: vec![field("id", false), field("storeName", true), field("count", true), field("note", false)],
            },
            Collection { name: "menus", fields: vec![] },
        ],
    }
}

/// A document of `orders`, shown.
pub fn order(id: i64, expected_version: u64, body: &serde_json::Value) -> DocumentChange {
    DocumentChange { collection: "orders", id, expected_version, shown: true, body: body.to_string() }
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

fn insert(request: &Request) -> RequestChange {
    RequestChange::Insert(Box::new(request.clone()))
}

fn moved(id: Uuid, from: RequestState, to: RequestState) -> RequestChange {
    RequestChange::Move { id, from, to, answer: None }
}

fn answer(status: u16) -> StoredAnswer {
    StoredAnswer { status, location: Some("/orders/1".to_owned()), body: r#"{"id":1}"#.to_owned() }
}

fn step(source: &str, epoch: u128, from: u64, to: u64) -> PlaceChange {
    let place = Place { source: source.to_owned(), partition: 0, epoch: Uuid::from_u128(epoch), sequence: to };
    PlaceChange { place, expected_sequence: from }
}

fn documents(documents: impl IntoIterator<Item = DocumentChange>) -> Changes {
    Changes { documents: documents.into_iter().collect(), ..Changes::default() }
}

fn requests(requests: impl IntoIterator<Item = RequestChange>) -> Changes {
    Changes { requests: requests.into_iter().collect(), ..Changes::default() }
}

fn events(events: impl IntoIterator<Item = JournalEntry>) -> Changes {
    Changes { journal: events.into_iter().collect(), ..Changes::default() }
}

fn places(places: impl IntoIterator<Item = PlaceChange>) -> Changes {
    Changes { places: places.into_iter().collect(), ..Changes::default() }
}

fn all() -> Query {
    Query { collection: "orders", filter: None, sort: None, offset: 0, size: 100 }
}

fn sorted(field: &'static str, direction: Direction) -> Query {
    Query { sort: Some((Cow::Borrowed(field), direction)), ..all() }
}

fn filtered(field: &'static str, value: &str) -> Query {
    Query { filter: Some((Cow::Borrowed(field), value.to_owned())), ..all() }
}

fn ids(page: &Page) -> Vec<i64> {
    page.documents.iter().map(|document| document.id).collect()
}

fn conflict<T: std::fmt::Debug>(result: Result<T, CommitError>) -> Conflict {
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
    places: Vec<Place>,
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
        places: database.places().await.unwrap(),
    }
}
