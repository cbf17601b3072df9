//! What the engine answers to a request that it knows: while its database has failed, while too much is in progress, and after
//! the clock was set.

use super::*;
use crate::{
    events::rebuild::tests::NoNeighbours,
    failing::Failing,
    limits::{ANSWERS_KEPT, PURGE_EVERY},
    schema,
    stepping::{clock, set_by},
};
use futures_util::poll;
use jiff::SignedDuration;
use jumun::Verb;
use jumun_database::{Changes, MemoryDatabase, RequestChange};
use std::pin::pin;

fn engine(service: &str) -> (Engine, Failing) {
    engine_with(service, |parts| parts)
}

fn engine_with(service: &str, change: fn(Parts) -> Parts) -> (Engine, Failing) {
    let model = food_delivery::system().service(service).expect("a service").clone();
    let database = Failing::new(MemoryDatabase::new(schema(&model)));
    let behaviour = model.behaviour(&serde_json::Map::new()).expect("default settings");
    let parts = Parts::new(model, behaviour, Arc::new(database.clone()), Arc::new(NoNeighbours));
    (Engine::new(change(parts)), database)
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

/// A payment takes one command at once and lets none queue.
fn narrow(parts: Parts) -> Parts {
    let admission = AdmissionConfig { max_concurrent: 1, max_waiting: 0, ..AdmissionConfig::default() };
    Parts { admission, clock, ids: || id_at(clock()), ..parts }
}

/// An id of this time.
fn id_at(time: Timestamp) -> Uuid {
    let ms = u64::try_from(time.as_millisecond()).expect("after 1970");
    uuid::Builder::from_unix_timestamp_millis(ms, &fastrand::u128(..).to_be_bytes()[..10].try_into().expect("ten"))
        .into_uuid()
}

/// A neighbour asks for the payment of an order within ten seconds.
fn pay(engine: &Engine, id: Uuid, order: i64) -> Incoming {
    let ask = engine.core().model().resources[0].ask.clone().expect("an ask");
    let body = format!(r#"{{ "orderId": {order}, "price": 9000 }}"#);
    let (id_of, command) = ask.read(body.as_bytes()).expect("a question");
    let expires_ms = engine.core().now().as_millisecond() + 10_000;
    let key = Some(Key::Ask { id, expires_ms });
    let origin = Origin::new(false);
    Incoming { resource: 0, id: Some(id_of), command, key, fingerprint: [1; 16], success: 201, origin }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_hears_its_first_answer_also_where_too_much_is_in_progress() {
    let (engine, database) = engine_with("payment", narrow);
    let done = pay(&engine, id_at(clock()), 1);
    let first = engine.take(done.clone()).await.expect("a payment");
    database.holds_commits(true);
    let in_progress = pay(&engine, id_at(clock()), 2);
    let mut second = pin!(engine.take(in_progress.clone()));
    while database.held_commits() == 0 {
        assert!(poll!(second.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    let refused = engine.take(pay(&engine, id_at(clock()), 3)).await.expect_err("there is no room");
    assert_eq!(refused.code, Code::Overloaded);
    let again = engine.take(done).await.expect("the first answer");
    assert_eq!((again.status, again.body), (first.status, first.body));
    let mut again = pin!(engine.take(in_progress));
    assert!(poll!(again.as_mut()).is_pending(), "whether it is done is not known yet");
    database.holds_commits(false);
    let second = second.await.expect("a payment");
    assert_eq!(again.await.expect("the same").body, second.body);
}

#[tokio::test(start_paused = true)]
async fn an_ask_keeps_its_answer_whatever_the_clock_is_set_to_and_a_late_one_is_refused() {
    let (engine, _) = engine_with("payment", |parts| Parts { clock, ids: || id_at(clock()), ..parts });
    set_by(SignedDuration::from_hours(48));
    let done = pay(&engine, id_at(clock()), 1);
    let first = engine.take(done.clone()).await.expect("a payment").body;
    let on_its_way = pay(&engine, id_at(clock()), 2);
    for hours in [24, -48, 23] {
        set_by(SignedDuration::from_hours(hours));
        assert_eq!(engine.take(done.clone()).await.expect("its answer").body, first, "{hours} hours");
    }
    set_by(SignedDuration::from_hours(2));
    let late = engine.take(on_its_way.clone()).await.expect_err("its asker has given up by this clock");
    assert_eq!(late.code, Code::AskExpired);
    set_by(SignedDuration::from_hours(-2));
    engine.take(on_its_way).await.expect("by this clock its asker still waits");
    assert_eq!(engine.core().database().journal(0, 0, 10).await.expect("memory can be read").len(), 2, "each once");
}

/// By a clock that is set forward all answers are old. Their clients may still repeat their requests.
#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_time_whatever_the_clock_is_set_to() {
    let (engine, _) = engine_with("payment", |parts| Parts { clock, ids: || id_at(clock()), ..parts });
    set_by(SignedDuration::from_hours(48));
    crate::asks::recovery::start(engine.core(), engine.transport()).await;
    let done = pay(&engine, id_at(clock()), 1);
    engine.take(done.clone()).await.expect("a payment");
    let key = done.key.as_ref().map(Key::stored).expect("a key");
    let is_kept = async || engine.request_of(&key).await.expect("memory can be read").is_some();
    set_by(SignedDuration::from_hours(24));
    tokio::time::sleep(2 * PURGE_EVERY).await;
    assert!(is_kept().await, "it is two minutes old");
    set_by(SignedDuration::from_hours(-25));
    tokio::time::sleep(ANSWERS_KEPT).await;
    assert!(is_kept().await, "by this clock it is a little younger");
    tokio::time::sleep(Duration::from_hours(1) + 2 * PURGE_EVERY).await;
    assert!(!is_kept().await);
}
