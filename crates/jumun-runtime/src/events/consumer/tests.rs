//! A store that consumes events of orders, on some of which its code fails.

mod counting;
mod scripted;

use super::*;
use crate::events::{parked::parked, rebuild::tests::NoNeighbours};
use crate::{Engine, Parts, schema};
use jumun::{Behaviour, Documents, Step};
use jumun_bus::{MemoryBus, Publisher, Source};
use jumun_database::{MemoryDatabase, ReadDatabase};
use std::sync::atomic::{AtomicBool, Ordering};

/// A release whose code fails on one order until it is fixed.
struct Faulty {
    inner: Arc<dyn Behaviour>,
    is_fixed: Arc<AtomicBool>,
    panics: bool,
}

const BAD_ORDER: i64 = 7;

impl Behaviour for Faulty {
    fn decide(&self, step: Step<'_>, documents: &Documents) -> Result<Outcome, Defect> {
        self.inner.decide(step, documents)
    }

    fn handle(&self, event: ReceivedEvent<'_>, documents: &Documents) -> Result<Outcome, Defect> {
        let is_bad = event.body.contains(&format!("\"id\":{BAD_ORDER},"));
        if is_bad && !self.is_fixed.load(Ordering::Relaxed) {
            assert!(!self.panics, "the code panics on order {BAD_ORDER}");
            return Err(Defect { collection: "stores", id: BAD_ORDER, why: "the code fails on it".into() });
        }
        self.inner.handle(event, documents)
    }
}

/// What outlives a process.
struct Store {
    database: MemoryDatabase,
    bus: MemoryBus,
    publisher: Box<dyn Publisher>,
    is_fixed: Arc<AtomicBool>,
    panics: bool,
}

impl Store {
    fn new() -> Self {
        let model = food_delivery::system();
        let database = MemoryDatabase::new(schema(model.service("store").expect("a service")));
        let bus = MemoryBus::new();
        let source = Source { service: "order".into(), epoch: Uuid::from_u128(1), partitions: 1 };
        let publisher = bus.publisher(&source).expect("the first publisher");
        Self { database, bus, publisher, is_fixed: Arc::default(), panics: false }
    }

    /// A process.
    async fn start(&self) -> (Engine, Consumer) {
        self.try_start().await.expect("it starts")
    }

    /// A process that has heard of this order.
    async fn start_and_hear_of(&mut self, order: i64) -> (Engine, Consumer) {
        let (engine, consumer) = self.start().await;
        self.order("Ordered", order);
        self.applied_all(&consumer).await;
        (engine, consumer)
    }

    async fn try_start(&self) -> Result<(Engine, Consumer), ConsumerError> {
        let model = food_delivery::system().service("store").expect("a service").clone();
        let inner = model.behaviour(&serde_json::Map::new()).expect("default settings");
        let behaviour = Faulty { inner, is_fixed: self.is_fixed.clone(), panics: self.panics };
        let (database, transport) = (Arc::new(self.database.clone()), Arc::new(NoNeighbours));
        let engine = Engine::new(Parts::new(model, Arc::new(behaviour), database, transport));
        let consumer = Consumer::start(engine.core(), Arc::new(self.bus.clone())).await?;
        Ok((engine, consumer))
    }

    fn publish(&mut self, event_type: &str, order: i64, body: String) {
        let record = Record {
            partition: 0,
            sequence: self.publisher.last(0) + 1,
            event_type: event_type.to_owned(),
            key: order,
            time_ms: 0,
            headers: Vec::new(),
            body,
        };
        self.publisher.append(&[record]).expect("memory has room");
    }

    fn order(&mut self, event_type: &str, order: i64) {
        let body = format!(
            r#"{{"eventType":"{event_type}","timestamp":1,"id":{order},"storeName":"s","itemName":null,"itemQty":1,"price":9,"orderStatus":"ORDERED","orderDate":"2022-09-22T07:06:48Z"}}"#
        );
        self.publish(event_type, order, body);
    }

