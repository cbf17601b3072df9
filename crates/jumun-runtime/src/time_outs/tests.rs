use super::*;
use crate::{Incoming, Parts, events::rebuild::tests::NoNeighbours, failing::Failing, schema};
use jiff::Timestamp;
use jumun::Verb;
use jumun_database::{JournalRecord, MemoryDatabase};
use std::{cell::Cell, sync::Arc};

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Virtual time: milliseconds since the test began.
fn clock() -> Timestamp {
    let began = BEGAN.get().unwrap_or_else(Instant::now);
    BEGAN.set(Some(began));
    Timestamp::UNIX_EPOCH + began.elapsed()
}

/// A shop whose owner must accept within a minute, if a limit is set.
fn shop(limit: &str) -> (Engine, Failing) {
    let model = food_delivery::system().service("store").expect("a service").clone();
    let database = Failing::new(MemoryDatabase::new(schema(&model)));
    let settings = serde_json::json!({ "confirm": "manual", "accept_within": limit });
    let behaviour = model.behaviour(settings.as_object().expect("an object")).expect("settings");
    let parts = Parts::new(model, behaviour, Arc::new(database.clone()), Arc::new(NoNeighbours));
    (Engine::new(Parts { clock, ..parts }), database)
}

/// An order at the shop that is due at this time.
fn waits(id: i64, due_ms: i64) -> DocumentChange {
    let body = format!(r#"{{"id":{id},"orderId":{id},"storeName":"s","orderStatus":"ORDERED"}}"#);
    let wait = WaitChange::Begin(Wait { name: "accept_within".into(), due_ms, trace: Some([7; 25]) });
    DocumentChange { collection: "stores", id, expected_version: 0, shown: true, body, wait }
}

async fn commit(engine: &Engine, documents: impl IntoIterator<Item = DocumentChange>) {
    let changes = Changes { documents: documents.into_iter().collect(), ..Changes::default() };
    engine.core().commit(changes).await.expect("a commit");
}

async fn journal(engine: &Engine) -> Vec<JournalRecord> {
    engine.core().database().journal(0, 0, 1_000).await.expect("memory can be read")
}

async fn waiting(engine: &Engine) -> Vec<Waiting> {
    engine.core().database().due(i64::MAX, 1_000).await.expect("memory can be read")
}

async fn round(engine: &Engine) -> Round {
    super::round(engine).await.expect("memory can be read")
}

fn accept(engine: &Engine, id: i64) -> Incoming {
    let mut commands = engine.core().model().resources[0].commands.iter();
    let accept = commands.find(|command| command.verb == Verb::Put("accept")).expect("a command");
    let (command, origin) = (accept.read(b"").expect("no body"), Origin::new(false));
    Incoming { resource: 0, id: Some(id), command, key: None, fingerprint: [1; 16], success: 200, origin }
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_decided_once_and_in_the_trace_in_which_it_began() {
    let (engine, _) = shop("1m");
    commit(&engine, [waits(1, 0), waits(2, 60_000)]).await;
    assert_eq!(round(&engine).await, Round::Worked);
    let events = journal(&engine).await;
    assert_eq!(events.len(), 1);
    assert!(events[0].event_type == "StoreCanceled" && events[0].body.contains("NOT_ACCEPTED_IN_TIME"), "{events:?}");
    assert_eq!(events[0].trace.expect("a trace")[..16], [7; 16]);
    assert!(matches!(round(&engine).await, Round::Nothing(wait) if wait == Duration::from_mins(1)));
    assert_eq!((journal(&engine).await.len(), waiting(&engine).await.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_worker_sleeps_until_something_is_due_and_is_woken_by_what_is_due_earlier() {
    let (engine, _) = shop("1m");
    start(&engine);
    let (far, near) = (3_600_000, 10_000);
    commit(&engine, [waits(1, far)]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    commit(&engine, [waits(2, near)]).await;
    for (time_ms, decided) in [(near - 1, 0), (near + 1, 1), (far - 1, 1), (far + 1, 2)] {
        let left = u64::try_from(time_ms - clock().as_millisecond()).expect("later");
        tokio::time::sleep(Duration::from_millis(left)).await;
        assert_eq!(journal(&engine).await.len(), decided, "at {time_ms} ms");
    }
    let times: Vec<_> = journal(&engine).await.iter().map(|event| event.time_ms).collect();
    assert_eq!(times, [near, far]);
}

#[tokio::test(start_paused = true)]
async fn an_accept_in_the_same_moment_wins_or_loses_and_never_both() {
    for accept_first in [true, false] {
        let (engine, _) = shop("1m");
        commit(&engine, [waits(1, 0)]).await;
        let (accepting, deciding) = (engine.take(accept(&engine, 1)), super::round(&engine));
        let accepted = if accept_first {
            let (accepted, decided) = tokio::join!(accepting, deciding);
            decided.expect("memory can be read");
            accepted
        } else {
            let (decided, accepted) = tokio::join!(deciding, accepting);
            decided.expect("memory can be read");
            accepted
        };
        while round(&engine).await == Round::Worked {}
        let events: Vec<_> = journal(&engine).await.into_iter().map(|event| event.event_type).collect();
        let expected = if accepted.is_ok() { "StoreConfirmed" } else { "StoreCanceled" };
        assert_eq!(events, [expected], "{accepted:?}");
        assert_eq!(waiting(&engine).await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_was_turned_off_ends_the_wait_and_nothing_else() {
    let (engine, _) = shop("");
    commit(&engine, [waits(1, 0)]).await;
    assert_eq!(round(&engine).await, Round::Worked);
    assert_eq!((journal(&engine).await.len(), waiting(&engine).await.len()), (0, 0));
}

/// More of them than fit into a round, and listed before.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_decided_is_put_off_and_holds_nothing_else_up() {
    let (engine, _) = shop("1m");
    let damaged = |id| DocumentChange { body: r#"{"id":"?"}"#.to_owned(), ..waits(id, 0) };
    let many = i64::from(TIME_OUTS_AT_ONCE) + 1;
    commit(&engine, (1..=many).map(damaged).chain([waits(100, 0)])).await;
    for _ in 0..2 {
        assert_eq!(round(&engine).await, Round::Worked);
    }
    assert_eq!(journal(&engine).await.len(), 1);
    let later: Vec<_> = waiting(&engine).await.iter().map(|waiting| waiting.wait.due_ms).collect();
    assert_eq!(later.len(), usize::try_from(many).expect("small"));
    assert!(later.iter().all(|due_ms| *due_ms >= 60_000), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_while_the_database_has_failed() {
    let (engine, database) = shop("1m");
    commit(&engine, [waits(1, 0)]).await;
    database.fails(true);
    assert!(matches!(round(&engine).await, Round::Nothing(_)));
    assert_eq!(journal(&engine).await.len(), 0);
    database.fails(false);
    assert_eq!(round(&engine).await, Round::Worked);
    assert_eq!(journal(&engine).await.len(), 1);
}
