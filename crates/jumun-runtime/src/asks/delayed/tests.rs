//! The worker, round by round.

use super::*;
use crate::{
    Parts,
    asks::{
        guards::Guards,
        transport::{Answered, Transport, VoidFuture},
    },
    failing::Failing,
    schema,
};
use futures_util::future::{BoxFuture, ready};
use jumun_database::{AskRecord, MemoryDatabase};
use jumun_guard::{BulkheadConfig, GuardConfig};
use std::{collections::BTreeMap, sync::Arc};
use tokio::{sync::watch, task::JoinHandle};

/// How many calls of the orders' service may be in flight. An eighth of them is two.
const LIMIT: u32 = 16;

/// A neighbour that takes up questions, and answers as many as it may.
#[derive(Clone)]
struct Neighbour {
    in_flight: Arc<watch::Sender<usize>>,
    answers: Arc<Semaphore>,
    outcome: Reached,
}

impl Neighbour {
    fn new(answers: usize, outcome: Reached) -> Self {
        Self { in_flight: Arc::new(watch::Sender::new(0)), answers: Arc::new(Semaphore::new(answers)), outcome }
    }

    /// Waits until it has this many questions, and finds it then has no more.
    async fn has(&self, wanted: usize) {
        let mut in_flight = self.in_flight.subscribe();
        let has = in_flight.wait_for(|now| *now >= wanted);
        tokio::time::timeout(Duration::from_millis(100), has).await.expect("questions").expect("a neighbour");
        for _ in 0..20 {
            tokio::time::advance(DELAYED_EVERY).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(*self.in_flight.borrow(), wanted);
    }
}

impl Transport for Neighbour {
    fn ask(&self, _: Question) -> BoxFuture<'_, Answered> {
        Box::pin(async {
            self.in_flight.send_modify(|now| *now += 1);
            self.answers.acquire().await.expect("it is never closed").forget();
            self.in_flight.send_modify(|now| *now -= 1);
            self.outcome.clone().into()
        })
    }

    fn void<'a>(&'a self, _: &'a str, _: &'a str, _: Uuid, _: &'a Origin) -> VoidFuture<'a> {
        Box::pin(ready(Ok(())))
    }
}

/// Delayed questions of orders that do not wait for them.
struct Backlog {
    engine: Engine,
    database: Failing,
    requests: Vec<Request>,
    callee: &'static str,
}

impl Backlog {
    async fn new(neighbour: &Neighbour, orders: i64) -> Self {
        let model = course_enrollment::system().service("order").expect("a service").clone();
        let database = Failing::new(MemoryDatabase::new(schema(&model)));
        let behaviour = model.behaviour(&serde_json::Map::new()).expect("default settings");
        let (collection, target) =
            (model.resources[0].collection, model.resources[0].settles.first().expect("a delayed ask").target);
        let bulkhead = BulkheadConfig { max_concurrent: LIMIT, keep_to_places: false, ..BulkheadConfig::default() };
        let config = GuardConfig { bulkhead, ..GuardConfig::default() };
        let guards = Guards::new(&model, &BTreeMap::from([(target.service.to_owned(), config)])).expect("guards");
        let parts = Parts::new(model, behaviour, Arc::new(database.clone()), Arc::new(neighbour.clone()));
        let engine = Engine::new(Parts { guards, ..parts });
        let request = |subject| Request {
            id: Uuid::now_v7(),
            key: None,
            fingerprint: [0; 16],
            state: RequestState::Delayed,
            collection: collection.into(),
            subject,
            ask: Some(AskRecord {
                service: target.service.into(),
                path: target.path.into(),
                question: Some("{}".into()),
            }),
            trace: None,
            answer: None,
            incarnation: Uuid::nil(),
            until_ms: 0,
        };
        let requests: Vec<_> = (1..=orders).map(request).collect();
        let insert = |request: &Request| RequestChange::Insert(Box::new(request.clone()));
        let changes = Changes { requests: requests.iter().map(insert).collect(), ..Changes::default() };
        engine.core().commit(changes).await.expect("a commit");
        Self { engine, database, requests, callee: target.service }
    }

    fn worker(&self) -> Worker {
        Worker { engine: self.engine.clone(), callee: self.callee, ended_at: None }
    }

    /// Starts a round.
    fn round(&self) -> JoinHandle<Result<Round, ReadError>> {
        let mut worker = self.worker();
        tokio::spawn(async move { worker.round().await })
    }

    /// Calls of orders of now, in flight.
    fn orders(&self, calls: u32) -> Vec<Admitted<'_>> {
        (0..calls).map(|_| self.engine.guards().admit_if_free(self.callee).expect("a slot")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_the_database_has_failed() {
    let neighbour = Neighbour::new(1, Reached::Unknown("no answer".into()));
    let backlog = Backlog::new(&neighbour, 1).await;
    let Backlog { engine, database, requests, callee } = &backlog;
    let mut worker = Worker { ended_at: Some(Uuid::nil()), ..backlog.worker() };
    database.fails(true);
    let round = worker.round().await.expect("memory can be read");
    assert_eq!((round.settled, round.left, worker.ended_at), (0, 0, None), "and it does not begin at once again");
    let late = attempt(engine, callee, &requests[0], None, &Semaphore::new(1)).await;
    assert!(matches!(late, Attempt::Left), "it failed in the round: {late:?}");
    worker.expire_once().await.expect("memory can be read");
    assert_eq!(neighbour.answers.available_permits(), 1, "it was not asked");
    database.fails(false);
    assert_eq!(worker.round().await.expect("memory can be read").left, 1);
    assert_eq!(neighbour.answers.available_permits(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_has_an_eighth_of_the_calls_and_more_only_where_orders_leave_some() {
    let neighbour = Neighbour::new(0, Reached::Unknown("no answer".into()));
    let backlog = Backlog::new(&neighbour, 64).await;
    // Orders have every slot: its eighth queues like them, and gets the first slots that become free.
    let mut orders = backlog.orders(LIMIT);
    let round = backlog.round();
    neighbour.has(0).await;
    orders.truncate(LIMIT as usize - 2);
    neighbour.has(2).await;
    round.abort();
    drop(round.await);
    neighbour.in_flight.send_replace(0);
    // Orders leave six slots: it has them all.
    orders.truncate(LIMIT as usize - 6);
    let round = backlog.round();
    neighbour.has(6).await;
    round.abort();
}

#[tokio::test(start_paused = true)]
async fn few_answers_are_committed_at_once() {
    let neighbour = Neighbour::new(64, Reached::Accepted("{}".into()));
    let backlog = Backlog::new(&neighbour, 32).await;
    backlog.database.holds_commits(true);
    let round = backlog.round();
    for _ in 0..200 {
        tokio::time::advance(DELAYED_EVERY).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(backlog.database.held_commits(), DELAYED_COMMITS_AT_ONCE);
    assert_eq!(neighbour.answers.available_permits(), 32, "all of them are answered");
    backlog.database.holds_commits(false);
    assert_eq!(round.await.expect("no panic").expect("memory can be read").settled, 32);
}
