//! What every adapter must do, as tests that every adapter runs.
//!
//! ```ignore
//! jumun_database::conformance!(Memory::default());
//! ```
//!
//! expands to one test a function of this module; the expression gives each of them a [`Home`] of its own.

#![allow(clippy::unwrap_used, reason = "these are tests, compiled here so that adapters elsewhere can run them")]

use crate::{
    AskRecord, Changes, Collection, CommitError, Conflict, Database, Direction, Document, DocumentChange, Field,
    JournalEntry, JournalRecord, Page, Place, PlaceChange, Query, ReadDatabase, Request, RequestChange, RequestFilter,
    RequestState, Schema, StoredAnswer, limits, partition_of,
};
use futures_util::future::join_all;
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

#[doc(hidden)]
pub async fn a_commit_does_all_of_it(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({ "id": 7, "storeName": "스토어99" });
    let asked = request(Some("key"), RequestState::Asking, 7);
    let changes = Changes {
        requests: vec![insert(&asked)],
        documents: vec![order(7, 0, &body)],
        journal: vec![event(7), event(8)],
        places: vec![step("store", 1, 0, 3)],
    };

    let receipt = database.commit(changes).await.unwrap();

    assert_eq!(receipt.sequences, [(0, 1), (0, 2)]);
    let expected = Document { id: 7, version: 1, shown: true, body: body.to_string() };
    assert_eq!(database.document("orders", 7).await.unwrap(), Some(expected));
    assert_eq!(database.document("orders", 8).await.unwrap(), None);
    assert_eq!(database.document("menus", 7).await.unwrap(), None);
    assert_eq!(database.request(asked.id).await.unwrap().as_ref(), Some(&asked));
    assert_eq!(database.request_by_key("key").await.unwrap().as_ref(), Some(&asked));
    assert_eq!(database.request_by_key("another").await.unwrap(), None);
    assert_eq!(database.places().await.unwrap(), [step("store", 1, 0, 3).place]);
    let journal = database.journal(0, 0, 10).await.unwrap();
    let (first, wanted) = (&journal[0], event(7));
    assert_eq!((journal.len(), first.partition, first.sequence, first.key), (2, 0, 1, 7));
    assert_eq!((&*first.event_type, first.time_ms, &first.body), ("Ordered", wanted.time_ms, &wanted.body));
    assert_eq!((first.trace, journal[1].trace), (Some([7; 25]), None));
}

#[doc(hidden)]
pub async fn a_commit_that_is_wrong_about_one_thing_changes_nothing(home: &impl Home) {
    let database = home.open(schema(2));
    let body = serde_json::json!({ "storeName": "a" });
    let known = request(Some("taken"), RequestState::Asking, 1);
    let setup = Changes {
        requests: vec![insert(&known)],
        documents: vec![order(1, 0, &body)],
        journal: vec![event(1)],
        places: vec![step("store", 1, 0, 5)],
    };
    database.commit(setup).await.unwrap();
    let good = || Changes {
        requests: vec![
            insert(&request(Some("free"), RequestState::Asking, 2)),
            moved(known.id, RequestState::Asking, RequestState::Voiding),
        ],
        documents: vec![order(1, 1, &body), order(2, 0, &body)],
        journal: vec![event(1), event(2)],
        places: vec![step("store", 1, 5, 6), step("payment", 1, 0, 1)],
    };
    let before = everything(&database).await;

    let mut wrong_version = good();
    wrong_version.documents[1].expected_version = 4;
    let mut wrong_state = good();
    wrong_state.requests.push(moved(known.id, RequestState::Done, RequestState::Voided));
    let mut taken_key = good();
    taken_key.requests.push(insert(&request(Some("taken"), RequestState::Done, 3)));
    let mut wrong_place = good();
    wrong_place.places[0].expected_sequence = 4;

    let found = conflict(database.commit(wrong_version).await);
    assert_eq!(found, Conflict::Document { collection: "orders", id: 2 });
    assert_eq!(conflict(database.commit(wrong_state).await), Conflict::Request { id: known.id });
    assert_eq!(conflict(database.commit(taken_key).await), Conflict::Key);
    let found = conflict(database.commit(wrong_place).await);
    assert_eq!(found, Conflict::Place { source: "store".to_owned(), partition: 0 });
    assert_eq!(everything(&database).await, before);
    database.commit(good()).await.unwrap();
}

#[doc(hidden)]
pub async fn a_conflict_leaves_the_rest_of_its_group_alone(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({});

    let commits = (1..=100_u64).map(|n| {
        let id = i64::try_from(n).unwrap();
        let expected = if n % 3 == 0 { 5 } else { 0 };
        let changes =
            Changes { documents: vec![order(id, expected, &body)], journal: vec![event(id)], ..Changes::default() };
        database.commit(changes)
    });
    let results = join_all(commits).await;

    for (result, id) in results.iter().zip(1_i64..) {
        assert_eq!(result.is_ok(), id % 3 != 0, "{id}: {result:?}");
        assert_eq!(database.document("orders", id).await.unwrap().is_some(), id % 3 != 0, "{id}");
    }
    let journal = database.journal(0, 0, 1_000).await.unwrap();
    assert_eq!(journal.len(), 67);
    assert!(journal.iter().zip(1..).all(|(record, number)| record.sequence == number && record.key % 3 != 0));
}

