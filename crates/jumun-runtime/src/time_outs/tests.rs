use super::*;
use crate::{
    Incoming, Parts,
    events::rebuild::tests::NoNeighbours,
    failing::Failing,
    schema,
    stepping::{clock, set_by},
};
use jiff::SignedDuration;
use jumun::Verb;
use jumun_database::{JournalRecord, MemoryDatabase};
use std::{collections::BTreeSet, sync::Arc};

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

/// A day of standing still: what has become due is worked off a page at a time, so that an order of now never has more than a
/// page before it, and memory does not grow with what is due.
#[tokio::test(start_paused = true)]
async fn however_much_is_due_is_worked_off_in_pages_beside_the_orders_of_now() {
    let (page, pages) = (usize::try_from(TIME_OUTS_AT_ONCE).expect("small"), 60);
    let (engine, database) = shop("1m");
    let due = page * pages;
    commit(&engine, (1..=i64::try_from(due).expect("small")).map(|id| waits(id, id))).await;
    set_by(SignedDuration::from_hours(24));
    database.holds_commits(true);
    start(&engine);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((database.held_commits(), database.most_due()), (page, page), "one page, and no more is read");
    let began = Instant::now();
    database.holds_commits(false);
    let (mut decided, mut events) = (0, Vec::new());
    while decided < due {
        tokio::time::sleep(TIME_OUTS_EVERY).await;
        events = journal(&engine).await;
        assert!(events.len() - decided <= 2 * page, "{decided}, then {}", events.len());
        decided = events.len();
        assert!(began.elapsed() < Duration::from_mins(1), "only {decided} of {due} in a minute");
    }
    assert_eq!(database.most_due(), page);
    assert!(began.elapsed() >= TIME_OUTS_EVERY * u32::try_from(pages - 2).expect("small"), "{:?}", began.elapsed());
    let orders: BTreeSet<_> = events.iter().map(|event| event.key).collect();
    assert_eq!((events.len(), orders.len()), (due, due), "each once");
}

/// A slow disk has the orders of now to write, too.
#[tokio::test(start_paused = true)]
async fn the_worker_rests_after_a_round_that_took_long() {
    const ROUNDS: u32 = 10;
    let (engine, database) = shop("1m");
    let page = i64::from(TIME_OUTS_AT_ONCE);
    commit(&engine, (1..=2 * page).map(|id| waits(id, 0))).await;
    database.holds_commits(true);
    start(&engine);
    let took = ROUNDS * TIME_OUTS_EVERY;
    tokio::time::sleep(took).await;
    database.holds_commits(false);
    for (pause, decided) in [((TIME_OUTS_REST * ROUNDS - 1) * TIME_OUTS_EVERY, page), (2 * TIME_OUTS_EVERY, 2 * page)] {
        tokio::time::sleep(pause).await;
        assert_eq!(i64::try_from(journal(&engine).await.len()), Ok(decided), "after {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_delays_what_is_due_and_loses_nothing() {
    let (engine, _) = shop("1m");
    start(&engine);
    commit(&engine, [waits(1, 60_000), waits(2, 7_200_000)]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    set_by(SignedDuration::from_hours(-1));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(journal(&engine).await.len(), 0, "it is 00:00:30 again");
    tokio::time::sleep(Duration::from_secs(32)).await;
    let events = journal(&engine).await;
    assert_eq!(events.len(), 1);
    assert!((60_000..62_000).contains(&events[0].time_ms), "{events:?}");
    // Set back after it is decided: once is enough.
    set_by(SignedDuration::from_hours(-1));
    tokio::time::sleep(Duration::from_mins(61)).await;
    assert_eq!((journal(&engine).await.len(), waiting(&engine).await.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_makes_due_once_what_the_new_time_says() {
    let (engine, _) = shop("1m");
    start(&engine);
    let day = 24 * 3_600_000;
    commit(&engine, [waits(1, 60_000), waits(2, day + 60_000)]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    set_by(SignedDuration::from_hours(24));
    tokio::time::sleep(SWEEP_EVERY + Duration::from_millis(100)).await;
    let events = journal(&engine).await;
    assert_eq!(events.iter().map(|event| event.key).collect::<Vec<_>>(), [1], "and not what is due in half a minute");
    assert!(events[0].time_ms >= day, "{events:?}");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(journal(&engine).await.iter().map(|event| event.key).collect::<Vec<_>>(), [1, 2]);
    // Set right again: both stay decided.
    set_by(SignedDuration::from_hours(-24));
    tokio::time::sleep(Duration::from_hours(25)).await;
    assert_eq!((journal(&engine).await.len(), waiting(&engine).await), (2, vec![]));
}
