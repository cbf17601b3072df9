//! What the engine answers while its database has failed.

use super::*;
use crate::{events::rebuild::tests::NoNeighbours, failing::Failing, schema};
use futures_util::poll;
use jumun::Verb;
use jumun_database::{Changes, MemoryDatabase, RequestChange};
use std::pin::pin;

fn engine(service: &str) -> (Engine, Failing) {
    let model = food_delivery::system().service(service).expect("a service").clone();
    let database = Failing::new(MemoryDatabase::new(schema(&model)));
    let behaviour = model.behaviour(&serde_json::Map::new()).expect("default settings");
    (Engine::new(Parts::new(model, behaviour, Arc::new(database.clone()), Arc::new(NoNeighbours))), database)
}

fn order(engine: &Engine, key: &str) -> Incoming {
    let post = engine.core().model().resources[0].commands.iter().find(|command| command.verb == Verb::Post);
    let body = r#"{ "storeName": "s", "itemName": "치킨", "itemQty": 1, "price": 9000 }"#;
    Incoming {
        resource: 0,
        id: None,
        command: post.expect("a command").read(body.as_bytes()).expect("a body"),
        key: Some(Key::Client(key.to_owned())),
        fingerprint: [1; 16],
        success: 201,
        origin: Origin::new(false),
    }
}

#[tokio::test]
async fn a_refusal_waits_for_the_same_request_in_progress() {
    let (engine, database) = engine("order");
    let incoming = order(&engine, "k");
    let in_progress = engine.turn("client:k".into()).await.expect("a turn");
    database.fails(true);
    let mut answer = pin!(engine.take(incoming.clone()));
    assert!(poll!(answer.as_mut()).is_pending(), "whether it is done is not known yet");
    let request = engine.request(&incoming, 1, engine.core().now(), Some("client:k".into()));
    let changes = Changes { requests: vec![RequestChange::Insert(Box::new(request))], ..Changes::default() };
    engine.core().commit(changes).await.expect("a commit");
    drop(in_progress);
    assert_eq!(answer.await.expect_err("a refusal").code, Code::OutcomeUnknown);
    let another = engine.take(order(&engine, "another")).await;
    assert_eq!(another.expect_err("a refusal").code, Code::NotDone);
}

#[tokio::test]
async fn nothing_is_confirmed_as_undone_by_a_database_that_has_failed() {
    let (engine, database) = engine("payment");
    let ask = Uuid::now_v7();
    let void = || engine.void(0, ask, Origin::new(false));
    void().await.expect("it is undone");
    database.fails(true);
    assert_eq!(void().await.expect_err("it may be undone in a file that nobody finds").code, Code::NotDone);
}
