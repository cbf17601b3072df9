//! Course enrollment in the laboratory: its four services, and whether what was promised of them holds.

use super::{Answer, Customer, Entry, LONG, Service, Site, laboratory, start, wait_until};
use http::Method;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

/// Its services, those without which no order is paid first.
pub(crate) const COURSE_SERVICES: [&str; 4] = ["pay", "order", "reservation", "notification"];

/// Whose events belong to orders.
const PUBLISHERS: [&str; 3] = ["order", "pay", "reservation"];

/// Where it ends well.
pub(crate) const STANDS: [&str; 3] = ["Ordered", "Paid", "Reservation Confirmed"];

/// Where it ends if it was never paid.
pub(crate) const NEVER_PAID: [&str; 3] = ["Order Canceled", "-", "-"];

/// Where it ends if it was paid and there was no reservation yet.
pub(crate) const TAKEN_BACK: [&str; 3] = ["Order Canceled", "Payment Canceled", "-"];

/// Where it ends if it is cancelled after it stood.
pub(crate) const REFUNDED: [&str; 3] = ["Order Canceled", "Payment Canceled", "Reservation Canceled"];

laboratory! {
    /// Course enrollment.
    Course: order pay reservation notification
}

/// What a customer applies with.
pub(crate) fn application() -> Value {
    json!({ "orderId": "요가-1", "customerId": 7, "eduNo": 102, "cardNo": "4111-1111-1111-4242", "guest": "민지" })
}

impl Course {
    /// Nothing runs yet.
    pub(crate) fn new() -> Self {
        let site = Site::of("course-enrollment");
        let [pay, mut order, reservation, notification] = COURSE_SERVICES.map(|name| site.new_service(name));
        order.set(format!("order.calls.pay.url=http://{}", pay.address()));
        Self { order, pay, reservation, notification, site }
    }

    /// Starts everything that does not run.
    pub(crate) async fn start_all(&mut self) {
        let Self { order, pay, reservation, notification, .. } = self;
        start([pay, order, reservation, notification].into_iter()).await;
    }

    /// Somebody who applies.
    pub(crate) fn applicant(&self, key: Option<&str>) -> Customer {
        Customer::ordering(self.order.client(), key, application())
    }

    /// Somebody who gives an application up.
    pub(crate) fn quitter(&self, id: i64, key: Option<&str>) -> Customer {
        Customer::new(self.order.client(), key.map(str::to_owned), Method::DELETE, format!("/orders/{id}"))
    }