#[doc(hidden)]
pub async fn a_document_changes_only_from_the_version_it_has(home: &impl Home) {
    let database = home.open(schema(1));
    let change = |expected, body: &str| documents([order(1, expected, &serde_json::json!({ "note": body }))]);
    let refused = Conflict::Document { collection: "orders", id: 1 };

    assert_eq!(conflict(database.commit(change(1, "not there yet")).await), refused);
    database.commit(change(0, "first")).await.unwrap();
    assert_eq!(conflict(database.commit(change(0, "there already")).await), refused);
    database.commit(change(1, "second")).await.unwrap();
    assert_eq!(conflict(database.commit(change(1, "behind")).await), refused);
    assert_eq!(conflict(database.commit(change(3, "ahead")).await), refused);
    assert_eq!(conflict(database.commit(change(u64::MAX, "far ahead")).await), refused);

    let document = database.document("orders", 1).await.unwrap().unwrap();
    assert_eq!((document.version, &*document.body), (2, r#"{"note":"second"}"#));
    // Another collection has documents of its own.
    let menu = DocumentChange { collection: "menus", ..order(1, 0, &serde_json::json!({})) };
    database.commit(documents([menu])).await.unwrap();
}

#[doc(hidden)]
pub async fn of_many_writers_of_a_document_none_is_lost(home: &impl Home) {
    let database = home.open(schema(1));
    database.commit(documents([order(1, 0, &serde_json::json!({ "count": 0 }))])).await.unwrap();

    let add_ten = async || {
        let mut added = 0;
        while added < 10 {
            let document = database.document("orders", 1).await.unwrap().unwrap();
            let body: serde_json::Value = serde_json::from_str(&document.body).unwrap();
            let next = serde_json::json!({ "count": body["count"].as_i64().unwrap() + 1 });
            match database.commit(documents([order(1, document.version, &next)])).await {
                Ok(_) => added += 1,
                Err(CommitError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    join_all((0..16).map(|_| add_ten())).await;

    let document = database.document("orders", 1).await.unwrap().unwrap();
    assert_eq!((&*document.body, document.version), (r#"{"count":160}"#, 161));
}

#[doc(hidden)]
pub async fn hidden_documents_are_remembered_and_not_listed(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({ "storeName": "a" });
    let hidden = |id, version| DocumentChange { shown: false, ..order(id, version, &body) };
    database.commit(documents([order(1, 0, &body), hidden(2, 0), order(3, 0, &body)])).await.unwrap();

    let page = database.page(all()).await.unwrap();
    assert_eq!((ids(&page), page.total), (vec![1, 3], 2));
    let page = database.page(filtered("storeName", "a")).await.unwrap();
    assert_eq!((ids(&page), page.total), (vec![1, 3], 2));
    assert!(!database.document("orders", 2).await.unwrap().unwrap().shown);
    assert_eq!(database.scan("orders", 0, 10).await.unwrap().len(), 3);

    database.commit(documents([order(2, 1, &body), hidden(3, 1)])).await.unwrap();
    let page = database.page(sorted("storeName", Direction::Descending)).await.unwrap();
    assert_eq!((ids(&page), page.total), (vec![2, 1], 2));
    database.commit(documents([hidden(3, 2), hidden(2, 2), hidden(1, 1)])).await.unwrap();
    assert_eq!(database.page(all()).await.unwrap(), Page::default());
}

#[doc(hidden)]
pub async fn pages_are_sorted_by_any_field(home: &impl Home) {
    let database = home.open(schema(1));
    let rows = [
        serde_json::json!({ "storeName": "나", "count": 10, "note": "b" }),
        serde_json::json!({ "storeName": "가", "count": 9, "note": "a" }),
        serde_json::json!({ "storeName": "Z", "count": -1, "note": null }),
        serde_json::json!({ "storeName": "가", "count": 100 }),
    ];
    let rows = rows.iter().zip(1..).map(|(body, id)| order(id, 0, body));
    database.commit(documents(rows)).await.unwrap();
    let check = async |query: Query, expected: [i64; 4]| {
        let page = database.page(query.clone()).await.unwrap();
        assert_eq!((&ids(&page)[..], page.total), (&expected[..], 4), "{query:?}");
    };

    check(all(), [1, 2, 3, 4]).await;
    check(sorted("id", Direction::Ascending), [1, 2, 3, 4]).await;
    check(sorted("id", Direction::Descending), [4, 3, 2, 1]).await;
    check(sorted("count", Direction::Ascending), [3, 2, 1, 4]).await;
    check(sorted("count", Direction::Descending), [4, 1, 2, 3]).await;
    check(sorted("storeName", Direction::Ascending), [3, 2, 4, 1]).await;
    check(sorted("storeName", Direction::Descending), [1, 4, 2, 3]).await;
    check(sorted("note", Direction::Ascending), [3, 4, 2, 1]).await;
    check(sorted("note", Direction::Descending), [1, 2, 4, 3]).await;
    check(sorted("nobody's", Direction::Descending), [1, 2, 3, 4]).await;
    check(sorted("id\"; DROP TABLE journal; --", Direction::Descending), [1, 2, 3, 4]).await;
}

#[doc(hidden)]
pub async fn pages_are_filtered_by_texts_and_numbers(home: &impl Home) {
    let database = home.open(schema(1));
    let rows = [
        serde_json::json!({ "storeName": "스토어99", "count": 7 }),
        serde_json::json!({ "storeName": "O'Neill \"&\" \\ %", "count": 70, "note": true }),
        serde_json::json!({ "storeName": "7", "count": -7 }),
        serde_json::json!({ "storeName": "스토어9", "count": 1.5 }),
        serde_json::json!({ "storeName": null }),
        serde_json::json!({ "storeName": "스토어99", "count": "7" }),
    ];
    let rows = rows.iter().zip(1..).map(|(body, id)| order(id, 0, body));
    database.commit(documents(rows)).await.unwrap();
    let check = async |field, value, expected: &[i64]| {
        let page = database.page(filtered(field, value)).await.unwrap();
        assert_eq!((&ids(&page)[..], page.total), (expected, expected.len() as u64), "{field} = {value}");
    };

    check("storeName", "스토어99", &[1, 6]).await;
    check("storeName", "스토어", &[]).await;
    check("storeName", "O'Neill \"&\" \\ %", &[2]).await;
    check("storeName", "7", &[3]).await;
    check("storeName", "", &[]).await;
    check("storeName", "null", &[]).await;
    check("count", "7", &[1, 6]).await;
    check("count", "07", &[]).await;
    check("count", "-7", &[3]).await;
    check("count", "1.5", &[4]).await;
    check("note", "true", &[2]).await;
    check("id", "4", &[4]).await;
    check("id", "four", &[]).await;
    check("nobody's", "7", &[]).await;
    let query = Query { sort: Some(("count".into(), Direction::Descending)), ..filtered("storeName", "스토어99") };
    assert_eq!(ids(&database.page(query).await.unwrap()), [6, 1]);
}

#[doc(hidden)]
pub async fn pages_cut_a_long_list(home: &impl Home) {
    let database = home.open(schema(1));
    let body = |id| serde_json::json!({ "count": id % 2 });
    database.commit(documents((1..=1_100).map(|id| order(id, 0, &body(id))))).await.unwrap();
    let check = async |query: Query, offset, size, expected: std::ops::Range<i64>| {
        let page = database.page(Query { offset, size, ..query }).await.unwrap();
        assert_eq!((ids(&page), page.total), (expected.collect(), 1_100), "{offset}, {size}");
    };

    check(all(), 0, 20, 1..21).await;
    check(all(), 20, 20, 21..41).await;
    check(all(), 1_090, 20, 1_091..1_101).await;
    check(all(), 5_000, 20, 0..0).await;
    check(all(), u64::MAX, 20, 0..0).await;
    check(all(), 0, 0, 0..0).await;
    check(all(), 0, u32::MAX, 1..i64::from(limits::PAGE_MAX_ROWS) + 1).await;
    let page = database.page(Query { offset: 548, size: 5, ..filtered("count", "1") }).await.unwrap();
    assert_eq!((ids(&page), page.total), (vec![1_097, 1_099], 550));
}

#[doc(hidden)]
pub async fn totals_follow_every_commit(home: &impl Home) {
    let database = home.open(schema(1));
    for id in 1..=20 {
        let name = if id % 2 == 0 { "even" } else { "odd" };
        database.commit(documents([order(id, 0, &serde_json::json!({ "storeName": name }))])).await.unwrap();
        let total = u64::try_from(id).unwrap();
        assert_eq!(database.page(all()).await.unwrap().total, total);
        assert_eq!(database.page(filtered("storeName", "even")).await.unwrap().documents.len() as u64, total / 2);
    }
    // A count that was slow, on a busy machine, may be a second old. It is never wrong for longer.
    let started = std::time::Instant::now();
    while database.page(filtered("storeName", "even")).await.unwrap().total != 10 {
        assert!(started.elapsed() < 5 * limits::COUNT_KEPT, "the total stays behind");
    }
}

#[doc(hidden)]
pub async fn a_scan_gives_all_documents_in_order_of_id(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({});
    let rows = [5, -3, 9, 1].map(|id| DocumentChange { shown: id > 1, ..order(id, 0, &body) });
    database.commit(documents(rows)).await.unwrap();
    let scan = async |after, limit| -> Vec<i64> {
        database.scan("orders", after, limit).await.unwrap().iter().map(|document| document.id).collect()
    };

    assert_eq!(scan(i64::MIN, 10).await, [-3, 1, 5, 9]);
    assert_eq!(scan(i64::MIN, 2).await, [-3, 1]);
    assert_eq!(scan(1, 2).await, [5, 9]);
    assert_eq!(scan(9, 2).await, [0; 0]);
    assert_eq!(database.scan("menus", i64::MIN, 10).await.unwrap(), []);
}

#[doc(hidden)]
pub async fn events_are_numbered_without_gaps_in_commit_order(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({});

    let committer = async |caller: i64| {
        let mut given = Vec::new();
        for round in 0..20_i64 {
            let id = caller * 100 + round;
            // Every fifth is refused, with its events.
            let expected = u64::from(round % 5 == 4);
            let changes = Changes {
                documents: vec![order(id, expected, &body)],
                journal: vec![event(id), event(id)],
                ..Changes::default()
            };
            match database.commit(changes).await {
                Ok(receipt) => given.push((id, receipt.sequences)),
                Err(CommitError::Conflict(_)) => assert_eq!(round % 5, 4),
                Err(error) => panic!("{error}"),
            }
        }
        given
    };
    let given = join_all((1..=64).map(committer)).await;

    let mut journal = Vec::new();
    while let batch = database.journal(0, journal.len() as u64, 1_000).await.unwrap()
        && !batch.is_empty()
    {
        journal.extend(batch);
    }
    assert_eq!(journal.len(), 64 * 16 * 2);
    assert!(journal.iter().zip(1..).all(|(record, number)| record.sequence == number), "there is a gap");
    for (id, sequences) in given.into_iter().flatten() {
        let [(_, first), (_, second)] = sequences[..] else { panic!("{sequences:?}") };
        assert_eq!(second, first + 1, "events of one commit follow each other");
        for sequence in [first, second] {
            assert_eq!(journal[usize::try_from(sequence).unwrap() - 1].key, id, "the receipt names another event");
        }
    }
}

#[doc(hidden)]
pub async fn each_partition_is_numbered_on_its_own(home: &impl Home) {
    let partitions = 3;
    let database = home.open(schema(partitions));

    let mut expected = vec![Vec::new(); usize::from(partitions)];
    for start in (1..100).step_by(10) {
        let receipt = database.commit(events((start..start + 10).map(event))).await.unwrap();
        for (key, (partition, sequence)) in (start..).zip(receipt.sequences) {
            assert_eq!(partition, partition_of(key, partitions));
            expected[usize::from(partition)].push(key);
            assert_eq!(sequence, expected[usize::from(partition)].len() as u64);
        }
    }

    for (partition, expected) in (0..).zip(expected) {
        let journal = database.journal(partition, 0, 1_000).await.unwrap();
        assert!(journal.iter().all(|record| record.partition == partition));
        assert_eq!(journal.iter().map(|record| record.key).collect::<Vec<_>>(), expected);
        assert!(!expected.is_empty(), "the keys do not reach partition {partition}");
    }
    assert_eq!(database.journal(partitions, 0, 10).await.unwrap(), []);
    // Written down in released databases.
    assert_eq!([0, 1, 2, 7, -1, i64::MAX].map(|key| partition_of(key, 12)), PARTITIONS_OF_TWELVE);
}

/// See [`partition_of`]: these never change.
const PARTITIONS_OF_TWELVE: [u16; 6] = [1, 0, 3, 10, 1, 9];

#[doc(hidden)]
pub async fn the_journal_is_read_in_pieces(home: &impl Home) {
    let database = home.open(schema(1));
    database.commit(events((1..=10).map(event))).await.unwrap();
    let read = async |after, limit| -> Vec<u64> {
        database.journal(0, after, limit).await.unwrap().iter().map(|record| record.sequence).collect()
    };

    assert_eq!(read(0, 3).await, [1, 2, 3]);
    assert_eq!(read(3, 3).await, [4, 5, 6]);
    assert_eq!(read(9, 3).await, [10]);
    assert_eq!(read(10, 3).await, [0; 0]);
    assert_eq!(read(u64::MAX, 3).await, [0; 0]);
}

#[doc(hidden)]
pub async fn a_request_moves_only_forward_and_only_from_the_state_it_is_in(home: &impl Home) {
    let database = home.open(schema(1));
    for state in RequestState::ALL {
        for from in RequestState::ALL {
            for to in RequestState::ALL {
                let asked = request(None, state, 1);
                database.commit(requests([insert(&asked)])).await.unwrap();
                let result = database.commit(requests([moved(asked.id, from, to)])).await;
                let after = database.request(asked.id).await.unwrap().unwrap().state;
                if state == from && from <= to {
                    assert!(result.is_ok(), "{state}: {from} → {to}: {result:?}");
                    assert_eq!(after, to);
                } else {
                    assert_eq!(conflict(result), Conflict::Request { id: asked.id }, "{state}: {from} → {to}");
                    assert_eq!(after, state);
                }
            }
        }
    }
    let nobody = Uuid::now_v7();
    let result = database.commit(requests([moved(nobody, RequestState::Asking, RequestState::Done)])).await;
    assert_eq!(conflict(result), Conflict::Request { id: nobody });
    let known = request(None, RequestState::Asking, 1);
    database.commit(requests([insert(&known)])).await.unwrap();
    assert_eq!(conflict(database.commit(requests([insert(&known)])).await), Conflict::Request { id: known.id });
    // Two steps in one commit.
    let steps = [(RequestState::Asking, RequestState::Voiding), (RequestState::Voiding, RequestState::Voided)];
    database.commit(requests(steps.map(|(from, to)| moved(known.id, from, to)))).await.unwrap();
    assert_eq!(database.request(known.id).await.unwrap().unwrap().state, RequestState::Voided);
}

#[doc(hidden)]
pub async fn an_answer_stays_until_there_is_another(home: &impl Home) {
    let database = home.open(schema(1));
    let asked = request(None, RequestState::Asking, 1);
    database.commit(requests([insert(&asked)])).await.unwrap();
    let step = async |from, to, answer: Option<StoredAnswer>| {
        database.commit(requests([RequestChange::Move { id: asked.id, from, to, answer }])).await.unwrap();
        database.request(asked.id).await.unwrap().unwrap().answer
    };

    let first = step(RequestState::Asking, RequestState::Done, Some(answer(201))).await;
    assert_eq!(first, Some(answer(201)));
    let kept = step(RequestState::Done, RequestState::Voiding, None).await;
    assert_eq!(kept, Some(answer(201)));
    let other = StoredAnswer { status: 409, location: None, body: String::new() };
    let replaced = step(RequestState::Voiding, RequestState::Voided, Some(other.clone())).await;
    assert_eq!(replaced, Some(other));
    // A request can be born with an answer, and without an ask.
    let born = Request { answer: Some(answer(200)), ask: None, ..request(Some("k"), RequestState::Done, 1) };
    database.commit(requests([insert(&born)])).await.unwrap();
    assert_eq!(database.request_by_key("k").await.unwrap(), Some(born));
}

#[doc(hidden)]
pub async fn only_what_is_asked_is_delayed(home: &impl Home) {
    let database = home.open(schema(1));
    let question = Some(r#"{"orderId":1}"#.to_owned());
    for state in RequestState::ALL {
        let mut asked = request(None, state, 1);
        asked.ask = asked.ask.map(|ask| AskRecord { question: question.clone(), ..ask });
        database.commit(requests([insert(&asked)])).await.unwrap();
        let delay = |answer| requests([RequestChange::Delay { id: asked.id, until_ms: 9_000, answer }]);
        if state == RequestState::Asking {
            database.commit(delay(Some(answer(201)))).await.unwrap();
            let delayed = Request { state: RequestState::Delayed, until_ms: 9_000, answer: Some(answer(201)), ..asked };
            assert_eq!(database.request(delayed.id).await.unwrap(), Some(delayed.clone()));
            // What is delayed is answered, or taken back, and keeps the answer of its client.
            database.commit(requests([moved(asked.id, RequestState::Delayed, RequestState::Done)])).await.unwrap();
            let done = Request { state: RequestState::Done, ..delayed };
            assert_eq!(database.request(done.id).await.unwrap(), Some(done));
        } else {
            assert_eq!(conflict(database.commit(delay(None)).await), Conflict::Request { id: asked.id }, "{state}");
            assert_eq!(database.request(asked.id).await.unwrap(), Some(asked));
        }
    }
    let silent = request(None, RequestState::Asking, 1);
    let delay = RequestChange::Delay { id: silent.id, until_ms: 9_000, answer: None };
    database.commit(requests([insert(&silent), delay])).await.unwrap();
    assert_eq!(database.request(silent.id).await.unwrap().unwrap().answer, None);
}

#[doc(hidden)]
pub async fn a_key_belongs_to_one_request(home: &impl Home) {
    let database = home.open(schema(1));
    let first = request(Some("key '\"한글"), RequestState::Asking, 1);
    database.commit(requests([insert(&first)])).await.unwrap();

    let second = Request { id: Uuid::now_v7(), ..first.clone() };
    assert_eq!(conflict(database.commit(requests([insert(&second)])).await), Conflict::Key);
    let twins = ["a", "a"].map(|key| insert(&request(Some(key), RequestState::Done, 1)));
    assert_eq!(conflict(database.commit(requests(twins)).await), Conflict::Key);
    let racers = (0..32).map(|_| database.commit(requests([insert(&request(Some("race"), RequestState::Done, 1))])));
    assert_eq!(join_all(racers).await.iter().filter(|result| result.is_ok()).count(), 1);

    assert_eq!(database.request_by_key("key '\"한글").await.unwrap(), Some(first));
    assert_eq!(database.request(second.id).await.unwrap(), None);
    // Any number of requests have no key.
    let keyless = (0..3).map(|_| insert(&request(None, RequestState::Done, 1)));
    database.commit(requests(keyless)).await.unwrap();
}

#[doc(hidden)]
pub async fn a_key_is_released_only_by_an_attempt_without_an_answer(home: &impl Home) {
    let database = home.open(schema(1));
    for state in RequestState::ALL {
        for has_key in [true, false] {
            for answered in [true, false] {
                let key = format!("{state} {has_key} {answered}");
                let asked =
                    Request { answer: answered.then(|| answer(201)), ..request(has_key.then_some(&*key), state, 1) };
                database.commit(requests([insert(&asked)])).await.unwrap();
                let result = database.commit(requests([RequestChange::ReleaseKey { id: asked.id }])).await;
                if state >= RequestState::Voiding && has_key && !answered {
                    assert!(result.is_ok(), "{asked:?}: {result:?}");
                    assert_eq!(database.request_by_key(&key).await.unwrap(), None);
                    assert_eq!(database.request(asked.id).await.unwrap(), Some(Request { key: None, ..asked }));
                    database.commit(requests([insert(&request(Some(&*key), RequestState::Asking, 1))])).await.unwrap();
                } else {
                    assert_eq!(conflict(result), Conflict::Request { id: asked.id });
                    assert_eq!(database.request_by_key(&key).await.unwrap(), has_key.then_some(asked));
                }
            }
        }
    }
    let nobody = Uuid::now_v7();
    let result = database.commit(requests([RequestChange::ReleaseKey { id: nobody }])).await;
    assert_eq!(conflict(result), Conflict::Request { id: nobody });
}

#[doc(hidden)]
pub async fn a_key_can_pass_on_within_one_commit(home: &impl Home) {
    let database = home.open(schema(1));
    let old = request(Some("key"), RequestState::Voiding, 1);
    database.commit(requests([insert(&old)])).await.unwrap();
    let new = request(Some("key"), RequestState::Asking, 2);

    let too_late = [insert(&new), RequestChange::ReleaseKey { id: old.id }];
    assert_eq!(conflict(database.commit(requests(too_late)).await), Conflict::Key);
    let in_order = [RequestChange::ReleaseKey { id: old.id }, insert(&new)];
    database.commit(requests(in_order)).await.unwrap();

    assert_eq!(database.request_by_key("key").await.unwrap(), Some(new.clone()));
    assert_eq!(database.request(old.id).await.unwrap().unwrap().key, None);
    // Given up and tried again at once.
    let newest = request(Some("key"), RequestState::Asking, 3);
    let handed_on = [
        moved(new.id, RequestState::Asking, RequestState::Voiding),
        RequestChange::ReleaseKey { id: new.id },
        insert(&newest),
    ];
    database.commit(requests(handed_on)).await.unwrap();
    assert_eq!(database.request_by_key("key").await.unwrap(), Some(newest));
}

#[doc(hidden)]
pub async fn requests_are_listed_by_state_age_and_place(home: &impl Home) {
    let database = home.open(schema(1));
    let mut all = Vec::new();
    for subject in 1..=15 {
        let state = RequestState::ALL[usize::try_from(subject).unwrap() % 5];
        all.push(request(None, state, subject));
    }
    if let Some(ask) = &mut all[10].ask {
        "stock".clone_into(&mut ask.service);
    }
    database.commit(requests(all.iter().rev().map(insert))).await.unwrap();
    let of = async |service, state, until_before_ms, after, limit| -> Vec<i64> {
        let filter = RequestFilter { state, service, until_before_ms, after, limit };
        database.requests(filter).await.unwrap().iter().map(|request| request.subject).collect()
    };

    let list = async |state, until_before_ms, after, limit| of(None, state, until_before_ms, after, limit).await;

    assert_eq!(list(RequestState::Asking, None, None, 10).await, [5, 10, 15]);
    assert_eq!(list(RequestState::Delayed, None, None, 10).await, [1, 6, 11]);
    assert_eq!(list(RequestState::Done, None, None, 10).await, [2, 7, 12]);
    assert_eq!(list(RequestState::Voiding, None, None, 2).await, [3, 8]);
    assert_eq!(list(RequestState::Voiding, None, Some(all[7].id), 2).await, [13]);
    assert_eq!(list(RequestState::Voided, Some(1_009), None, 10).await, [4]);
    assert_eq!(list(RequestState::Voided, Some(1_010), None, 10).await, [4, 9]);
    assert_eq!(list(RequestState::Delayed, Some(1_007), None, 10).await, [1, 6]);
    assert_eq!(list(RequestState::Delayed, Some(1_007), Some(all[0].id), 10).await, [6]);
    assert_eq!(list(RequestState::Asking, None, None, 0).await, [0; 0]);
    assert_eq!(of(Some("stock"), RequestState::Delayed, None, None, 10).await, [11]);
    assert_eq!(of(Some("payment"), RequestState::Delayed, None, None, 1).await, [1]);
    assert_eq!(of(Some("payment"), RequestState::Delayed, Some(2_000), None, 10).await, [1, 6]);
}

#[doc(hidden)]
pub async fn doubts_are_found_by_their_subject(home: &impl Home) {
    let database = home.open(schema(1));
    let mut doubts = Vec::new();
    for state in RequestState::ALL {
        for subject in [1, 2] {
            let asked = request(None, state, subject);
            database.commit(requests([insert(&asked)])).await.unwrap();
            if subject == 1 && state.is_in_doubt() {
                doubts.push(asked);
            }
        }
    }

    assert_eq!(database.doubts_about(1).await.unwrap(), doubts);
    assert_eq!(database.doubts_about(3).await.unwrap(), []);
    database.commit(requests([moved(doubts[0].id, RequestState::Asking, RequestState::Done)])).await.unwrap();
    assert_eq!(database.doubts_about(1).await.unwrap(), doubts[1..]);
}

#[doc(hidden)]
pub async fn a_place_moves_only_from_where_it_is(home: &impl Home) {
    let database = home.open(schema(1));
    let refused = Conflict::Place { source: "store".to_owned(), partition: 0 };

    assert_eq!(conflict(database.commit(places([step("store", 1, 3, 4)])).await), refused);
    database.commit(places([step("store", 1, 0, 4)])).await.unwrap();
    assert_eq!(conflict(database.commit(places([step("store", 1, 0, 4)])).await), refused);
    assert_eq!(conflict(database.commit(places([step("store", 1, 5, 6)])).await), refused);
    database.commit(places([step("store", 1, 4, 5), step("payment", 1, 0, 9)])).await.unwrap();
    let mut other = step("store", 1, 0, 2);
    other.place.partition = 1;
    database.commit(places([other.clone()])).await.unwrap();

    let expected = [step("payment", 1, 0, 9).place, step("store", 1, 4, 5).place, other.place];
    assert_eq!(database.places().await.unwrap(), expected);
    // Two consumers at work: the fence lets one through.
    let racers = (0..16).map(|_| database.commit(places([step("store", 1, 5, 6)])));
    assert_eq!(join_all(racers).await.iter().filter(|result| result.is_ok()).count(), 1);
}

#[doc(hidden)]
pub async fn a_place_of_another_epoch_is_a_conflict(home: &impl Home) {
    let database = home.open(schema(1));
    database.commit(places([step("store", 1, 0, 4)])).await.unwrap();
    let refused = Conflict::Place { source: "store".to_owned(), partition: 0 };

    assert_eq!(conflict(database.commit(places([step("store", 2, 4, 5)])).await), refused);
    assert_eq!(conflict(database.commit(places([step("store", 2, 0, 1)])).await), refused);

    assert_eq!(database.places().await.unwrap(), [step("store", 1, 0, 4).place]);
}

#[doc(hidden)]
pub async fn what_is_over_a_limit_is_never_done(home: &impl Home) {
    let database = home.open(schema(1));
    let limit = async |changes: Changes| match database.commit(changes).await {
        Err(CommitError::Limit(why)) => assert!(!why.is_empty()),
        other => panic!("expected a limit, got {other:?}"),
    };
    let of_size = |bytes: usize| format!(r#"{{"note":"{}"}}"#, "x".repeat(bytes - 11));
    let document = |bytes| DocumentChange { body: of_size(bytes), ..order(1, 0, &serde_json::json!({})) };
    let large = |bytes| JournalEntry { body: of_size(bytes), ..event(1) };
    assert_eq!(of_size(100).len(), 100);

    limit(documents([document(limits::DOCUMENT_MAX_BYTES + 1)])).await;
    limit(events([event(1), large(limits::EVENT_MAX_BYTES + 1)])).await;
    limit(documents([DocumentChange { collection: "nobody's", ..document(100) }])).await;
    limit(documents([document(100), document(100)])).await;
    limit(places([step("store", 1, 0, 1), step("store", 1, 0, 1)])).await;
    limit(places([step("store", 1, 0, u64::MAX)])).await;

    assert_eq!(database.journal(0, 0, 10).await.unwrap(), []);
    assert_eq!(database.document("orders", 1).await.unwrap(), None);
    database.commit(documents([document(limits::DOCUMENT_MAX_BYTES)])).await.unwrap();
    database.commit(events([large(limits::EVENT_MAX_BYTES)])).await.unwrap();
    database.commit(Changes::default()).await.unwrap();
}

#[doc(hidden)]
pub async fn an_id_is_never_given_twice(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({});
    assert_eq!(database.next_id("orders").await.unwrap(), 1);
    assert_eq!(database.next_id("orders").await.unwrap(), 2);
    assert_eq!(database.next_id("menus").await.unwrap(), 1);
    assert!(database.next_id("nobody's").await.is_err());

    // Larger than a document that came by another way.
    database.commit(documents([DocumentChange { shown: false, ..order(50, 0, &body) }])).await.unwrap();
    assert_eq!(database.next_id("orders").await.unwrap(), 51);
    // Larger than the subject of a request, though there is no such document.
    database.commit(requests([insert(&request(None, RequestState::Asking, 70))])).await.unwrap();
    assert_eq!(database.next_id("orders").await.unwrap(), 71);
    assert_eq!(database.next_id("menus").await.unwrap(), 2);
    // What is refused uses up nothing.
    database.commit(documents([order(900, 3, &body)])).await.unwrap_err();
    assert!(database.next_id("orders").await.unwrap() < 900);

    database.close().await;
    drop(database);
    let database = home.open(schema(1));
    let next = database.next_id("orders").await.unwrap();
    assert!(next > 70, "{next} was the subject of a request");

    let voided = request(None, RequestState::Voided, 200);
    database.commit(requests([insert(&voided)])).await.unwrap();
    assert_eq!(database.purge_requests(i64::MAX, 0).await.unwrap(), 1);
    database.close().await;
    drop(database);
    let database = home.open(schema(1));
    let next = database.next_id("orders").await.unwrap();
    assert!(next > 200, "{next} was the subject of a request that is purged");
    let given = join_all((0..100).map(|_| database.next_id("orders"))).await;
    assert!(given.windows(2).all(|pair| pair[0].as_ref().unwrap() < pair[1].as_ref().unwrap()));
}

#[doc(hidden)]
pub async fn a_purge_takes_the_oldest_that_are_not_in_doubt(home: &impl Home) {
    use RequestState::{Asking, Delayed, Done, Voided, Voiding};
    let database = home.open(schema(1));
    let at = |time_ms: u64, number: u64, state| {
        let id = uuid::Builder::from_unix_timestamp_millis(time_ms, &[u8::try_from(number).unwrap(); 10]).into_uuid();
        Request { id, key: Some(format!("{time_ms} {number}")), ..request(None, state, 1) }
    };
    let mut all = Vec::new();
    for time_ms in [1_000, 2_000, 3_000] {
        for (state, number) in RequestState::ALL.into_iter().zip(0..) {
            all.push(at(time_ms, number, state));
        }
    }
    database.commit(requests(all.iter().map(insert))).await.unwrap();
    let left = async || {
        let mut left = Vec::new();
        for asked in &all {
            let found = database.request(asked.id).await.unwrap();
            assert_eq!(database.request_by_key(asked.key.as_ref().unwrap()).await.unwrap(), found);
            left.extend(found.map(|request| (request.id.as_u128() >> 80, request.state)));
        }
        left
    };
    assert_eq!(database.purge_requests(1_000, 100).await.unwrap(), 0);
    assert_eq!(database.purge_requests(2_000, 100).await.unwrap(), 2);
    let newer = [(2_000, Asking), (2_000, Delayed), (2_000, Done), (2_000, Voiding), (2_000, Voided)];
    let newest = newer.map(|(_, state)| (3_000, state));
    let in_doubt = [(1_000, Asking), (1_000, Delayed), (1_000, Voiding)];
    assert_eq!(left().await, [&in_doubt[..], &newer, &newest].concat());

    // Four that are answered are left; of those three may stay.
    assert_eq!(database.purge_requests(0, 4).await.unwrap(), 0);
    assert_eq!(database.purge_requests(0, 3).await.unwrap(), 1);
    assert_eq!(left().await, [&in_doubt[..], &newer[..2], &newer[3..], &newest].concat());
    assert_eq!(database.purge_requests(i64::MAX, 0).await.unwrap(), 3);
    let of = |time_ms| [Asking, Delayed, Voiding].map(|state| (time_ms, state));
    assert_eq!(left().await, [of(1_000), of(2_000), of(3_000)].concat());

    let many = (0..u64::from(limits::PURGE_MAX_ROWS) + 5).map(|n| {
        let bytes = [u8::try_from(n % 251).unwrap(); 10];
        let id = uuid::Builder::from_unix_timestamp_millis(5_000 + n, &bytes).into_uuid();
        insert(&Request { id, ..request(None, Done, 1) })
    });
    database.commit(requests(many)).await.unwrap();
    assert_eq!(database.purge_requests(i64::MAX, 0).await.unwrap(), u64::from(limits::PURGE_MAX_ROWS));
    assert_eq!(database.purge_requests(i64::MAX, 0).await.unwrap(), 5);
}

#[doc(hidden)]
pub async fn what_is_committed_outlives_the_process(home: &impl Home) {
    let database = home.open(schema(2));
    let body = serde_json::json!({ "storeName": "스토어99" });
    let commits = (1..=50).map(|id| {
        database.commit(Changes {
            requests: vec![insert(&request(Some(&id.to_string()), RequestState::Asking, id))],
            documents: vec![DocumentChange { shown: id % 5 > 0, ..order(id, 0, &body) }],
            journal: vec![event(id)],
            places: vec![step(&format!("source {id}"), 3, 0, 1)],
        })
    });
    assert!(join_all(commits).await.iter().all(Result::is_ok));
    let before = everything(&database).await;

    database.close().await;
    drop(database);
    let database = home.open(schema(2));

    assert_eq!(everything(&database).await, before);
    let next = database.commit(events([event(1), event(2)])).await.unwrap();
    for (partition, sequence) in next.sequences {
        let journal = database.journal(partition, 0, 100).await.unwrap();
        assert_eq!(journal.last().map(|record| record.sequence), Some(sequence));
        assert!(journal.iter().zip(1..).all(|(record, number)| record.sequence == number), "there is a gap");
    }
}

#[doc(hidden)]
pub async fn a_closed_database_does_nothing(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({});
    database.commit(documents([order(1, 0, &body)])).await.unwrap();

    database.close().await;
    database.close().await;

    let result = database.commit(documents([order(2, 0, &body)])).await;
    assert!(matches!(result, Err(CommitError::NotDone(_))), "{result:?}");
    let result = database.purge_requests(0, 0).await;
    assert!(matches!(result, Err(CommitError::NotDone(_))), "{result:?}");
    assert!(database.document("orders", 1).await.is_err());
    assert!(database.page(all()).await.is_err());
    drop(database);
    let database = home.open(schema(1));
    assert_eq!(database.page(all()).await.unwrap().total, 1);
}

#[doc(hidden)]
pub async fn the_writer_counts_what_it_does(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({});
    assert_eq!(database.stats(), crate::Stats::default());

    let results = join_all((0..30).map(|id| database.commit(documents([order(id % 20, 0, &body)])))).await;

    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 20);
    let stats = database.stats();
    assert_eq!((stats.commits, stats.conflicts), (20, 10));
    assert!((1..=20).contains(&stats.groups), "{stats:?}");
    // Not every adapter counts them; who does has counted all.
    for histogram in [&stats.group_jobs, &stats.sync_us].into_iter().filter(|histogram| !histogram.counts.is_empty()) {
        assert_eq!(histogram.counts.len(), histogram.bounds.len() + 1);
        assert!(histogram.counts.iter().sum::<u64>() >= stats.groups, "{stats:?}");
    }
    assert!([0, 30].contains(&stats.group_jobs.sum), "{stats:?}");
    assert_eq!(database.identity().service, "order");
}

/// A document of `orders` for its shadow.
fn row(id: i64, version: u64, store: &str) -> Document {
    let body = serde_json::json!({ "id": id, "storeName": store }).to_string();
    Document { id, version, shown: true, body }
}

async fn clear(database: &impl Database) {
    while !database.clear_shadow("orders").await.unwrap() {}
}

/// A view is made anew beside the old one.
pub async fn nobody_sees_a_shadow_before_it_takes_its_place(home: &impl Home) {
    let database = home.open(schema(1));
    let before = [1, 2].map(|id| order(id, 0, &serde_json::json!({ "storeName": "before" })));
    database.commit(documents(before)).await.unwrap();
    let seen = database.page(all()).await.unwrap();
    clear(&database).await;
    assert_eq!(database.read_shadow("orders", vec![1]).await.unwrap(), []);
    let hidden = Document { shown: false, ..row(4, 70, "hidden") };
    database.write_shadow("orders", vec![row(2, 70, "wrong"), row(3, 70, "after")]).await.unwrap();
    database.write_shadow("orders", vec![row(2, 70, "after"), hidden.clone()]).await.unwrap();
    assert_eq!(database.page(all()).await.unwrap(), seen);
    let read = database.read_shadow("orders", vec![4, 1, 2]).await.unwrap();
    assert_eq!(read, [hidden.clone(), row(2, 70, "after")]);

    database.switch_shadows(vec!["orders"], vec![]).await.unwrap();
    let page = database.page(all()).await.unwrap();
    assert_eq!((ids(&page), page.total), (vec![2, 3], 2));
    assert_eq!(database.document("orders", 4).await.unwrap(), Some(hidden));
    assert_eq!(database.document("orders", 1).await.unwrap(), None);
    assert_eq!(database.page(Query { collection: "menus", ..all() }).await.unwrap().total, 0);
    // What was there before is what is to be cleared now.
    assert_eq!(database.read_shadow("orders", vec![1]).await.unwrap().len(), 1);
    clear(&database).await;
    assert_eq!(database.read_shadow("orders", vec![1]).await.unwrap(), []);
    assert_eq!(database.page(all()).await.unwrap(), page);
}

/// Twice, as the second switch brings the tables of the first one back.
pub async fn documents_that_were_switched_are_found_and_changed_like_all_others(home: &impl Home) {
    for round in 1..=2 {
        let database = home.open(schema(1));
        clear(&database).await;
        let version = 100 * round;
        database
            .write_shadow("orders", vec![row(1, version, "a"), row(2, version, "b"), row(9, version, "b")])
            .await
            .unwrap();
        database.switch_shadows(vec!["orders", "menus"], vec![]).await.unwrap();
        clear(&database).await;
        let page = database.page(filtered("storeName", "b")).await.unwrap();
        assert_eq!((ids(&page), page.total), (vec![2, 9], 2));
        assert!(database.next_id("orders").await.unwrap() > 9);

        let change = |from| documents([order(2, from, &serde_json::json!({ "storeName": "a" }))]);
        let first = conflict(database.commit(change(1)).await);
        assert_eq!(first, Conflict::Document { collection: "orders", id: 2 }, "a version of before the switch");
        database.commit(change(version)).await.unwrap();
        let new = order(3, 0, &serde_json::json!({ "storeName": "a" }));
        database.commit(documents([new])).await.unwrap();
        assert_eq!(ids(&database.page(filtered("storeName", "a")).await.unwrap()), [1, 2, 3]);
        assert_eq!(database.page(all()).await.unwrap().total, 4);
        database.close().await;
        drop(database);
        let database = home.open(schema(1));
        assert_eq!(ids(&database.page(filtered("storeName", "a")).await.unwrap()), [1, 2, 3], "also after a restart");
        assert_eq!(database.page(all()).await.unwrap().total, 4);
        database.close().await;
    }
}

/// The fence: what the rows were made of is what their consumer has heard.
pub async fn a_switch_needs_the_places_to_be_as_believed(home: &impl Home) {
    let database = home.open(schema(1));
    database.commit(places([step("payment", 1, 0, 5), step("store", 2, 0, 7)])).await.unwrap();
    database.write_shadow("orders", vec![row(1, 9, "after")]).await.unwrap();
    let place = |source: &str, epoch, sequence| Place {
        source: source.to_owned(),
        partition: 0,
        epoch: Uuid::from_u128(epoch),
        sequence,
    };
    let (payment, store) = (place("payment", 1, 5), place("store", 2, 7));
    let wrong = |source: &str| Conflict::Place { source: source.to_owned(), partition: 0 };
    for (believed, is_wrong) in [
        (vec![payment.clone()], "store"),
        (vec![], "payment"),
        (vec![payment.clone(), place("store", 2, 6)], "store"),
        (vec![place("payment", 8, 5), store.clone()], "payment"),
        (vec![payment.clone(), store.clone(), place("order", 3, 1)], "order"),
    ] {
        let refused = conflict(database.switch_shadows(vec!["orders"], believed).await);
        assert_eq!(refused, wrong(is_wrong));
        assert_eq!(database.page(all()).await.unwrap().total, 0);
    }
    database.switch_shadows(vec!["orders"], vec![store, payment]).await.unwrap();
    assert_eq!(database.page(all()).await.unwrap().total, 1);
}

/// No step holds the writer up for long.
pub async fn a_shadow_is_cleared_in_steps_and_filled_within_bounds(home: &impl Home) {
    let database = home.open(schema(1));
    let most = i64::try_from(limits::SHADOW_MAX_ROWS).unwrap();
    let some = |from: i64, count: i64| (from..from + count).map(|id| row(id, 1, "a")).collect::<Vec<_>>();
    assert!(matches!(database.write_shadow("orders", some(1, most + 1)).await, Err(CommitError::Limit(_))));
    let large = Document { body: "x".repeat(limits::DOCUMENT_MAX_BYTES + 1), ..row(1, 1, "a") };
    assert!(matches!(database.write_shadow("orders", vec![large]).await, Err(CommitError::Limit(_))));
    assert!(matches!(database.write_shadow("nowhere", some(1, 1)).await, Err(CommitError::Limit(_))));
    assert!(matches!(database.clear_shadow("nowhere").await, Err(CommitError::Limit(_))));
    assert!(matches!(database.switch_shadows(vec!["nowhere"], vec![]).await, Err(CommitError::Limit(_))));

    database.write_shadow("orders", some(1, most)).await.unwrap();
    database.write_shadow("orders", some(1 + most, most / 2)).await.unwrap();
    assert!(!database.clear_shadow("orders").await.unwrap());
    assert!(database.clear_shadow("orders").await.unwrap());
    database.write_shadow("orders", some(1, 3)).await.unwrap();
    database.switch_shadows(vec!["orders"], vec![]).await.unwrap();
    assert_eq!(database.page(all()).await.unwrap().total, 3, "what was cleared does not count");
}

async fn scan_base(database: &impl Database) -> Vec<Document> {
    database.scan_base("orders", i64::MIN, limits::PAGE_MAX_ROWS).await.unwrap()
}

/// The old base or the new one, each with the places that it was made of.
pub async fn a_base_is_kept_with_its_places_and_nobody_sees_it(home: &impl Home) {
    let place = |source: &str, partition, sequence| Place {
        source: source.to_owned(),
        partition,
        epoch: Uuid::from_u128(5),
        sequence,
    };
    let database = home.open(schema(1));
    database.commit(documents([order(1, 0, &serde_json::json!({ "storeName": "live" }))])).await.unwrap();
    let seen = database.page(all()).await.unwrap();
    assert_eq!(database.base("orders").await.unwrap(), None);
    assert_eq!(scan_base(&database).await, []);
    let hidden = Document { shown: false, ..row(9, 70, "hidden") };
    database.write_next_base("orders", vec![hidden.clone(), row(2, 70, "first")]).await.unwrap();
    database.write_next_base("orders", vec![row(3, 70, "first")]).await.unwrap();
    assert_eq!(database.base("orders").await.unwrap(), None, "it is not kept yet");
    database.keep_bases(vec!["orders"], vec![place("store", 1, 7), place("store", 0, 3)]).await.unwrap();
    let kept = Some(vec![place("store", 0, 3), place("store", 1, 7)]);
    assert_eq!(database.base("orders").await.unwrap(), kept);
    assert_eq!(database.base("menus").await.unwrap(), None);
    let rows = [row(2, 70, "first"), row(3, 70, "first"), hidden];
    assert_eq!(scan_base(&database).await, rows);
    assert_eq!(database.scan_base("orders", 2, 1).await.unwrap(), [row(3, 70, "first")]);
    assert_eq!(database.page(all()).await.unwrap(), seen);

    // What is written next is no part of it before it is kept itself; after that nothing is left of it.
    clear(&database).await;
    database.write_next_base("orders", vec![row(2, 71, "second")]).await.unwrap();
    assert_eq!((scan_base(&database).await, database.base("orders").await.unwrap()), (rows.to_vec(), kept));
    database.close().await;
    drop(database);
    let database = home.open(schema(1));
    assert_eq!(scan_base(&database).await, rows, "also after a restart");
    database.keep_bases(vec!["orders", "menus"], vec![place("order", 0, 9)]).await.unwrap();
    for collection in ["orders", "menus"] {
        assert_eq!(database.base(collection).await.unwrap(), Some(vec![place("order", 0, 9)]));
    }
    assert_eq!(scan_base(&database).await, [row(2, 71, "second")]);
    clear(&database).await;
    assert_eq!(scan_base(&database).await, [row(2, 71, "second")]);
    assert_eq!(database.page(all()).await.unwrap(), seen);
    assert!(matches!(database.write_next_base("nowhere", vec![]).await, Err(CommitError::Limit(_))));
    assert!(matches!(database.keep_bases(vec!["nowhere"], vec![]).await, Err(CommitError::Limit(_))));
}

/// One after the other, again and again: each has tables and indexes of its own.
pub async fn a_base_does_not_get_into_the_way_of_shadows(home: &impl Home) {
    for round in 1..=3 {
        let database = home.open(schema(1));
        let store = format!("round {round}");
        clear(&database).await;
        database.write_shadow("orders", vec![row(round, 100, &store)]).await.unwrap();
        database.keep_bases(vec!["orders"], vec![]).await.unwrap(); // one that has indexes
        assert_eq!(scan_base(&database).await, [row(round, 100, &store)]);
        clear(&database).await;
        database.write_shadow("orders", vec![row(1, 100, &store), row(2, 100, &store)]).await.unwrap();
        database.switch_shadows(vec!["orders"], vec![]).await.unwrap();
        clear(&database).await;
        let found = database.page(filtered("storeName", &store)).await.unwrap();
        assert_eq!((ids(&found), found.total), (vec![1, 2], 2));
        database.write_next_base("orders", vec![row(5, 100, &store), row(6, 100, &store)]).await.unwrap();
        database.keep_bases(vec!["orders"], vec![]).await.unwrap();
        assert_eq!(scan_base(&database).await.len(), 2);
        assert_eq!(database.page(all()).await.unwrap().total, 2);
        database.close().await;
    }
}