    /// Waits until the consumer has applied all published events.
    async fn applied_all(&self, consumer: &Consumer) {
        let token = Token { service: "order".into(), partition: 0, sequence: self.publisher.last(0) };
        assert!(consumer.has_applied(&token, Duration::from_secs(10)).await, "{:?}", consumer.consumption());
    }

    async fn status_of(&self, order: i64) -> Option<String> {
        let document = self.database.document("stores", order).await.expect("memory can be read")?;
        let row: serde_json::Value = serde_json::from_str(&document.body).expect("JSON");
        row["orderStatus"].as_str().map(str::to_owned)
    }

    async fn parked(&self) -> Vec<(i64, String)> {
        let parked = parked(&self.database, None).await.expect("memory can be read");
        parked.into_iter().map(|(_, parked)| (parked.key, parked.event_type)).collect()
    }

    async fn published(&self) -> Vec<(String, i64)> {
        let journal = self.database.journal(0, 0, 100).await.expect("memory can be read");
        journal.into_iter().map(|event| (event.event_type, event.key)).collect()
    }
}

async fn retry(consumer: &Consumer, key: Option<i64>) -> (usize, usize) {
    let (done, outcome) = oneshot::channel();
    assert!(consumer.instruct(Instruction::Retry { key, done }).await);
    outcome.await.expect("an answer").expect("nothing is in the way")
}

fn own(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    pairs.iter().map(|(event_type, key)| ((*event_type).to_owned(), *key)).collect()
}

