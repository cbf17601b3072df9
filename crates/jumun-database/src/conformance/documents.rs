//! Documents: pages, totals, scans and ids.

use super::fixtures::{Home, all, documents, filtered, ids, insert, order, request, requests, schema, sorted};
use crate::{Database, Direction, DocumentChange, Lookup, Page, Query, ReadDatabase, RequestState, limits};
use futures_util::future::join_all;

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
    let by = |keys: &[(&'static str, Direction)]| {
        let sort = keys.iter().map(|(field, direction)| ((*field).into(), *direction)).collect();
        Query { sort, ..all() }
    };
    let (up, down) = (Direction::Ascending, Direction::Descending);
    check(by(&[("storeName", up), ("count", down)]), [3, 4, 2, 1]).await;
    check(by(&[("storeName", up), ("count", up)]), [3, 2, 4, 1]).await;
    check(by(&[("storeName", down), ("id", down)]), [1, 4, 2, 3]).await;
    check(by(&[("storeName", down), ("id", up), ("count", down)]), [1, 2, 4, 3]).await;
    check(by(&[("note", down), ("storeName", up)]), [1, 2, 3, 4]).await;
    check(by(&[("nobody's", down), ("note", up), ("storeName", down)]), [4, 3, 2, 1]).await;
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
        serde_json::json!({ "storeName": "true", "count": 1, "note": 1 }),
        serde_json::json!({ "storeName": "1", "count": 0, "note": false }),
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
    check("count", "1", &[7]).await;
    check("count", "true", &[]).await;
    check("count", "false", &[]).await;
    check("note", "true", &[2]).await;
    check("note", "false", &[8]).await;
    check("note", "1", &[7]).await;
    check("note", "0", &[]).await;
    check("storeName", "true", &[7]).await;
    check("storeName", "1", &[8]).await;
    check("id", "true", &[]).await;
    check("id", "4", &[4]).await;
    check("id", "four", &[]).await;
    check("nobody's", "7", &[]).await;
    let query = Query { sort: vec![("count".into(), Direction::Descending)], ..filtered("storeName", "스토어99") };
    assert_eq!(ids(&database.page(query).await.unwrap()), [6, 1]);
}

#[doc(hidden)]
pub async fn an_index_finds_the_first(home: &impl Home) {
    let database = home.open(schema(1));
    let body = |name: &str, count: i64| serde_json::json!({ "storeName": name, "count": count });
    let rows = (1..=20).map(|id| order(id, 0, &body(if id % 2 == 0 { "가" } else { "나" }, id % 4)));
    let hidden = DocumentChange { shown: false, ..order(21, 0, &body("가", 2)) };
    let texts = [order(22, 0, &serde_json::json!({ "storeName": "가", "count": "2" })), hidden];
    database.commit(documents(rows.chain(texts))).await.unwrap();
    let first = async |values: [serde_json::Value; 2], after, limit| {
        let (collection, fields, values) = ("orders", &["storeName", "count"][..], values.to_vec());
        database.first(Lookup { collection, fields, values, after, limit }).await.unwrap()
    };

    assert_eq!(first(["가".into(), 2.into()], 0, 2).await, [2, 6]);
    assert_eq!(first(["가".into(), 2.into()], 6, 10).await, [10, 14, 18]);
    assert_eq!(first(["가".into(), "2".into()], 0, 10).await, [22]);
    assert_eq!(first(["가".into(), 3.into()], 0, 10).await, [0; 0]);
    assert_eq!(first(["가".into(), serde_json::Value::Null], 0, 10).await, [0; 0]);
    database.commit(documents([order(2, 1, &body("가", 0)), order(3, 1, &body("가", 2))])).await.unwrap();
    assert_eq!(first(["가".into(), 2.into()], 0, 2).await, [3, 6]);
    let (collection, fields) = ("orders", &["storeName", "nobody's"][..]);
    let lookup = Lookup { collection, fields, values: vec!["가".into(), 1.into()], after: 0, limit: 9 };
    assert_eq!(database.first(lookup).await.unwrap(), [0; 0]);
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
    // Larger than the subject of a request, even without such a document.
    database.commit(requests([insert(&request(None, RequestState::Asking, 70))])).await.unwrap();
    assert_eq!(database.next_id("orders").await.unwrap(), 71);
    assert_eq!(database.next_id("menus").await.unwrap(), 2);
    // What is refused uses up nothing: a client may name any id.
    let mut refused = request(None, RequestState::Done, 1);
    refused.subject = i64::MAX;
    refused.answer = Some(super::fixtures::answer(404));
    database.commit(requests([insert(&refused)])).await.unwrap();
    assert_eq!(database.next_id("orders").await.unwrap(), 72);
    database.commit(documents([order(900, 3, &body)])).await.unwrap_err();
    assert!(database.next_id("orders").await.unwrap() < 900);

    database.close().await;
    drop(database);
    let database = home.open(schema(1));
    let next = database.next_id("orders").await.unwrap();
    assert!(next > 70, "{next} was the subject of a request");

    let voided = request(None, RequestState::Voided, 200);
    database.commit(requests([insert(&voided)])).await.unwrap();
    assert_eq!(database.purge_requests(i64::MAX, 0).await.unwrap(), 2);
    database.close().await;
    drop(database);
    let database = home.open(schema(1));
    let next = database.next_id("orders").await.unwrap();
    assert!(next > 200, "{next} was the subject of a request that is purged");
    let given = join_all((0..100).map(|_| database.next_id("orders"))).await;
    assert!(given.windows(2).all(|pair| pair[0].as_ref().unwrap() < pair[1].as_ref().unwrap()));
}
