//! What a commit promises.

use super::fixtures::{
    Home, all, conflict, documents, event, events, everything, insert, moved, order, positions, request, schema, step,
    unchanged,
};
use crate::{
    Changes, CommitError, Conflict, Database, Document, DocumentChange, DocumentVersion, JournalEntry, ReadDatabase,
    RequestState, limits,
};
use futures_util::future::join_all;

#[doc(hidden)]
pub async fn a_commit_does_all_of_it(home: &impl Home) {
    let database = home.open(schema(1));
    let body = serde_json::json!({ "id": 7, "storeName": "스토어99" });
    let asked = request(Some("key"), RequestState::Asking, 7);
    let changes = Changes {
        requests: vec![insert(&asked)],
        documents: vec![order(7, 0, &body)],
        unchanged: vec![unchanged(7, 0), unchanged(9, 0)],
        journal: vec![event(7), event(8)],
        positions: vec![step("store", 1, 0, 3)],
    };

    let receipt = database.commit(changes).await.unwrap();

    assert_eq!(receipt.sequences, [(0, 1), (0, 2)]);
    let expected = Document { id: 7, version: 1, shown: true, body: body.to_string() };
    assert_eq!(database.document("orders", 7).await.unwrap().as_ref(), Some(&expected));
    let (found, keys) =
        (Some(expected), vec![("menus", 7), ("orders", 8), ("orders", 7), ("others", 7), ("orders", 7)]);
    let several = database.documents(keys).await.unwrap();
    assert_eq!(several, [None, None, found.clone(), None, found], "each in its place");
    assert_eq!(database.document("orders", 8).await.unwrap(), None);
    assert_eq!(database.document("menus", 7).await.unwrap(), None);
    assert_eq!(database.request(asked.id).await.unwrap().as_ref(), Some(&asked));
    assert_eq!(database.request_by_key("key").await.unwrap().as_ref(), Some(&asked));
    assert_eq!(database.request_by_key("another").await.unwrap(), None);
    assert_eq!(database.positions().await.unwrap(), [step("store", 1, 0, 3).position]);
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
        positions: vec![step("store", 1, 0, 5)],
        ..Changes::default()
    };
    database.commit(setup).await.unwrap();
    let good = || Changes {
        requests: vec![
            insert(&request(Some("free"), RequestState::Asking, 2)),
            moved(known.id, RequestState::Asking, RequestState::Voiding),
        ],
        documents: vec![order(1, 1, &body), order(2, 0, &body)],
        unchanged: vec![unchanged(1, 1), unchanged(3, 0)],
        journal: vec![event(1), event(2)],
        positions: vec![step("store", 1, 5, 6), step("payment", 1, 0, 1)],
    };
    let before = everything(&database).await;

    let mut wrong_version = good();
    wrong_version.documents[1].expected_version = 4;
    let mut read_before = good();
    read_before.unchanged[1].version = 1;
    let mut wrong_state = good();
    wrong_state.requests.push(moved(known.id, RequestState::Done, RequestState::Voided));
    let mut taken_key = good();
    taken_key.requests.push(insert(&request(Some("taken"), RequestState::Done, 3)));
    let mut wrong_position = good();
    wrong_position.positions[0].expected_sequence = 4;

    let found = conflict(database.commit(wrong_version).await);
    assert_eq!(found, Conflict::Document { collection: "orders", id: 2 });
    assert_eq!(conflict(database.commit(read_before).await), Conflict::Document { collection: "orders", id: 3 });
    assert_eq!(conflict(database.commit(wrong_state).await), Conflict::Request { id: known.id });
    assert_eq!(conflict(database.commit(taken_key).await), Conflict::Key);
    let found = conflict(database.commit(wrong_position).await);
    assert_eq!(found, Conflict::Position { source: "store".to_owned(), partition: 0 });
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
pub async fn a_document_is_unchanged_only_with_the_content_that_was_read(home: &impl Home) {
    let database = home.open(schema(1));
    let (first, second) = (serde_json::json!({ "note": "첫" }), serde_json::json!({ "note": "second" }));
    let read =
        |version, body: &serde_json::Value| DocumentVersion { body: Some(body.to_string()), ..unchanged(1, version) };
    let commit = |change: Option<DocumentChange>, read| {
        let changes = Changes { documents: Vec::from_iter(change), unchanged: vec![read], ..Changes::default() };
        database.commit(changes)
    };
    let refused = Conflict::Document { collection: "orders", id: 1 };

    assert_eq!(conflict(commit(None, read(0, &first)).await), refused, "it is not there yet");
    database.commit(documents([order(1, 0, &first)])).await.unwrap();
    assert_eq!(conflict(commit(None, read(1, &second)).await), refused);
    assert_eq!(conflict(commit(None, read(2, &first)).await), refused);
    commit(None, read(1, &first)).await.unwrap();
    // The same document is changed and must be as it was read.
    assert_eq!(conflict(commit(Some(order(1, 1, &second)), read(1, &second)).await), refused);
    commit(Some(order(1, 1, &second)), read(1, &first)).await.unwrap();
    assert_eq!(database.document("orders", 1).await.unwrap().unwrap().body, second.to_string());

    // Of a group that rests on commits before it in the group: what comes after one that fails fails.
    let step = |version: u64, from: &str, to: &str| {
        let body = |note: &str| serde_json::json!({ "note": note });
        commit(Some(order(1, version, &body(to))), read(version, &body(from)))
    };
    let results =
        join_all([step(2, "second", "a"), step(3, "a", "b"), step(4, "another", "c"), step(5, "c", "d")]).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, false]);
    let document = database.document("orders", 1).await.unwrap().unwrap();
    assert_eq!((document.version, &*document.body), (4, r#"{"note":"b"}"#));
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
    limit(positions([step("store", 1, 0, 1), step("store", 1, 0, 1)])).await;
    limit(positions([step("store", 1, 0, u64::MAX)])).await;

    assert_eq!(database.journal(0, 0, 10).await.unwrap(), []);
    assert_eq!(database.document("orders", 1).await.unwrap(), None);
    database.commit(documents([document(limits::DOCUMENT_MAX_BYTES)])).await.unwrap();
    database.commit(events([large(limits::EVENT_MAX_BYTES)])).await.unwrap();
    database.commit(Changes::default()).await.unwrap();
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
            positions: vec![step(&format!("source {id}"), 3, 0, 1)],
            ..Changes::default()
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
    // Not every adapter counts them; an adapter that counts has counted all.
    for histogram in [&stats.group_jobs, &stats.sync_us].into_iter().filter(|histogram| !histogram.counts.is_empty()) {
        assert_eq!(histogram.counts.len(), histogram.bounds.len() + 1);
        assert!(histogram.counts.iter().sum::<u64>() >= stats.groups, "{stats:?}");
    }
    assert!([0, 30].contains(&stats.group_jobs.sum), "{stats:?}");
    assert_eq!(database.identity().service, "order");
}
