//! Course enrollment, unchanged: a payment may come later, or not before its deadline. A sender outside the system carries
//! messages to customers; it refuses some, and the network may lose its answers.

use super::{Scenario, World};
use jiff::Timestamp;
use jumun::Rejection;
use jumun_database::{
    JournalRecord, MemoryDatabase, ReadDatabase, Request, RequestFilter, RequestState, limits::PAGE_MAX_ROWS,
};
use jumun_runtime::asks::{
    DelayConfig,
    transport::{Outcome, Question},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

/// The messages that the sender was given, by their id, and the violations seen on the way.
#[derive(Default)]
pub(super) struct Sender {
    handed: Mutex<BTreeMap<String, Handed>>,
    wrong: Mutex<Vec<String>>,
}

/// A message that the sender was given.
struct Handed {
    body: Arc<str>,
    is_refused: bool,
}

/// The last digits of a card that is declined.
const DECLINED: &str = "0000";

/// How long after its deadline a payment may be settled: it was asked for before, and the disk was slow.
const GRACE_MS: i64 = 20_000;

/// How long after the last fault the system must be on time again.
const CALM_AFTER_MS: i64 = 15_000;

/// How long after its deadline a delayed ask must be given up by then.
const LATE_MAX_MS: i64 = 1_500;

pub(super) const SCENARIO: Scenario = Scenario {
    model: course_enrollment::system,
    bodies: |name, dice| {
        let card = if dice == 0 { DECLINED } else { "4242" };
        format!(r#"{{"orderId":"{name}","customerId":"{name}","eduNo":{},"cardNo":"4111-1111-1111-{card}"}}"#, 1 + dice)
    },
    delays: |random| {
        let deadline = match random.below(3) {
            0 => random.millis(1_000..20_000),
            1 => Duration::from_secs(20),
            _ => Duration::from_mins(15),
        };
        let max_delayed =
            if random.below(3) == 0 { 1 + u32::try_from(random.below(2)).expect("small") } else { 10_000 };
        let pay = DelayConfig { is_accepting: random.below(10) > 0, max_delayed, deadline };
        let sender = DelayConfig { is_accepting: false, max_delayed: 10_000, deadline };
        BTreeMap::from([("pay".to_owned(), pay), ("sender".to_owned(), sender)])
    },
    settings: |service| match service {
        "pay" => serde_json::json!({ "decline_card": DECLINED }),
        _ => serde_json::json!({}),
    },
    crowd: 0,
};

impl World {
    /// Gives a message to the sender.
    pub(super) fn send(&self, question: &Question) -> Outcome {
        if self.strikes("sender away", 6) {
            return Outcome::NotDone("the sender is away".into());
        }
        let message: Value = serde_json::from_str(&question.body).expect("JSON");
        let id = message["id"].as_str().expect("an id").to_owned();
        let mut handed = self.outside.handed.lock().expect("one thread");
        let is_refused = !handed.contains_key(&id) && self.strikes("message refused", 8);
        let known = handed.entry(id).or_insert_with(|| Handed { body: question.body.clone(), is_refused });
        if known.body != question.body {
            self.wrong(format!("two messages with one id: {} {}", known.body, question.body));
        }
        if known.is_refused {
            return Outcome::Refused(Rejection::Declined("no such recipient".into()));
        }
        Outcome::Accepted("{}".into())
    }

    /// No more asks may be delayed than the limit allows, and each must have an order that waits for it.
    pub(super) async fn check_delayed(&self, service: &str, database: &MemoryDatabase) {
        let Some(config) = self.delays.get("pay").filter(|_| service == "order") else { return };
        let delayed = requests(database, RequestState::Delayed).await;
        if delayed.len() > config.max_delayed as usize {
            self.wrong(format!("{} are delayed: {config:?}", delayed.len()));
        }
        for request in delayed {
            let order = database.document("orders", request.subject).await.expect("memory can be read");
            if !order.as_ref().is_some_and(|order| order.body.contains("\"Payment Delayed\"")) {
                self.wrong(format!("no order waits for {request:?}: {order:?}"));
            }
        }
    }

    /// Notes a violation for the end: a panic here would not fail the test, because this is not its task.
    fn wrong(&self, what: String) {
        self.outside.wrong.lock().expect("one thread").push(what);
    }
}

async fn requests(database: &MemoryDatabase, state: RequestState) -> Vec<Request> {
    let filter = RequestFilter { state, service: None, until_before_ms: None, after: None, limit: PAGE_MAX_ROWS };
    database.requests(filter).await.expect("memory can be read")
}

/// Makes pay unreachable for a while, which may be longer than its deadline.
pub(super) async fn absence(world: Arc<World>) {
    if world.delays.is_empty() || world.below(3) > 0 {
        return;
    }
    tokio::time::sleep(world.millis(0..5_000)).await;
    world.away.lock().expect("one thread").insert("pay");
    *world.faults.lock().expect("one thread").entry("pay away").or_default() += 1;
    tokio::time::sleep(world.millis(1_000..40_000)).await;
    world.away.lock().expect("one thread").clear();
}

/// Checks all the time that the count of delayed asks is right; and, once no fault happens any more, that none is past its
/// deadline.
pub(super) async fn watch(world: Arc<World>, seed: u64) {
    if world.delays.is_empty() {
        return std::future::pending().await;
    }
    let mut stormy_at = super::now();
    loop {
        tokio::time::sleep(Duration::from_millis(97)).await;
        let now = super::now();
        if world.is_stormy.load(Ordering::Relaxed) {
            stormy_at = now;
        }
        let is_calm = now.as_millisecond() - stormy_at.as_millisecond() > CALM_AFTER_MS;
        for request in requests(&world.databases["order"], RequestState::Delayed).await {
            let late = now.as_millisecond() - request.until_ms;
            assert!(!is_calm || late < LATE_MAX_MS, "seed {seed}: {late} ms past its deadline: {request:?}");
        }
        for service in ["order", "notification"] {
            let Some(engine) = world.engine(service) else { continue };
            let still = tokio::time::timeout(Duration::from_secs(10), engine.core().hold_commits()).await;
            let is_running =
                world.engine(service).is_some_and(|now| now.core().incarnation() == engine.core().incarnation());
            if is_running && still.is_ok() && engine.core().delays().is_sure() {
                let rows = requests(&world.databases[service], RequestState::Delayed).await.len();
                assert_eq!(engine.core().delays().standing(), rows as u64, "seed {seed}: the count of {service}");
            }
        }
    }
}

/// Each order is paid or cancelled, and its payment was asked for under one id. Each settled payment was settled in time. Its
/// customer got one message for each event.
pub(super) async fn promises(world: &World, seed: u64) {
    let wrong = std::mem::take(&mut *world.outside.wrong.lock().expect("one thread"));
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    let orders = &world.databases["order"];
    let mut asked = BTreeMap::new();
    for state in RequestState::ALL {
        for request in requests(orders, state).await {
            if request.ask.is_some() {
                assert!(!state.is_in_doubt(), "seed {seed}: {request:?}");
                let before = asked.insert(request.subject, request);
                assert!(before.is_none(), "seed {seed}: asked under two ids: {before:?}");
            }
        }
    }
    let mut happened = BTreeSet::new();
    for service in ["order", "pay", "reservation"] {
        for event in journal(&world.databases[service]).await {
            let word = match (&*event.event_type, asked.get(&event.key).map(|request| request.state)) {
                ("PaymentSettled", _) => "paid later",
                ("OrderCanceled", Some(RequestState::Voided)) => "given up unpaid",
                ("PaymentCanceled", Some(RequestState::Voided)) => "paid and given up",
                _ => "",
            };
            *world.faults.lock().expect("one thread").entry(word).or_default() += 1;
            if kind(&event) == "PaymentDelayed" {
                let deadline = i64::try_from(world.delays["pay"].deadline.as_millis()).expect("small");
                assert_eq!(asked[&event.key].until_ms - event.time_ms, deadline, "seed {seed}: {event:?}");
            }
            if event.event_type == "PaymentSettled" {
                let late = event.time_ms - asked[&event.key].until_ms;
                assert!(late < GRACE_MS, "seed {seed}: settled {late} ms after its deadline: {event:?}");
            }
            if service != "pay" {
                happened.insert((event.key, kind(&event)));
            }
        }
    }
    let notifications = &world.databases["notification"];
    let mut patience = BTreeMap::new();
    for request in requests(notifications, RequestState::Voided).await {
        patience.insert(request.subject, request.until_ms);
    }
    let mut notified = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let handed = std::mem::take(&mut *world.outside.handed.lock().expect("one thread"));
    for row in notifications.scan("notifications", 0, 1_000).await.expect("memory can be read") {
        let known: course_enrollment::notification::Notification = serde_json::from_str(&row.body).expect("JSON");
        let row: Value = serde_json::from_str(&row.body).expect("JSON");
        let message_kind = (known.enrollment_id.get(), row["kind"].as_str().expect("a word").to_owned());
        assert!(notified.insert(message_kind), "seed {seed}: notified twice: {row}");
        let message = known.message().id;
        let is_taken = handed.get(&message).is_some_and(|handed| !handed.is_refused);
        match row["status"].as_str() {
            Some("Sent") => assert!(is_taken, "seed {seed}: the sender does not have {row}"),
            Some("Parked") => {
                // It was refused, or the sender did not confirm it before the deadline.
                let deadline = Timestamp::from(known.requested_dt) + world.delays["sender"].deadline;
                assert!(
                    patience[&known.id.get()] >= deadline.as_millisecond(),
                    "seed {seed}: given up too early: {row}"
                );
            }
            _ => panic!("seed {seed}: still on its way: {row}"),
        }
        assert!(ids.insert(message), "seed {seed}: two messages with one id: {row}");
    }
    notified.retain(|(_, kind)| !["Paid", "PaymentCanceled"].contains(&&**kind)); // the audit checks these
    assert_eq!(notified, happened, "seed {seed}: the notifications, and the events");
    assert!(handed.keys().all(|id| ids.contains(id)), "seed {seed}: a message without an event");
}

async fn journal(database: &MemoryDatabase) -> Vec<JournalRecord> {
    database.journal(0, 0, 1_000).await.expect("memory can be read")
}

/// The kind of the message about an event.
pub(super) fn kind(event: &JournalRecord) -> String {
    let body: Value = serde_json::from_str(&event.body).expect("JSON");
    match (&*event.event_type, body["status"].as_str()) {
        ("Ordered", Some("Payment Delayed")) => "PaymentDelayed".to_owned(),
        ("Reserved", Some("Reservation Confirmed")) => "ReservationConfirmed".to_owned(),
        (event_type, _) => event_type.to_owned(),
    }
}