#[tokio::test]
async fn an_event_on_which_the_code_fails_is_parked_with_its_followers_and_all_others_go_on() {
    for panics in [false, true] {
        let mut store = Store { panics, ..Store::new() };
        let (_engine, consumer) = store.start().await;
        for (event_type, order) in
            [("Ordered", 6), ("Ordered", 7), ("Ordered", 8), ("OrderCanceled", 7), ("OrderCanceled", 8)]
        {
            store.order(event_type, order);
        }
        store.applied_all(&consumer).await;
        assert_eq!(store.parked().await, [(7, "Ordered".into()), (7, "OrderCanceled".into())]);
        assert_eq!(store.status_of(6).await.as_deref(), Some("ORDER_CONFIRMED"));
        assert_eq!(store.status_of(7).await, None);
        assert_eq!(store.status_of(8).await.as_deref(), Some("CANCELED"));
        assert_eq!(consumer.consumption().parked_keys, 1);

        assert_eq!(
            retry(&consumer, None).await,
            (0, 1),
            "it is not fixed yet: the first event fails, the second is not tried"
        );
        store.order("Ordered", 9);
        store.applied_all(&consumer).await;
        assert_eq!(store.parked().await.len(), 2);

        store.is_fixed.store(true, Ordering::Relaxed);
        assert_eq!(retry(&consumer, Some(7)).await, (2, 0));
        assert_eq!(store.parked().await, []);
        assert_eq!(store.status_of(7).await.as_deref(), Some("CANCELED"));
        let of_7: Vec<_> = store.published().await.into_iter().filter(|(_, key)| *key == 7).collect();
        assert_eq!(of_7, own(&[("StoreConfirmed", 7), ("StoreCanceled", 7)]), "in order, and once");
        assert_eq!(retry(&consumer, None).await, (0, 0));
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_parked() {
    let mut store = Store::new();
    let (_engine, consumer) = store.start().await;
    store.publish("Ordered", 5, r#"{"eventType":"Ordered","id":"five"}"#.into());
    store.publish("DroneDispatched", 5, "{}".into());
    store.order("Ordered", 6);
    store.applied_all(&consumer).await;
    assert_eq!(store.parked().await, [(5, "Ordered".into())], "types of later releases are skipped");
    assert_eq!(store.status_of(6).await.as_deref(), Some("ORDER_CONFIRMED"));
}

#[tokio::test]
async fn parked_events_are_applied_when_the_fixed_release_starts() {
    let mut store = Store::new();
    let (engine, _consumer) = store.start_and_hear_of(7).await;
    engine.drain(Duration::from_secs(1)).await;

    store.is_fixed.store(true, Ordering::Relaxed);
    let (_engine, consumer) = store.start().await;
    store.order("OrderCanceled", 7);
    store.applied_all(&consumer).await;
    assert_eq!(store.parked().await, []);
    assert_eq!(store.published().await, own(&[("StoreConfirmed", 7), ("StoreCanceled", 7)]));
}

#[tokio::test]
async fn what_is_discarded_has_no_effect_and_holds_nothing_up() {
    let mut store = Store::new();
    let (_engine, consumer) = store.start_and_hear_of(7).await;
    let (done, outcome) = oneshot::channel();
    assert!(consumer.instruct(Instruction::Discard { key: 7, done }).await);
    assert_eq!(outcome.await, Ok(Ok(1)));
    assert_eq!(store.parked().await, []);
    store.is_fixed.store(true, Ordering::Relaxed);
    store.order("OrderCanceled", 7);
    store.applied_all(&consumer).await;
    assert_eq!(store.published().await, [], "it cancels an order whose `Ordered` was discarded");
}

#[tokio::test]
async fn a_process_that_starts_again_applies_nothing_twice() {
    let mut store = Store::new();
    for order in 1..=5 {
        store.order("Ordered", order);
    }
    for _ in 0..3 {
        let (engine, consumer) = store.start().await;
        store.applied_all(&consumer).await;
        engine.kill();
    }
    assert_eq!(store.published().await.len(), 5);
}

#[tokio::test]
async fn a_source_that_was_replaced_stops_the_consumer_loudly() {
    let mut store = Store::new();
    let (engine, _consumer) = store.start_and_hear_of(1).await;
    engine.drain(Duration::from_secs(1)).await;

    // The database of `order` was thrown away: another epoch, and numbers that mean something else.
    store.bus = MemoryBus::new();
    let source = Source { service: "order".into(), epoch: Uuid::from_u128(2), partitions: 1 };
    store.publisher = store.bus.publisher(&source).expect("the first publisher");
    store.order("Ordered", 2);
    store.order("Ordered", 3);
    let (_engine, consumer) = match store.try_start().await {
        Ok(started) => started,
        Err(ConsumerError::Bus(BusError::AnotherEpoch { .. })) => return,
        Err(other) => panic!("{other}"),
    };
    let mut shown = consumer.shown.clone();
    let stopped = shown.wait_for(|shown| shown.trouble().is_some());
    let trouble =
        tokio::time::timeout(Duration::from_secs(10), stopped).await.expect("it stops").expect("it runs").trouble();
    assert!(trouble.is_some_and(|trouble| trouble.contains("epoch")));
    assert_eq!(store.status_of(3).await, None);
}

#[tokio::test]
async fn a_release_that_can_apply_nothing_stalls_before_it_parks_everything() {
    let mut store = Store::new();
    let (_engine, consumer) = store.start().await;
    let first = 1_000;
    let too_many = i64::try_from(PARKED_KEYS_MAX).expect("small") + 1;
    for order in first..first + too_many {
        store.publish("Ordered", order, "nonsense".into());
    }
    store.order("Ordered", 5);
    let mut shown = consumer.shown.clone();
    let stopped = shown.wait_for(|shown| shown.stopped.is_some());
    let stopped = tokio::time::timeout(Duration::from_secs(10), stopped).await.expect("it stops");
    let why = stopped.expect("it runs").stopped.clone().unwrap_or_default();
    assert!(why.starts_with("parked-full: events of 100 orders are parked"), "{why}");
    assert!(store.parked().await.len() <= PARKED_KEYS_MAX);
    assert_eq!(store.status_of(5).await, None, "nothing is skipped");

    // An operator discards parked events: the consumer goes on where it stalled.
    let mut discarded = 0;
    for order in first..first + too_many {
        let (done, outcome) = oneshot::channel();
        assert!(consumer.instruct(Instruction::Discard { key: order, done }).await);
        discarded += outcome.await.expect("an answer").expect("nothing is in the way");
    }
    store.applied_all(&consumer).await;
    assert_eq!(discarded + store.parked().await.len(), PARKED_KEYS_MAX + 1);
    assert_eq!(store.status_of(5).await.as_deref(), Some("ORDER_CONFIRMED"));
}