    /// Applies, and says so if the order says something else than this.
    pub(crate) async fn apply(&self, status: &str) -> Answer {
        let answer = self.order.client().post("/orders", &application()).await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (201, Some(status)), "{answer:?}");
        answer
    }

    /// What order, payment and reservation say of an order that is there; `-` for what is not.
    pub(crate) async fn words(&self, id: i64) -> [String; 3] {
        let word = async |service: &Service, path: &str| {
            let answer = service.client().get(&format!("{path}/{id}")).await;
            if answer.status == 404 {
                "-".to_owned()
            } else {
                answer.json()["status"].as_str().expect("a word").to_owned()
            }
        };
        [
            word(&self.order, "/orders").await,
            word(&self.pay, "/pays").await,
            word(&self.reservation, "/reservations").await,
        ]
    }

    /// Waits until they say this. Everything runs.
    pub(crate) async fn wait_until_at(&self, id: i64, words: [&str; 3]) {
        let mut last = [const { String::new() }; 3];
        let what = format!("order {id} is at {words:?}");
        let arrived = wait_until(LONG, &what, async || {
            last = self.words(id).await;
            last == words
        });
        arrived.await;
    }

    /// Questions about orders that are not answered yet. Messages that nobody carries are not among them.
    pub(crate) fn doubts(&self) -> Vec<Value> {
        self.asks().into_iter().filter(|ask| ask["service"] != "notification").collect()
    }

    /// An order stands if and only if its payment does; what is delayed is settled; a cancelled order is cancelled
    /// everywhere, once; each thing that happened is told to its customer, once; and one question was asked about each
    /// order, however often.
    pub(crate) async fn assert_the_promise(&mut self) {
        self.start_all().await;
        wait_until(LONG, "nothing is in doubt", async || self.doubts().is_empty()).await;
        let audit = self.audit("20s");
        assert_eq!((audit.exit_code, &audit.report["verdict"]), (0, &json!("clean")), "{audit:?}");

        let by_id = |rows: Vec<Value>| -> BTreeMap<i64, String> {
            let word = |row: &Value| row["status"].as_str().expect("a word").to_owned();
            rows.iter().map(|row| (row["id"].as_i64().expect("an id"), word(row))).collect()
        };
        let orders = by_id(self.order.client().all("/orders").await);
        let payments = by_id(self.pay.client().all("/pays").await);
        let [ordered, paid, reserved] = PUBLISHERS.map(|service| self.told(service));
        let story = |told: &BTreeMap<i64, Vec<String>>, id: i64| told.get(&id).cloned().unwrap_or_default();
        for (id, status) in &orders {
            let (of_order, of_payment, of_seat) = (story(&ordered, *id), story(&paid, *id), story(&reserved, *id));
            let is_delayed = of_order[0] == "Ordered Payment Delayed";
            let mut expected = vec![if is_delayed { "Ordered Payment Delayed" } else { "Ordered Ordered" }];
            let is_settled = of_order.iter().any(|event| event == "PaymentSettled Ordered");
            expected.extend((is_delayed && is_settled).then_some("PaymentSettled Ordered"));
            expected.extend((status == "Order Canceled").then_some("OrderCanceled Order Canceled"));
            assert_eq!(of_order, expected, "the events of order {id}, which is {status}");
            if status == "Order Canceled" {
                let payment: &[&str] =
                    if payments.contains_key(id) { &["Paid Paid", "PaymentCanceled Payment Canceled"] } else { &[] };
                assert_eq!(of_payment, payment, "the events of payment {id}");
                let was_paid = is_settled || !is_delayed;
                assert!(!was_paid || !payment.is_empty(), "order {id} stood, and was not paid");
            } else {
                assert_eq!(status, "Ordered", "order {id}: {of_order:?}");
                assert_eq!(of_payment, ["Paid Paid"], "the events of payment {id}");
                assert!(!of_seat.is_empty(), "order {id} has no seat");
            }
        }
        for id in payments.keys().filter(|id| !orders.contains_key(id)) {
            assert_eq!(story(&paid, *id), ["Paid Paid", "PaymentCanceled Payment Canceled"], "there is no order {id}");
        }
        assert!(ordered.keys().eq(orders.keys()), "an event of no order");
        assert!(paid.keys().eq(payments.keys()), "an event of no payment");
        assert!(reserved.keys().all(|id| orders.contains_key(id)), "a seat for no order");

        let mut asked = BTreeSet::new();
        for attempt in self.attempts("order") {
            assert!(["done", "voided"].contains(&&*attempt.state), "{attempt:?}");
            assert!(asked.insert(attempt.subject), "asked under two ids: {attempt:?}");
        }
        self.assert_all_is_told().await;
    }

    /// Customers are told of each event of their orders and seats, once, and of nothing twice.
    async fn assert_all_is_told(&self) {
        let events = ["order", "reservation"].into_iter().flat_map(|service| self.journal(service));
        let mut happened: Vec<(i64, String)> = events.map(|event| (event.key, kind(&event))).collect();
        happened.sort();
        let told = async || {
            let notifications = self.notification.client().all("/notifications").await;
            let of = |row: &Value| {
                let kind = row["kind"].as_str().expect("a word").to_owned();
                (row["enrollmentId"].as_i64().expect("an id"), kind)
            };
            let mut told: Vec<_> = notifications.iter().map(of).collect();
            told.sort();
            told
        };
        let is_money = |(_, kind): &(i64, String)| ["Paid", "PaymentCanceled"].contains(&&**kind);
        let of_orders = async || -> Vec<_> { told().await.into_iter().filter(|news| !is_money(news)).collect() };
        wait_until(LONG, "customers are told", async || of_orders().await.len() >= happened.len()).await;
        assert_eq!(of_orders().await, happened, "what customers are told, and what happened");
        let told = told().await;
        assert!(told.windows(2).all(|two| two[0] != two[1]), "told twice: {told:?}");
    }
}

/// How a message about an event is named.
fn kind(event: &Entry) -> String {
    let status = event.body["status"].as_str();
    match (&*event.event_type, status) {
        ("Ordered", Some("Payment Delayed")) => "PaymentDelayed".to_owned(),
        ("Reserved", Some("Reservation Confirmed")) => "ReservationConfirmed".to_owned(),
        (told, _) => told.to_owned(),
    }
}
