//! Waits: what is due is listed, the oldest first, until the document no longer waits.

use super::fixtures::{Home, conflict, documents, order, schema};
use crate::{Conflict, Database, DocumentChange, ReadDatabase, Wait, WaitChange, Waiting};

fn wait(due_ms: i64) -> Wait {
    Wait { name: "accept_within".into(), due_ms, trace: (due_ms % 2 == 0).then_some([7; 25]) }
}

fn waits(id: i64, expected_version: u64, wait: WaitChange) -> DocumentChange {
    DocumentChange { wait, ..order(id, expected_version, &serde_json::json!({ "count": expected_version })) }
}

fn waiting(id: i64, due_ms: i64) -> Waiting {
    Waiting { collection: "orders".into(), id, wait: wait(due_ms) }
}

#[doc(hidden)]
pub async fn what_is_due_is_listed_with_the_oldest_first(home: &impl Home) {
    let database = home.open(schema(1));
    let begin = |id, due_ms| waits(id, 0, WaitChange::Begin(wait(due_ms)));
    let menu = DocumentChange { collection: "menus", ..begin(2, 200) };
    let all = [begin(1, 300), begin(2, 200), menu, begin(3, -5), begin(4, i64::MAX), waits(5, 0, WaitChange::Keep)];
    database.commit(documents(all)).await.unwrap();

    let menu = Waiting { collection: "menus".into(), ..waiting(2, 200) };
    let due = [waiting(3, -5), menu.clone(), waiting(2, 200), waiting(1, 300), waiting(4, i64::MAX)];
    for (until_ms, count) in [(-6, 0), (-5, 1), (199, 1), (200, 3), (300, 4), (i64::MAX - 1, 4), (i64::MAX, 5)] {
        assert_eq!(database.due(until_ms, 100).await.unwrap(), due[..count], "until {until_ms}");
    }
    assert_eq!(database.due(i64::MAX, 2).await.unwrap(), due[..2]);
    assert_eq!(database.waits_of(2).await.unwrap(), [menu, waiting(2, 200)]);
    assert_eq!(database.waits_of(5).await.unwrap(), []);
}

#[doc(hidden)]
pub async fn a_wait_changes_only_with_its_document(home: &impl Home) {
    let database = home.open(schema(1));
    let due = async || database.due(i64::MAX, 100).await.unwrap();
    database.commit(documents([waits(1, 0, WaitChange::Begin(wait(10)))])).await.unwrap();
    database.commit(documents([waits(1, 1, WaitChange::Keep)])).await.unwrap();
    assert_eq!(due().await, [waiting(1, 10)]);

    // Someone else was first: the wait stays as it is.
    for change in [WaitChange::End, WaitChange::Begin(wait(20)), WaitChange::Keep] {
        let result = database.commit(documents([waits(1, 1, change)])).await;
        assert_eq!(conflict(result), Conflict::Document { collection: "orders", id: 1 });
        assert_eq!(due().await, [waiting(1, 10)]);
    }

    database.commit(documents([waits(1, 2, WaitChange::Begin(wait(5)))])).await.unwrap();
    assert_eq!(due().await, [waiting(1, 5)]);
    database.commit(documents([waits(1, 3, WaitChange::Begin(wait(15)))])).await.unwrap();
    assert_eq!((database.due(14, 9).await.unwrap(), due().await), (vec![], vec![waiting(1, 15)]));
    for version in [4, 5] {
        database.commit(documents([waits(1, version, WaitChange::End)])).await.unwrap();
        assert_eq!(due().await, []);
    }

    database.commit(documents([waits(1, 6, WaitChange::Begin(wait(30)))])).await.unwrap();
    database.close().await;
    drop(database);
    let database = home.open(schema(1));
    assert_eq!(database.due(30, 9).await.unwrap(), [waiting(1, 30)], "it outlives the process");
}
