//! Shadows and bases, of which views are rebuilt.

use super::fixtures::{Home, all, conflict, documents, filtered, ids, order, positions, schema, step};
use crate::{CommitError, Conflict, Database, Document, Position, Query, ReadDatabase, RebuildDatabase, limits};
use uuid::Uuid;

/// A document of `orders` for its shadow.
fn row(id: i64, version: u64, store: &str) -> Document {
    let body = serde_json::json!({ "id": id, "storeName": store }).to_string();
    Document { id, version, shown: true, body }
}

async fn clear(database: &impl Database) {
    while !database.clear_shadow("orders").await.unwrap() {}
}

/// A view is rebuilt beside the old one.
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
    // The previous documents are the shadow now, to be cleared.
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

/// The fence: the rows must reflect exactly what their consumer has handled.
pub async fn a_switch_needs_the_places_to_be_as_believed(home: &impl Home) {
    let database = home.open(schema(1));
    database.commit(positions([step("payment", 1, 0, 5), step("store", 2, 0, 7)])).await.unwrap();
    database.write_shadow("orders", vec![row(1, 9, "after")]).await.unwrap();
    let position = |source: &str, epoch, sequence| Position {
        source: source.to_owned(),
        partition: 0,
        epoch: Uuid::from_u128(epoch),
        sequence,
    };
    let (payment, store) = (position("payment", 1, 5), position("store", 2, 7));
    let wrong = |source: &str| Conflict::Position { source: source.to_owned(), partition: 0 };
    for (believed, is_wrong) in [
        (vec![payment.clone()], "store"),
        (vec![], "payment"),
        (vec![payment.clone(), position("store", 2, 6)], "store"),
        (vec![position("payment", 8, 5), store.clone()], "payment"),
        (vec![payment.clone(), store.clone(), position("order", 3, 1)], "order"),
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

/// The old base or the new one, each with the positions that it was made of.
pub async fn a_base_is_kept_with_its_places_and_nobody_sees_it(home: &impl Home) {
    let position = |source: &str, partition, sequence| Position {
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
    database.keep_bases(vec!["orders"], vec![position("store", 1, 7), position("store", 0, 3)]).await.unwrap();
    let kept = Some(vec![position("store", 0, 3), position("store", 1, 7)]);
    assert_eq!(database.base("orders").await.unwrap(), kept);
    assert_eq!(database.base("menus").await.unwrap(), None);
    let rows = [row(2, 70, "first"), row(3, 70, "first"), hidden];
    assert_eq!(scan_base(&database).await, rows);
    assert_eq!(database.scan_base("orders", 2, 1).await.unwrap(), [row(3, 70, "first")]);
    assert_eq!(database.page(all()).await.unwrap(), seen);

    // Rows written for the next base are not part of this one before that is kept itself; after that nothing is left of
    // it.
    clear(&database).await;
    database.write_next_base("orders", vec![row(2, 71, "second")]).await.unwrap();
    assert_eq!((scan_base(&database).await, database.base("orders").await.unwrap()), (rows.to_vec(), kept));
    database.close().await;
    drop(database);
    let database = home.open(schema(1));
    assert_eq!(scan_base(&database).await, rows, "also after a restart");
    database.keep_bases(vec!["orders", "menus"], vec![position("order", 0, 9)]).await.unwrap();
    for collection in ["orders", "menus"] {
        assert_eq!(database.base(collection).await.unwrap(), Some(vec![position("order", 0, 9)]));
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
