//! Course enrollment as it is: a payment may come later, or not before its deadline; and customers are told of everything by
//! somebody outside, who refuses, and does not say what he has taken.

use super::{Scenario, World};
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

/// What was handed over, by the message's id; and what must not have happened on the way.
#[derive(Default)]
pub(super) struct Sender {
    handed: Mutex<BTreeMap<String, Handed>>,
    wrong: Mutex<Vec<String>>,
}

/// A message, as the sender has it.
struct Handed {
    body: String,
    is_refused: bool,
}

/// Whose number this is, cannot pay.
const DECLINED: &str = "0000";

/// How much later than its deadline a payment may be settled: it was asked for before, and the disk was slow.
const GRACE_MS: i64 = 20_000;

/// How long after the last fault everything works as it should.
const CALM_AFTER_MS: i64 = 15_000;

/// How much later than its deadline a question is given up then.
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
    settings: |service| {
        let declines = (service == "pay").then(|| ("decline_card".to_owned(), DECLINED.into()));
        declines.into_iter().collect()
    },
};

impl World {
    /// Hands a message over.
    pub(super) fn send(&self, question: &Question) -> Outcome {
        if self.strikes("sender away", 6) {
            return Outcome::NotDone("nobody is there".into());
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

    /// Never more may be delayed than is allowed, and nothing that nobody waits for.
    pub(super) async fn check_delayed(&self, service: &str, database: &MemoryDatabase) {
        let Some(config) = self.delays.get("pay").filter(|_| service == "order") else { return };
        let delayed = requests(database, RequestState::Delayed).await;
        if delayed.len() > config.max_delayed as usize {
            self.wrong(format!("{} are delayed: {config:?}", delayed.len()));
        }
        for request in delayed {
            let order = database.document("orders", request.subject).await.expect("memory can be read");
            if !order.as_ref().is_some_and(|order| order.body.contains("\"Payment Delayed\"")) {
                self.wrong(format!("nobody waits for {request:?}: {order:?}"));
            }
        }
    }

    /// To be told at the end: whoever it happens to is not the test.
    fn wrong(&self, what: String) {
        self.outside.wrong.lock().expect("one thread").push(what);
    }
}

async fn requests(database: &MemoryDatabase, state: RequestState) -> Vec<Request> {
    let filter = RequestFilter { state, service: None, until_before_ms: None, after: None, limit: PAGE_MAX_ROWS };
    database.requests(filter).await.expect("memory can be read")
}

/// Pay cannot be reached for a while, which may be longer than its deadline.
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

/// Looks all the time whether as many questions are delayed as are counted; and, once nothing fails any more, whether none
/// is past its deadline.
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

/// Each order is paid, or cancelled, and was asked about under one id; what was settled was settled in time; and its
/// customer was told of each thing that happened, once.
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
    let mut told = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let handed = std::mem::take(&mut *world.outside.handed.lock().expect("one thread"));
    for row in notifications.scan("notifications", 0, 1_000).await.expect("memory can be read") {
        let known: course_enrollment::notification::Notification = serde_json::from_str(&row.body).expect("JSON");
        let row: Value = serde_json::from_str(&row.body).expect("JSON");
        let news = (known.enrollment_id.get(), row["kind"].as_str().expect("a word").to_owned());
        assert!(told.insert(news), "seed {seed}: told twice: {row}");
        let message = known.message().id;
        let is_taken = handed.get(&message).is_some_and(|handed| !handed.is_refused);
        match row["status"].as_str() {
            Some("Sent") => assert!(is_taken, "seed {seed}: nobody has {row}"),
            Some("Parked") => {
                // It was refused, or was not known to be taken before its deadline.
                let deadline = known.requested_dt + world.delays["sender"].deadline;
                assert!(
                    patience[&known.id.get()] >= deadline.as_millisecond(),
                    "seed {seed}: given up too early: {row}"
                );
            }
            _ => panic!("seed {seed}: still on its way: {row}"),
        }
        assert!(ids.insert(message), "seed {seed}: two messages with one id: {row}");
    }
    told.retain(|(_, kind)| !["Paid", "PaymentCanceled"].contains(&&**kind)); // which is for the audit to say
    assert_eq!(told, happened, "seed {seed}: what was told, and what happened");
    assert!(handed.keys().all(|id| ids.contains(id)), "seed {seed}: a message of nothing that happened");
}

async fn journal(database: &MemoryDatabase) -> Vec<JournalRecord> {
    database.journal(0, 0, 1_000).await.expect("memory can be read")
}

/// How a message about an event is named.
fn kind(event: &JournalRecord) -> String {
    let body: Value = serde_json::from_str(&event.body).expect("JSON");
    match (&*event.event_type, body["status"].as_str()) {
        ("Ordered", Some("Payment Delayed")) => "PaymentDelayed".to_owned(),
        ("Reserved", Some("Reservation Confirmed")) => "ReservationConfirmed".to_owned(),
        (told, _) => told.to_owned(),
    }
}
